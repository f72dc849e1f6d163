"""Buckets of a real S3 server as tests fill them: by botocore, with requests that it signs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

ACCESS_KEY = "test:tester"
SECRET_KEY = "testsecret-0f3c9b"
REGION = "us-east-1"

_numbers = count(1)


class Put(NamedTuple):
    """An object as the server has it. etag: with its quotes. version_id: of a bucket with versions."""

    etag: str
    version_id: str
    size: int
    modified: int
    """Nanoseconds since 1970, in whole seconds."""


@dataclass
class S3Server:
    """A server, how to connect to it, and what tests do to its buckets.

    ca_file: the certificate to trust, over https.
    """

    endpoint: str
    ca_file: Path | None = None
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    @cached_property
    def client(self) -> Any:
        """A botocore client, for everything that has no method here."""
        from botocore.config import Config  # noqa: PLC0415 - slow to import, for those who need it
        from botocore.session import Session  # noqa: PLC0415

        config = Config(
            s3={"addressing_style": "path"},
            proxies={},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.ca_file) if self.ca_file else None,
            config=config,
        )

    def table(self, bucket: str, **more: Any) -> dict[str, Any]:
        """The settings of a storage that is this bucket."""
        trust = {"ca_file": self.ca_file} if self.ca_file else {}
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        place = {"endpoint": self.endpoint, "region": self.region, "bucket": bucket}
        return {"type": "s3", **place, **keys, **trust, **more}

    def make_bucket(self, *, versions: bool = False) -> str:
        """A fresh bucket; `versions`: it keeps every version of an object.

        Processes that test at the same time share the server, so the name has the number of this process.
        """
        name = f"bucket-{os.getpid()}-{next(_numbers)}-{'versions' if versions else 'plain'}"
        self.client.create_bucket(Bucket=name)
        if versions:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def put(self, bucket: str, key: str, content: bytes, metadata: dict[str, str] | None = None) -> Put:
        """Write an object, or replace it."""
        self.client.put_object(Bucket=bucket, Key=key, Body=content, Metadata=metadata or {})
        return self.head(bucket, key)

    def put_multipart(self, bucket: str, key: str, *parts: bytes) -> Put:
        """Write an object in parts: its ETag is no digest of its content."""
        place = {"Bucket": bucket, "Key": key}
        upload = self.client.create_multipart_upload(**place)["UploadId"]
        done = [
            {
                "PartNumber": number,
                "ETag": self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)[
                    "ETag"
                ],
            }
            for number, part in enumerate(parts, 1)
        ]
        self.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": done})
        return self.head(bucket, key)

    def head(self, bucket: str, key: str) -> Put:
        facts = self.client.head_object(Bucket=bucket, Key=key)
        modified = int(facts["LastModified"].timestamp()) * 10**9
        return Put(facts["ETag"], facts.get("VersionId", ""), facts["ContentLength"], modified)

    def delete(self, bucket: str, key: str, version_id: str = "") -> None:
        """Remove an object. In a bucket with versions only the version that is named is really deleted."""
        version = {"VersionId": version_id} if version_id else {}
        self.client.delete_object(Bucket=bucket, Key=key, **version)
