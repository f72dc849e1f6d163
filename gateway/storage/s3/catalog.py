"""The catalog of a bucket of S3: the objects that a command may publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.storage.object_catalog import ObjectCatalog
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.storage import S3Storage

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings


class S3Catalog(ObjectCatalog):
    """One bucket, or the folder of it that the settings name."""

    def __init__(self, bucket: Bucket, table: S3Settings) -> None:
        super().__init__(
            bucket.name,
            f"s3://{bucket.bucket}/{table.prefix}",
            lambda: S3Storage(bucket, lambda _index, _count: None),
        )
