"""Looking into a bucket by botocore: what publishing and `check` ask.

For threads, off the hot path, which has a client of its own. The rules:
- what is described is pinned: `read` and `check` name the version, or else the ETag, that was described;
- a read that breaks off goes on from where it was, READ_TRIES times without a new byte at most;
- no checksum that botocore would add or want (`when_required`): other services refuse them;
- no way around that serving has not: no other region than the settings', no proxy of the environment.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.credentials import open_session
from gateway.storage.s3.faults import translate, wrong_region
from gateway.storage.s3.setup import aws_endpoint, is_virtual

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

POOL_SIZE: Final = 64
"""Connections kept: more than there are threads that look or read at once."""
REQUEST_TRIES: Final = 5
READ_TRIES: Final = 5
READ_BYTES: Final = 1 << 18
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CRC32: Final = re.compile(r"[0-9a-f]{8}")


class S3Catalog:
    """One bucket, or the folder of it that the settings name. Implements `Catalog`."""

    def __init__(self, bucket: Bucket, table: S3Settings) -> None:
        self.name = bucket.name
        self.root = f"s3://{bucket.bucket}/{table.prefix}"
        self._bucket = bucket
        self._table = table
        self._lock = threading.Lock()
        self._made: Any = None

    def check_root(self) -> str:
        """Ask for the first key, which tells about keys, bucket and region at once."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - slow to import, as all of botocore

        try:
            answer = self._client().list_objects_v2(
                Bucket=self._bucket.bucket, Prefix=self._table.prefix, MaxKeys=1
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in ("AccessDenied", "AllAccessDisabled"):
                return "its keys may not list it, so that folders cannot be published (s3:ListBucket)"
            raise translate(error, self._bucket) from None
        except Exception as error:
            raise translate(error, self._bucket) from None
        if region := wrong_region(answer, self._bucket):
            raise StorageError(f"storage {self.name}: {region}")
        return ""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object by HEAD."""
        answer = self._ask("head_object", key, ChecksumMode="ENABLED")
        sha256, crc32 = _stored_digests(answer)
        return ObjectFacts(
            key=key,
            size=int(answer["ContentLength"]),
            modified=int(answer["LastModified"].timestamp()) * 10**9,
            etag=str(answer["ETag"]),
            version_id=_version(answer),
            sha256=sha256,
            crc32=crc32,
        )

    def check(self, file: ManifestFile) -> None:
        """Ask for the published version or ETag by HEAD."""
        answer = self._ask("head_object", file.key, **_pin(file.etag, file.version_id))
        if (int(answer["ContentLength"]), answer["ETag"]) != (file.size, file.etag):
            raise StorageError(
                f"storage {self.name}: {file.key!r} changed since it was published: "
                "publish it again as a new version"
            )

    def list(self, folder: str) -> Iterator[str]:
        """Keys below the folder, without the empty objects that stand for folders."""
        prefix = self._table.prefix
        try:
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket.bucket, Prefix=prefix + folder):
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):
                        yield entry["Key"].removeprefix(prefix)
        except Exception as error:
            raise translate(error, self._bucket) from None

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read what was described, to its last byte."""
        at, tries = 0, READ_TRIES
        while at < facts.size:
            before = at
            try:
                for chunk in self._read_from(facts, at):
                    at += len(chunk)
                    yield chunk
            except OSError as error:
                if at == before:
                    tries -= 1
                if not tries:
                    raise StorageError(
                        f"storage {self.name}: {facts.key!r} could not be read to its end: {error}"
                    ) from None
            if at > before:
                tries = READ_TRIES
            elif at < facts.size:
                time.sleep(0.2 * 2 ** (READ_TRIES - tries))

    def _read_from(self, facts: ObjectFacts, start: int) -> Iterator[bytes]:
        """Read from there on. Raises OSError when it breaks off."""
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        span = {"Range": f"bytes={start}-"} if start else {}
        answer = self._ask("get_object", facts.key, **_pin(facts.etag, facts.version_id), **span)
        if answer["ETag"] != facts.etag or int(answer["ContentLength"]) != facts.size - start:
            raise StorageError(f"storage {self.name}: {facts.key!r} has changed")
        with answer["Body"] as body:
            try:
                while chunk := body.read(READ_BYTES):
                    yield chunk
            except (BotoCoreError, HTTPError, OSError) as error:
                raise ConnectionError(f"the connection broke ({type(error).__name__})") from None

    def _ask(self, operation: str, key: str, **fields: str) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client(), operation)(
                Bucket=self._bucket.bucket, Key=self._table.prefix + key, **fields
            )
        except Exception as error:
            raise translate(error, self._bucket, key) from None
        return answer

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        table = self._table
        client = open_session(table.profile if table.access_key is None else None).create_client(
            "s3",
            region_name=table.region,
            endpoint_url=table.endpoint or aws_endpoint(table.region),
            verify=str(table.ca_file) if table.verify and table.ca_file else table.verify,
            aws_access_key_id=table.access_key,
            aws_secret_access_key=table.secret_key,
            aws_session_token=table.session_token,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "virtual" if is_virtual(table) else "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=POOL_SIZE,
                connect_timeout=table.connect_timeout,
                read_timeout=table.read_timeout,
                retries={"mode": "standard", "total_max_attempts": REQUEST_TRIES},
                proxies={},
            ),
        )
        client.meta.events.register_last("before-parameter-build.s3", _stay)
        return client


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a bucket into another region: a wrong one is a fault to be told.

    It redirects a request once; this one says that it was (botocore.utils.S3RegionRedirectorv2).
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _pin(etag: str, version_id: str) -> dict[str, str]:
    return {"IfMatch": etag, **({"VersionId": version_id} if version_id else {})}


def _version(answer: Mapping[str, Any]) -> str:
    """The version's id; the one called null is no version of its own, and the next upload replaces it."""
    version = str(answer.get("VersionId") or "")
    return "" if version == "null" else version


def _stored_digests(answer: Mapping[str, Any]) -> tuple[str, str]:
    """SHA-256 and CRC-32 as S3 stored them, or as the uploader did in `x-amz-meta-sha256` and `-crc32`.

    Checksums of checksums, as multipart uploads have, are none: those are COMPOSITE and end in the number of
    parts (AWS, "Checking object integrity").
    """
    own = {name.lower(): str(text).strip().lower() for name, text in answer.get("Metadata", {}).items()}
    full = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    sha256 = _hex(answer.get("ChecksumSHA256")) if full else ""
    crc32 = _hex(answer.get("ChecksumCRC32")) if full else ""
    return _digest(_SHA256, sha256, own.get("sha256", "")), _digest(_CRC32, crc32, own.get("crc32", ""))


def _digest(form: re.Pattern[str], *candidates: str) -> str:
    return next((text for text in candidates if form.fullmatch(text)), "")


def _hex(text: object) -> str:
    try:
        return base64.b64decode(str(text or ""), validate=True).hex()
    except binascii.Error:
        return ""
