"""Asks a bucket for one object, once: signs and sends the request, and checks the response.

Errors are of three kinds: TransientError (the same request may work later), CredentialsRefused (it is
repeated once with fresh keys) and PermanentError, which leaves this module as a StorageError.
"""

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
from gateway.storage.object_storage import describe_object
from gateway.storage.published import is_strong
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.credentials import Credentials, CredentialSource
from gateway.storage.s3.pool import Pool
from gateway.storage.s3.responses import (
    CredentialsRefused,
    ExpectedObject,
    Head,
    PermanentError,
    check_body,
    check_description,
    error_code,
    error_of,
)
from gateway.storage.s3.signing import presign, query_of, quote_path, sign

_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
"""RFC 9110 section 8.8.3, without the bytes that are not ASCII."""


class Client:
    """Requests to one bucket. Its coroutines are for one event loop."""

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        """count: adds to a counter of this process."""
        self.bucket = bucket
        self.count = count
        self.pool = Pool(bucket, count)
        self._host = bucket.authority

    @cached_property
    def _source(self) -> CredentialSource:
        return self.bucket.credentials()

    async def get(self, expected: ExpectedObject) -> StorageConnection:
        """Ask for bytes, and return the connection on which exactly these follow.

        The caller gives the connection back to the pool. Raises TransientError when it is worth asking again,
        else StorageError.
        """
        file = expected.file
        fields = [] if expected.whole else [("Range", f"bytes={expected.start}-{expected.stop - 1}")]
        connection, head = await self._ask("GET", file, fields)
        try:
            check_body(head, expected)
        except PermanentError as error:
            self.pool.release(connection, keep=False)
            raise self._failed(file, error) from None
        connection.keeps = head.keeps
        return connection

    async def head(self, file: ManifestFile) -> None:
        """Ask whether an object is as it was published. Raises as `get` does."""
        connection, head = await self._ask("HEAD", file, [])
        self.pool.release(connection, keep=head.keeps)
        try:
            check_description(head, file)
        except PermanentError as error:
            raise self._failed(file, error) from None

    async def _ask(
        self, method: str, file: ManifestFile, fields: list[tuple[str, str]]
    ) -> tuple[StorageConnection, Head]:
        """Ask until there is a success (200 or 206): once more with fresh keys if these are refused."""
        try:
            credentials = await self._credentials(None)
            try:
                return await self._ask_with(credentials, method, file, fields)
            except CredentialsRefused as refusal:
                fresh = await self._credentials(credentials)
                if fresh == credentials:
                    raise PermanentError(str(refusal)) from None
            try:
                return await self._ask_with(fresh, method, file, fields)
            except CredentialsRefused as refusal:
                raise PermanentError(str(refusal)) from None
        except PermanentError as error:
            raise self._failed(file, error) from None

    async def _ask_with(
        self, credentials: Credentials, method: str, file: ManifestFile, fields: list[tuple[str, str]]
    ) -> tuple[StorageConnection, Head]:
        request = self._request(credentials, method, file, fields, int(time.time()))
        connection, head = await self.pool.ask(request, method)
        if head.status in {200, 206}:
            return connection, head
        code = ""
        try:
            if method != "HEAD":
                code = error_code(await connection.read_error(head, self.bucket.connect_timeout))
        finally:
            self.pool.release(connection, keep=head.keeps)
        raise error_of(head, code)

    async def _credentials(self, refused: Credentials | None) -> Credentials:
        if refused is None:
            known = self._source.now()
            if known is not None:
                return known
        return await asyncio.get_running_loop().run_in_executor(None, self._source.fetch, refused)

    def _failed(self, file: ManifestFile, error: PermanentError) -> StorageError:
        return StorageError(f"{describe_object(self.bucket.name, file.key)} {error}")

    def _request(
        self,
        credentials: Credentials,
        method: str,
        file: ManifestFile,
        fields: list[tuple[str, str]],
        now: int,
    ) -> bytes:
        """Return the bytes of a request: pinned to what was published, and signed if there is an access key.

        Only `Host` and the fields of the signature itself are signed: the others may pass through a proxy
        that writes them in another way. now: seconds since 1970. Raises PermanentError for an ETag or a key
        that no request can carry.
        """
        try:
            path = quote_path(self.bucket.path + file.key)
            query = query_of([("versionId", file.version_id)]) if file.version_id else ""
        except UnicodeEncodeError:
            raise PermanentError(
                "was published under a key that is not valid text: publish it again"
            ) from None
        lines = [f"{method} {path}{'?' if query else ''}{query} HTTP/1.1", f"Host: {self._host}"]
        if credentials.access_key:
            signing = sign(method, path, query, {"host": self._host}, credentials, self.bucket.region, now)
            lines += [f"{name}: {value}" for name, value in signing.items()]
        if is_strong(file.etag):
            if _ENTITY_TAG.fullmatch(file.etag) is None:
                raise PermanentError("was published with an ETag that is not valid: publish it again")
            lines.append(f"If-Match: {file.etag}")
        lines += [f"{name}: {value}" for name, value in fields]
        lines.append("Accept-Encoding: identity\r\n\r\n")
        request = "\r\n".join(lines).encode()
        if request.count(b"\n") != len(lines) + 1:
            raise PermanentError("cannot be asked for: the keys, the host or the region contain a line break")
        return request

    def presigned(self, file: ManifestFile, media_type: str, disposition: str, now: int) -> str | None:
        """Return a URL that anyone who has it may use for redirect_ttl seconds.

        Returns None while there are no keys in memory. The other arguments are those of `Storage.handoff`;
        now: seconds since 1970.
        """
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
                "GET", path, parameters, self._host, credentials, bucket.region, now, bucket.redirect_ttl
            )
        elif file.version_id:
            path += f"?versionId={quote(file.version_id, safe='')}"  # S3 takes the others signed only
        return f"{bucket.scheme}://{self._host}{path}"
