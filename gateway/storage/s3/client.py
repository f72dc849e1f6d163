"""Asks a bucket for one object, once: signs and sends the request, and checks the response.

Errors are of three kinds: TransientError (the same request may work later), CredentialsRefused (it is
repeated once with fresh keys) and PermanentError, which leaves this module as a StorageError.

Serving, publishing and `check` all ask here, so what the commands accept can be served: they use the same
certificates, time-outs and rules for responses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.errors import NotAsPublished, StorageError
from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectMissing
from gateway.storage.object_storage import describe_object
from gateway.storage.published import condition
from gateway.storage.s3.bodies import read_body
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.credentials import Credentials, CredentialSource
from gateway.storage.s3.pool import Pool
from gateway.storage.s3.responses import (
    CredentialsRefused,
    Differs,
    ExpectedObject,
    Head,
    Missing,
    PermanentError,
    check_body,
    check_description,
    error_of,
    read_error,
)
from gateway.storage.s3.signing import presign, query_of, quote_path, sign

MAX_LISTING_BYTES: Final = 16 * 1024 * 1024
"""More than a page of 1000 keys of 1 KiB each, encoded, has."""
Fields = Mapping[str, str]
NO_FIELDS: Final[Fields] = {}
_ONE_BYTE: Final = Head(206, {}, 1, keeps=True)


class _Request(NamedTuple):
    """One request; see `Client.ask`."""

    method: str
    file: ManifestFile | None
    fields: Fields
    signed: Fields
    query: Fields


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
        fields = {} if expected.whole else {"Range": f"bytes={expected.start}-{expected.stop - 1}"}
        try:
            connection, head = await self.ask("GET", file, fields)
            try:
                check_body(head, expected)
            except PermanentError:
                self.pool.release(connection, keep=False)
                raise
        except PermanentError as error:
            raise self.failed(file.key, error) from None
        connection.keeps = head.keeps
        return connection

    async def check(self, file: ManifestFile) -> None:
        """Ask whether an object is as it was published and can be read. Raises as `get` does.

        It asks for the first byte, because HEAD says nothing of an archived object, of a proxy that ignores
        ranges, and often not why it is refused.
        """
        if file.size:
            connection = await self.get(ExpectedObject(file, 0, 1))
            await self.read_all(connection, _ONE_BYTE, 1)
            return
        try:
            connection, head = await self.ask("HEAD", file)
            self.pool.release(connection, keep=head.keeps)
            check_description(head, file)
        except PermanentError as error:
            raise self.failed(file.key, error) from None

    async def list_page(self, parameters: Mapping[str, str]) -> bytes:
        """Ask the bucket itself for a page of its keys; return the body.

        Raises TransientError or PermanentError.
        """
        connection, head = await self.ask("GET", None, query=parameters)
        connection.keeps = head.keeps
        return await self.read_all(connection, head, MAX_LISTING_BYTES)

    async def read_all(self, connection: StorageConnection, head: Head, most: int) -> bytes:
        """Read a small body, of `most` bytes at most, and give back its connection.

        Raises TransientError or PermanentError.
        """
        keep = False
        try:
            body = await read_body(connection, head, most, self.bucket.read_timeout)
            keep = connection.keeps
        finally:
            self.pool.release(connection, keep=keep)
        return body

    async def ask(
        self,
        method: str,
        file: ManifestFile | None,
        fields: Fields = NO_FIELDS,
        *,
        signed: Fields = NO_FIELDS,
        query: Fields = NO_FIELDS,
    ) -> tuple[StorageConnection, Head]:
        """Ask until there is a success (200 or 206): once more with fresh keys if these are refused.

        file: the object, pinned to what its entry says; None asks the bucket itself. fields: of the request.
        signed: more of them, which are signed too. Raises TransientError or PermanentError.
        """
        request = _Request(method, file, fields, signed, query)
        credentials = await self._credentials(None)
        try:
            return await self._ask_with(credentials, request)
        except CredentialsRefused:
            fresh = await self._credentials(credentials)
            if fresh == credentials:
                raise
        return await self._ask_with(fresh, request)

    async def _ask_with(self, credentials: Credentials, request: _Request) -> tuple[StorageConnection, Head]:
        connection, head = await self.pool.ask(
            self._encode(credentials, request, int(time.time())), request.method
        )
        if head.status in {200, 206}:
            return connection, head
        body = b""
        try:
            if request.method != "HEAD":
                body = await connection.read_error(head, self.bucket.connect_timeout)
        finally:
            self.pool.release(connection, keep=head.keeps)
        versioned = request.file is not None and bool(request.file.version_id)
        raise error_of(head, read_error(body), time.time(), versioned=versioned)

    async def _credentials(self, refused: Credentials | None) -> Credentials:
        if refused is None:
            known = self._source.now()
            if known is not None:
                return known
        return await asyncio.get_running_loop().run_in_executor(None, self._source.fetch, refused)

    def failed(self, key: str, error: PermanentError) -> StorageError:
        """Return the StorageError to raise for an object instead of a PermanentError."""
        text = f"{describe_object(self.bucket.name, key)} {error}"
        if isinstance(error, Missing):
            return ObjectMissing(text)
        return NotAsPublished(text, differs=True) if isinstance(error, Differs) else StorageError(text)

    def _encode(self, credentials: Credentials, request: _Request, now: int) -> bytes:
        """Return the bytes of a request: pinned to what was published, and signed if there is an access key.

        Only `Host`, the fields of the signature itself and those of `signed` are signed: the others may pass
        through a proxy that writes them in another way. now: seconds since 1970. Raises PermanentError for a
        key that no request can carry.
        """
        method, file, fields, signed, parameters = request
        tag = ""
        try:
            if file is None:
                path, query = quote_path(self.bucket.listing_path), query_of(parameters.items())
            else:
                path = quote_path(self.bucket.path + file.key)
                query = query_of([("versionId", file.version_id)]) if file.version_id else ""
                tag = condition(file.etag)
        except UnicodeEncodeError:
            raise PermanentError(
                "was published under a key that is not valid text: publish it again"
            ) from None
        lines = [f"{method} {path}{'?' if query else ''}{query} HTTP/1.1", f"Host: {self._host}"]
        if credentials.access_key:
            signing = sign(
                method, path, query, {"host": self._host, **signed}, credentials, self.bucket.region, now
            )
            lines += [f"{name}: {value}" for name, value in signing.items()]
        if signed:
            lines += [f"{name}: {value}" for name, value in signed.items()]
        if tag:
            lines.append(f"If-Match: {tag}")
        lines += [f"{name}: {value}" for name, value in fields.items()]
        lines.append("Accept-Encoding: identity\r\n\r\n")
        encoded = "\r\n".join(lines).encode()
        if encoded.count(b"\n") != len(lines) + 1:
            raise PermanentError("cannot be asked for: the keys, the host or the region contain a line break")
        return encoded

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
