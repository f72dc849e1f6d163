"""One HTTP/1.1 connection to a storage, on a socket of our own.

An HTTP library would hand out the body in chunks that it has read itself. A stream needs the socket, to
splice from it or to read into the caller's buffer. So nothing but the head of a response is ever read ahead:
over plain TCP the head is looked at before it is taken (MSG_PEEK); over TLS, what was decrypted together with
the head is kept and handed out first. Everything else stays in the kernel until the caller reads it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final

from gateway.runtime.system_errors import describe
from gateway.storage.s3.opening import wait_writable
from gateway.storage.s3.receive_buffer import ReceiveBuffer
from gateway.storage.s3.responses import MAX_HEAD_BYTES, Head, PermanentError, parse_head

PEEK_BYTES: Final = 4096
"""More bytes than the head of a response from S3 has."""
MAX_ERROR_BYTES: Final = 8 * 1024
"""How many bytes of an error's body are read, to find its code."""
_ERROR_ENDS: Final = (b"</Error>", b"0\r\n\r\n")
"""How the body of an error ends when no length was sent: with its XML, or with its last chunk."""
GATHER_SECONDS: Final = 0.01
"""How long bytes that have arrived may wait for more: too short to be noticed, or to hide a stall."""
_MAX_INTERIM: Final = 8
"""Interim responses (1xx) before the response itself."""
_peek: Final = socket.socket.recv
"""`recv` of the plain socket, also where the socket speaks TLS."""
_MOVE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class ConnectionLost(Exception):
    """The connection ended where it must not. begun: whether a part of the response had arrived."""

    def __init__(self, text: str, *, begun: bool) -> None:
        super().__init__(text)
        self.begun = begun


