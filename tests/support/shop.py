"""A bucket of the S3 server with the objects of tests of publishing, and the settings of its storage."""

from __future__ import annotations

from typing import Any

from gateway.config.storages import S3Settings
from tests.support.buckets import Put, S3Server


class Shop:
    """A new bucket."""

    def __init__(self, server: S3Server, *, versions: bool = False) -> None:
        self.server = server
        self.bucket = server.make_bucket(versions=versions)

    def put(self, key: str, content: bytes, **metadata: str) -> Put:
        """Upload an object."""
        return self.server.put(self.bucket, key, content, metadata)

    def table(self, **other: Any) -> S3Settings:
        """The storage's settings, with changes."""
        return S3Settings(**{**self.server.table(self.bucket), **other})

    def variables(self, name: str) -> dict[str, str]:
        """The same as environment variables of a gateway."""
        table = self.server.table(self.bucket)
        return {f"GATEWAY_STORAGE__{name.upper()}__{key.upper()}": str(text) for key, text in table.items()}

    def address(self, key: str = "") -> str:
        """The address by which users name an object of the bucket."""
        return f"s3://{self.bucket}/{key}"
