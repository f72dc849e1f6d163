"""Lists, describes and reads the objects of a bucket through botocore, for publishing and `check`.

It runs in threads, off the hot path, which has a client of its own (client.py). The rules:

- Requests are pinned to what was described: `read` and `check` name its ETag, and its version if it has one.
- A read that breaks off is continued from where it was. It ends after READ_TRIES tries in a row without a
  byte.
- botocore neither adds nor expects checksums that were not asked for (`when_required`), because services
  other than that of AWS refuse them.
- What works here works when serving: there is no other region than that of the settings, and no proxy from
  the environment.
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
from gateway.storage.object_storage import describe_object
from gateway.storage.rules import HIDDEN, refuse_key
from gateway.storage.s3.bucket import Bucket, aws_endpoint, is_virtual
from gateway.storage.s3.credentials import open_session
from gateway.storage.s3.errors import explain_wrong_region, translate

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

POOL_SIZE: Final = 64
"""Connections kept: more than there are threads that ask or read at once."""
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
        """Ask for the first key, which shows at once whether keys, bucket and region are right."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - botocore is slow to import

        try:
            response = self._client().list_objects_v2(
                Bucket=self._bucket.bucket, Prefix=self._table.prefix, MaxKeys=1
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in ("AccessDenied", "AllAccessDisabled"):
                return "its keys may not list it, so folders cannot be published (s3:ListBucket)"
            raise translate(error, self._bucket) from None
        except Exception as error:
            raise translate(error, self._bucket) from None
        if region := explain_wrong_region(response, self._bucket):
            raise StorageError(f"storage {self.name}: {region}")
        return ""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object by HEAD. Raises StorageError for a hidden one."""
        if fault := refuse_key(key):
            raise StorageError(f"{describe_object(self.name, key)} {fault}")
        response = self._ask("head_object", key, ChecksumMode="ENABLED")
        sha256, crc32 = _stored_digests(response)
        return ObjectFacts(
            key=key,
            size=int(response["ContentLength"]),
            modified=int(response["LastModified"].timestamp()) * 10**9,
            etag=str(response["ETag"]),
            version_id=_version(response),
            sha256=sha256,
            crc32=crc32,
        )

    def check(self, file: ManifestFile) -> None:
        """Ask for the published version or ETag by HEAD. Raises StorageError for a hidden object."""
        if file.hidden:
            raise StorageError(f"{describe_object(self.name, file.key)} {HIDDEN}")
        response = self._ask("head_object", file.key, **_pin(file.etag, file.version_id))
        if (int(response["ContentLength"]), response["ETag"]) != (file.size, file.etag):
            raise StorageError(
                f"storage {self.name}: {file.key!r} changed since it was published: "
                "publish it again as a new version"
            )

    def list(self, folder: str) -> Iterator[str]:
        """List the keys below the folder, without the empty objects that stand for folders."""
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
        """Read the object that was described, to its last byte; continue where a read broke off."""
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
        """Read from `start` to the end, once. Raises OSError when it breaks off, else StorageError."""
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        span = {"Range": f"bytes={start}-"} if start else {}
        response = self._ask("get_object", facts.key, **_pin(facts.etag, facts.version_id), **span)
        if response["ETag"] != facts.etag or int(response["ContentLength"]) != facts.size - start:
            raise StorageError(f"storage {self.name}: {facts.key!r} has changed")
        with response["Body"] as body:
            try:
                while chunk := body.read(READ_BYTES):
                    yield chunk
            except (BotoCoreError, HTTPError, OSError) as error:
                raise ConnectionError(f"the connection broke ({type(error).__name__})") from None

    def _ask(self, operation: str, key: str, **fields: str) -> Mapping[str, Any]:
        try:
            response: Mapping[str, Any] = getattr(self._client(), operation)(
                Bucket=self._bucket.bucket, Key=self._table.prefix + key, **fields
            )
        except Exception as error:
            raise translate(error, self._bucket, key) from None
        return response

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
        client.meta.events.register_last("before-parameter-build.s3", _keep_region)
        return client


def _keep_region(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a bucket into another region: a wrong region has to be reported.

    botocore redirects a request once; this marks the request as redirected already
    (botocore.utils.S3RegionRedirectorv2).
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _pin(etag: str, version_id: str) -> dict[str, str]:
    return {"IfMatch": etag, **({"VersionId": version_id} if version_id else {})}


def _version(response: Mapping[str, Any]) -> str:
    """Return the id of the version, "" if there is none: the next upload replaces the version named null."""
    version = str(response.get("VersionId") or "")
    return "" if version == "null" else version


def _stored_digests(response: Mapping[str, Any]) -> tuple[str, str]:
    """Return SHA-256 and CRC-32, as S3 stored them or the uploader did in `x-amz-meta-sha256` and `-crc32`.

    Multipart uploads have checksums of checksums, which are ignored: their type is COMPOSITE, and they end in
    the number of parts (AWS, "Checking object integrity").
    """
    own = {name.lower(): str(text).strip().lower() for name, text in response.get("Metadata", {}).items()}
    full = response.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    sha256 = _hex(response.get("ChecksumSHA256")) if full else ""
    crc32 = _hex(response.get("ChecksumCRC32")) if full else ""
    return _digest(_SHA256, sha256, own.get("sha256", "")), _digest(_CRC32, crc32, own.get("crc32", ""))


def _digest(form: re.Pattern[str], *candidates: str) -> str:
    return next((text for text in candidates if form.fullmatch(text)), "")


def _hex(text: object) -> str:
    try:
        return base64.b64decode(str(text or ""), validate=True).hex()
    except binascii.Error:
        return ""