class StorageConnection:
    """An open connection, for one request at a time and for one event loop. Its owner closes it.

    fd: its descriptor. is_plain: it does not speak TLS. keeps: the pool may use it again once the body of the
    present response has been read. served: how many responses it has brought. idle_since: set by the pool.
    """

    __slots__ = (
        "_buffer",
        "_decrypted",
        "_loop",
        "_socket",
        "_waiter",
        "_watching",
        "fd",
        "idle_since",
        "is_plain",
        "keeps",
        "served",
    )

    def __init__(self, opened: socket.socket) -> None:
        """opened: a connected, non-blocking socket."""
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._buffer = ReceiveBuffer(opened)
        self._decrypted = memoryview(b"")  # over TLS: bytes of the body that came together with the head
        self._waiter: asyncio.Future[None] | None = None
        self._watching = False  # whether the event loop watches the descriptor
        self.fd = opened.fileno()
        self.is_plain = not isinstance(opened, ssl.SSLSocket)
        self.keeps = False
        self.served = 0
        self.idle_since = 0.0

    # Request and head.

    async def ask(self, request: bytes, method: str, seconds: float) -> Head:
        """Send a request and read the head of the response, which must arrive within `seconds`.

        Raises ConnectionLost, TimeoutError, or PermanentError for what is not a response of HTTP/1.1.
        """
        begun = False
        try:
            async with asyncio.timeout(seconds):
                await self._send(request)
                for _ in range(_MAX_INTERIM):
                    data = bytearray()
                    while not await self._read_head(data):
                        begun = True
                    begun = True
                    head = parse_head(bytes(data), method)
                    if head.status >= 200:
                        self.served += 1
                        return head
        except ValueError as error:
            raise PermanentError(f"cannot be read: the storage sent {error}") from None
        except EOFError:
            raise ConnectionLost(
                "the storage closed the connection instead of answering", begun=begun
            ) from None
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(
                f"the connection to the storage was lost: {describe(error)}", begun=begun
            ) from None
        raise PermanentError("cannot be read: the storage sent interim responses only")

    async def _send(self, request: bytes) -> None:
        while request:
            try:
                request = request[self._socket.send(request) :]
            except ssl.SSLWantReadError:
                await self.wait_readable()
            except (BlockingIOError, ssl.SSLWantWriteError):
                await wait_writable(self.fd)

    async def _read_head(self, head: bytearray) -> bool:
        """Read more of a head into `head`; return whether it is complete.

        Raises EOFError at the end of the connection, ValueError for a head that is too long, OSError.
        """
        while True:
            try:
                data = self._look_at_head()
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                await self.wait_readable()
        if not data:
            raise EOFError
        seen = len(head)
        head += data
        end = head.find(b"\r\n\r\n", max(0, seen - 3))
        used = len(data) if end < 0 else end + 4 - seen
        del head[seen + used :]
        if self.is_plain:
            self._socket.recv(used)
        else:
            self._decrypted = memoryview(data)[used:]
        if len(head) > MAX_HEAD_BYTES:
            raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        return end >= 0

    def _look_at_head(self) -> bytes:
        """Return bytes that may belong to a head: over plain TCP they stay in the socket."""
        if self.is_plain:
            return self._socket.recv(PEEK_BYTES, socket.MSG_PEEK)
        if self._decrypted:
            data = bytes(self._decrypted)
            self._decrypted = memoryview(b"")
            return data
        return self._socket.recv(PEEK_BYTES)

    # Body.

    async def read_error(self, head: Head, seconds: float) -> bytes:
        """Read the body of an error: MAX_ERROR_BYTES of it at most, and only what arrives within `seconds`.

        Sets `head.keeps` to whether the connection may be used again.
        """
        keeps, head.keeps = head.keeps, False
        most = MAX_ERROR_BYTES if head.length is None else min(head.length, MAX_ERROR_BYTES)
        body = bytearray(most)
        view = memoryview(body)
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while size < most and not (head.length is None and body.endswith(_ERROR_ENDS, 0, size)):
                    try:
                        received = self.recv_into(view[size:])
                    except BlockingIOError:
                        await self.wait_readable()
                        continue
                    if not received:
                        break
                    size += received
        except OSError:  # TimeoutError is one
            pass
        head.keeps = keeps and size == head.length
        return bytes(view[:size])

    def recv_into(self, buffer: memoryview) -> int:
        """Read what has arrived into the buffer; return the number of bytes, 0 at the connection's end.

        Raises BlockingIOError when nothing has arrived, OSError when the connection is lost.
        """
        if self.is_plain:
            return self._socket.recv_into(buffer)
        decrypted = self._decrypted
        if decrypted:
            size = min(len(decrypted), len(buffer))
            buffer[:size] = decrypted[:size]
            self._decrypted = decrypted[size:]
            return size
        return self._decrypt_into(buffer)

    def _decrypt_into(self, buffer: memoryview) -> int:
        """Read as many TLS records as have arrived and fit: one call gives at most one, of 16 KiB."""
        size = 0
        receive = self._socket.recv_into
        try:
            while size < len(buffer):
                received = receive(buffer[size:])
                if not received:
                    break
                size += received
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not size:
                raise BlockingIOError from None
        except OSError:
            if not size:
                raise
        return size

    def splice(self, pipe: int, most: int) -> int:
        """Move what has arrived into a pipe, within the kernel; otherwise as `recv_into`. Plain TCP only."""
        return os.splice(self.fd, pipe, most, flags=_MOVE)

    def limit_unread(self, limit: int) -> bool:
        """Limit what the kernel holds before it is read; see `ReceiveBuffer.limit`."""
        return self._buffer.limit(limit)

    def unread(self) -> int:
        """Count the bytes that the kernel holds; see `ReceiveBuffer.unread`."""
        return self._buffer.unread()

    # Waiting.

    async def wait_readable(self, seconds: float | None = None, gather: int = 1) -> None:
        """Wait until something has arrived, or the connection has ended.

        seconds: after which TimeoutError is raised. gather: so many bytes are worth waiting GATHER_SECONDS
        for, if as many are still to come; this has an effect over plain TCP only.

        The event loop keeps watching the descriptor between two waits until it becomes readable. So a stream
        that is read as fast as it arrives is registered once. The socket is looked at before waiting, because
        libuv stops watching a connection that was reset (`uv__poll_io`: EPOLLERR), although what arrived
        before the reset can still be read.
        """
        if self._has_arrived():
            return
        if self.is_plain:
            self._buffer.wake_at(gather)
        self._waiter = waiter = self._loop.create_future()
        if not self._watching:
            self._loop.add_reader(self.fd, self._on_readable)
            self._watching = True
        timer = None if seconds is None else self._loop.call_later(seconds, _expire, waiter)
        gathered = None
        if gather > 1 and self.is_plain:
            gathered = self._loop.call_later(GATHER_SECONDS, self._buffer.wake_at, 1)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
            if gathered is not None:
                gathered.cancel()

    def _has_arrived(self) -> bool:
        if self._decrypted or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        try:
            _peek(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _on_readable(self) -> None:
        waiter = self._waiter
        if waiter is None:
            self._unwatch()
        elif not waiter.done():
            waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self.fd)

    # Between requests.

    def rest(self) -> bool:
        """Prepare for being idle; return whether it can be used again: it is open, with nothing to read."""
        self._unwatch()
        try:
            if not self.limit_unread(0):
                return False
            if self.is_plain:
                self._buffer.wake_at(1)
                self._socket.recv(1, socket.MSG_PEEK)
            elif not self._decrypted:
                self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it; what is still to come is not read."""
        self._unwatch()
        self._socket.close()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
