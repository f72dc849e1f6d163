"""Reads the whole body of a small response: a page of keys, or the byte that shows an object readable."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.runtime.system_errors import describe
from gateway.storage.retries import TransientError
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.responses import Head, PermanentError

READ_BYTES: Final = 64 * 1024
_CUT_OFF: Final = "the storage closed the connection before the end"


async def read_body(connection: StorageConnection, head: Head, most: int, seconds: float) -> bytes:
    """Read a body that has a length, comes in chunks, or ends with the connection.

    most: the bytes that it may have. seconds: for all of it. Raises TransientError when it breaks off, and
    PermanentError when it is too long or is no body of HTTP/1.1 (RFC 9112 section 7.1).
    """
    reader = _Reader(connection)
    try:
        async with asyncio.timeout(seconds):
            if "transfer-encoding" in head.fields:
                return await _read_chunks(reader, most)
            if head.length is None:
                return await reader.rest(most)
            if head.length > most:
                raise PermanentError(f"cannot be read: the storage sends {head.length} bytes")
            return await reader.exactly(head.length)
    except TimeoutError:
        raise TransientError("the storage sent nothing in time (read_timeout)") from None
    except OSError as error:
        raise TransientError(f"the connection was lost: {describe(error)}") from None


async def _read_chunks(reader: _Reader, most: int) -> bytes:
    body = bytearray()
    while True:
        line = (await reader.line()).split(b";", 1)[0].strip()
        try:
            size = int(line, 16) if line.isalnum() else -1
        except ValueError:
            size = -1
        if not 0 <= size <= most - len(body):
            raise PermanentError("cannot be read: the storage sends damaged or too many chunks")
        if not size:
            break
        body += await reader.exactly(size)
        if await reader.line():
            raise PermanentError("cannot be read: the storage sends damaged chunks")
    while await reader.line():
        pass  # trailer fields
    return bytes(body)


class _Reader:
    """Reads a connection through a buffer; nothing that follows the body is needed later."""

    def __init__(self, connection: StorageConnection) -> None:
        self._connection = connection
        self._data = bytearray()

    async def exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            if not await self._more(size - len(self._data)):
                raise TransientError(_CUT_OFF)
        return self._take(size)

    async def line(self) -> bytes:
        """Read up to the next CRLF, and return what is before it."""
        while (end := self._data.find(b"\r\n")) < 0:
            if len(self._data) > READ_BYTES:
                raise PermanentError("cannot be read: the storage sends damaged chunks")
            if not await self._more(READ_BYTES):
                raise TransientError(_CUT_OFF)
        return self._take(end + 2)[:-2]

    async def rest(self, most: int) -> bytes:
        while await self._more(READ_BYTES):
            if len(self._data) > most:
                raise PermanentError(f"cannot be read: the storage sends more than {most} bytes")
        return self._take(len(self._data))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    async def _more(self, wanted: int) -> int:
        """Read some of what is to come into the buffer; return how many bytes, 0 at the end."""
        piece = bytearray(min(wanted, READ_BYTES))
        while True:
            try:
                received = self._connection.recv_into(memoryview(piece))
            except BlockingIOError:
                await self._connection.wait_readable()
                continue
            self._data += piece[:received]
            return received
