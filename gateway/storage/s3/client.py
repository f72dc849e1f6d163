"""Asks a bucket for one object, once: signed, on a connection of the pool, and its answer judged."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from functools import cached_property
from typing import Final
from urllib.parse import quote

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.s3.bucket import Bucket, Credentials, CredentialSource
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.pool import Pool
from gateway.storage.s3.responses import (
    ExpectedObject,
    Head,
    KeysRefused,
    Unusable,
    error_code,
    is_strong,
    judge_body,
    judge_error,
    judge_head,
)
from gateway.storage.s3.signing import presign, query_of, quote_path, sign

_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
"""An entity tag (RFC 9110 section 8.8.3), without the bytes that are not ASCII."""
_PORTS: Final = {True: 443, False: 80}


class Client:
    """Requests to one bucket. Its coroutines are for one event loop."""

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        self.bucket = bucket
        self.count = count
        self.pool = Pool(bucket, count)
        host = f"[{bucket.host}]" if ":" in bucket.host else bucket.host
        self.host = host if bucket.port == _PORTS[bucket.tls] else f"{host}:{bucket.port}"

    @cached_property
    def _source(self) -> CredentialSource:
        return self.bucket.credentials()

    def describe(self, file: ManifestFile) -> str:
        """What errors call an object."""
        return f"storage {self.bucket.name}: the object {file.key!r}"

    async def get(self, wanted: ExpectedObject) -> StorageConnection:
        """Ask for bytes: a connection on which exactly these follow, for the pool when they are taken.

        Raises TransientError when it is worth asking again, else StorageError.
        """
        file = wanted.file
        fields = [] if wanted.whole else [("Range", f"bytes={wanted.start}-{wanted.stop - 1}")]
        connection, head = await self._ask("GET", file, fields)
        try:
            judge_body(head, wanted)
        except Unusable as error:
            self.pool.release(connection, keep=False)
            raise StorageError(f"{self.describe(file)} {error}") from None
        connection.keeps = head.keeps
        return connection

    async def head(self, file: ManifestFile) -> None:
        """Ask whether an object is as it was published. Raises as `get` does."""
        connection, head = await self._ask("HEAD", file, [])
        self.pool.release(connection, keep=head.keeps)
        try:
            judge_head(head, file)
        except Unusable as error:
            raise StorageError(f"{self.describe(file)} {error}") from None

    async def _ask(
        self, method: str, file: ManifestFile, fields: list[tuple[str, str]]
    ) -> tuple[StorageConnection, Head]:
        """Ask, a second time with other credentials if these are refused; the answer is a success."""
        try:
            credentials = await self._credentials(None)
            try:
                return await self._ask_with(credentials, method, file, fields)
            except KeysRefused as refusal:
                fresh = await self._credentials(credentials)
                if fresh == credentials:
                    raise Unusable(str(refusal)) from None
            try:
                return await self._ask_with(fresh, method, file, fields)
            except KeysRefused as refusal:
                raise Unusable(str(refusal)) from None
        except Unusable as error:
            raise StorageError(f"{self.describe(file)} {error}") from None

    async def _ask_with(
        self, credentials: Credentials, method: str, file: ManifestFile, fields: list[tuple[str, str]]
    ) -> tuple[StorageConnection, Head]:
        request = self.request(credentials, method, file, fields, int(time.time()))
        connection, head = await self.pool.ask(request, method)
        if head.status in {200, 206}:
            return connection, head
        code = ""
        try:
            if method != "HEAD":
                code = error_code(await connection.read_error(head, self.bucket.connect_timeout))
        finally:
            self.pool.release(connection, keep=head.keeps)
        judge_error(head, code)
        raise AssertionError("an error was judged to be none")

    async def _credentials(self, refused: Credentials | None) -> Credentials:
        if refused is None:
            known = self._source.now()
            if known is not None:
                return known
        return await asyncio.get_running_loop().run_in_executor(None, self._source.fetch, refused)

    def request(
        self,
        credentials: Credentials,
        method: str,
        file: ManifestFile,
        fields: list[tuple[str, str]],
        now: int,
    ) -> bytes:
        """A request's bytes: pinned to what was published, and signed unless there is no access key.

        Only `Host` and the fields of the signature itself are signed: others may pass through a proxy that
        writes them in another way. Raises Unusable for an ETag that is none.
        """
        try:
            path = quote_path(self.bucket.path + file.key)
            query = query_of([("versionId", file.version_id)]) if file.version_id else ""
        except UnicodeEncodeError:
            raise Unusable("was published under a key that is no text: publish it again") from None
        lines = [f"{method} {path}{'?' if query else ''}{query} HTTP/1.1", f"Host: {self.host}"]
        if credentials.access_key:
            signing = sign(method, path, query, {"host": self.host}, credentials, self.bucket.region, now)
            lines += [f"{name}: {value}" for name, value in signing.items()]
        if is_strong(file.etag):
            if _TAG.fullmatch(file.etag) is None:
                raise Unusable("was published with an ETag that is none: publish it again")
            lines.append(f"If-Match: {file.etag}")
        lines += [f"{name}: {value}" for name, value in fields]
        lines.append("Accept-Encoding: identity\r\n\r\n")
        request = "\r\n".join(lines).encode()
        if request.count(b"\n") != len(lines) + 1:
            raise Unusable("cannot be asked for: there is a line break in the keys, the host or the region")
        return request

    def presigned(self, file: ManifestFile, media_type: str, disposition: str, now: int) -> str | None:
        """A URL for whoever holds it, for redirect_ttl seconds; None while no credentials are at hand."""
        credentials = self._source.now()
        if credentials is None:
            return None
        bucket = self.bucket
        parameters = [
            ("response-cache-control", "private, no-store"),
            ("response-content-disposition", disposition),
            ("response-content-type", media_type),
        ]
        if file.version_id:
            parameters.append(("versionId", file.version_id))
        path = quote_path(bucket.path + file.key)
        if credentials.access_key:
            path = presign(
                "GET", path, parameters, self.host, credentials, bucket.region, now, bucket.redirect_ttl
            )
        elif file.version_id:
            path += f"?versionId={quote(file.version_id, safe='')}"  # S3 takes the others signed only
        return f"{'https' if bucket.tls else 'http'}://{self.host}{path}"
