"""One HTTP/1.1 connection to a storage, on a socket of our own.

A client library would hand out pieces of bytes; a stream needs the socket itself, to splice from it or to
read into the caller's buffer. So nothing but a response's head is ever read ahead: over plain TCP the head is
looked at before it is taken (MSG_PEEK); over TLS what came with it is kept and handed out first. Whatever
else has arrived stays in the kernel until it is taken.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.storage.retries import TransientError
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.responses import MAX_HEAD_BYTES, Head, Unusable, parse_head

PEEK_BYTES: Final = 4096
"""More than a head of S3 has."""
MAX_ERROR_BYTES: Final = 8 * 1024
"""Read of an error's body, for its code."""
_ENDS: Final = (b"</Error>", b"0\r\n\r\n")
"""How an error ends that does not say how long it is: its XML, or its chunks."""
GATHER_SECONDS: Final = 0.01
"""How long what has arrived may wait for more: nobody notices it, and it hides no stall."""
_INTERIM: Final = 8
"""Interim answers (1xx) before the answer itself, at most."""
_peek: Final = socket.socket.recv
"""Of the socket itself, also where it speaks TLS."""
_SO_BUF_LOCK: Final = 72
_RECEIVE_LOCKED: Final = 2
"""asm-generic/socket.h: the receive buffer's size was set, and stays. `socket` has no names for it."""
_INT: Final = struct.Struct("i")
_MOVE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class ConnectionLost(Exception):
    """The connection ended where it must not. begun: whether anything of the answer had come."""

    def __init__(self, text: str, *, begun: bool) -> None:
        super().__init__(text)
        self.begun = begun


class StorageConnection:
    """An open connection, for one request at a time and one event loop; the caller closes it."""

    __slots__ = (
        "_early",
        "_loop",
        "_socket",
        "_usual",
        "_waiting",
        "_wanted",
        "_watching",
        "fd",
        "idle_since",
        "keeps",
        "plain",
        "served",
    )

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._early = memoryview(b"")
        self._waiting: asyncio.Future[None] | None = None
        self._watching = False
        self._wanted = 1
        self._usual = 0  # the receive buffer's size while there is a limit
        self.fd = opened.fileno()
        self.plain = not isinstance(opened, ssl.SSLSocket)
        self.keeps = False
        self.served = 0
        self.idle_since = 0.0

    # Asking.

    async def ask(self, request: bytes, method: str, seconds: float) -> Head:
        """Send a request and read the answer's head, which must be there within `seconds`.

        Raises ConnectionLost, TimeoutError, or Unusable for what is no answer of HTTP/1.1.
        """
        begun = False
        try:
            async with asyncio.timeout(seconds):
                await self._send(request)
                for _ in range(_INTERIM):
                    data = bytearray()
                    while not await self._read_head(data):
                        begun = True
                    begun = True
                    head = parse_head(bytes(data), method)
                    if head.status >= 200:
                        self.served += 1
                        return head
        except ValueError as error:
            raise Unusable(f"cannot be had: the storage sent {error}") from None
        except EOFError:
            raise ConnectionLost(
                "the storage closed the connection instead of answering", begun=begun
            ) from None
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(
                f"the connection to the storage was lost: {_reason(error)}", begun=begun
            ) from None
        raise Unusable("cannot be had: the storage sent interim answers only")

    async def _send(self, request: bytes) -> None:
        while request:
            try:
                request = request[self._socket.send(request) :]
            except ssl.SSLWantReadError:
                await self.readable()
            except (BlockingIOError, ssl.SSLWantWriteError):
                await _writable(self.fd)

    async def _read_head(self, head: bytearray) -> bool:
        """Read more of a head; whether it is complete. Raises EOFError, ValueError, OSError."""
        while True:
            try:
                piece = self._look()
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                await self.readable()
        if not piece:
            raise EOFError
        seen = len(head)
        head += piece
        end = head.find(b"\r\n\r\n", max(0, seen - 3))
        used = len(piece) if end < 0 else end + 4 - seen
        del head[seen + used :]
        if self.plain:
            self._socket.recv(used)
        else:
            self._early = memoryview(piece)[used:]
        if len(head) > MAX_HEAD_BYTES:
            raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        return end >= 0

    def _look(self) -> bytes:
        if self.plain:
            return self._socket.recv(PEEK_BYTES, socket.MSG_PEEK)
        if self._early:
            piece = bytes(self._early)
            self._early = memoryview(b"")
            return piece
        return self._socket.recv(PEEK_BYTES)

    async def read_error(self, head: Head, seconds: float) -> bytes:
        """The body of an answer that is an error, as far as it is wanted."""
        keeps, head.keeps = head.keeps, False
        most = MAX_ERROR_BYTES if head.length is None else min(head.length, MAX_ERROR_BYTES)
        body = bytearray(most)
        view = memoryview(body)
        got = 0
        try:
            async with asyncio.timeout(seconds):
                while got < most and not (head.length is None and body.endswith(_ENDS, 0, got)):
                    try:
                        piece = self.recv_into(view[got:])
                    except BlockingIOError:
                        await self.readable()
                        continue
                    if not piece:
                        break
                    got += piece
        except OSError:  # a time-out is one
            pass
        head.keeps = keeps and got == head.length
        return bytes(view[:got])

    # A body.

    def recv_into(self, buffer: memoryview) -> int:
        """Read what has arrived into the buffer; the bytes, 0 at the connection's end.

        Raises BlockingIOError when nothing has arrived, OSError when the connection is lost.
        """
        if self.plain:
            return self._socket.recv_into(buffer)
        early = self._early
        if early:
            got = min(len(early), len(buffer))
            buffer[:got] = early[:got]
            self._early = early[got:]
            return got
        return self._decrypt(buffer)

    def _decrypt(self, buffer: memoryview) -> int:
        """As many TLS records as have arrived and fit: one call gives at most one, of 16 KiB."""
        got = 0
        receive = self._socket.recv_into
        try:
            while got < len(buffer):
                piece = receive(buffer[got:])
                if not piece:
                    break
                got += piece
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not got:
                raise BlockingIOError from None
        except OSError:
            if not got:
                raise
        return got

    def splice(self, pipe: int, most: int) -> int:
        """Move what has arrived into a pipe, in the kernel; otherwise as `recv_into`."""
        return os.splice(self.fd, pipe, most, flags=_MOVE)

    def limit_unread(self, limit: int) -> bool:
        """Let the kernel hold about `limit` bytes before they are taken; 0: as many as it thinks best, again.

        By itself it holds what the quickest client needed, and more with each segment that finds no room. The
        limit is a receive buffer of a set size (SO_RCVBUF), with room for a segment at least: less, and a
        storage on this very machine (segments of 64 KiB) would send by time-outs. What has arrived stays.
        Returns whether it is as wanted: what was more than net.core.rmem_max allows cannot be had back.
        """
        option = self._socket.setsockopt
        if limit:
            with suppress(OSError):  # before Linux 5.14 there is no way back
                option(socket.SOL_SOCKET, _SO_BUF_LOCK, _RECEIVE_LOCKED)
                self._usual = self._usual or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                limit = max(limit, self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
                option(socket.SOL_SOCKET, socket.SO_RCVBUF, limit)
            return True
        usual, self._usual = self._usual, 0
        if not usual:
            return True
        option(socket.SOL_SOCKET, socket.SO_RCVBUF, -(-usual // 2))  # which the kernel doubles: socket(7)
        option(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= usual

    def unread(self) -> int:
        """Bytes that have arrived and were not taken (FIONREAD), as they came."""
        return int(_INT.unpack(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(_INT.size)))[0])

    # Waiting.

    async def readable(self, seconds: float | None = None, gather: int = 1) -> None:
        """Until something has arrived, be it the end. Raises TimeoutError.

        gather: bytes worth waiting GATHER_SECONDS for, of those that still have to come; over plain TCP.

        The descriptor stays watched until it is found readable with nobody waiting: a stream that is read as
        fast as it comes is watched once. Look before waiting: libuv stops watching what was reset
        (`uv__poll_io`: EPOLLERR), though what arrived before can still be read.
        """
        if self._has_arrived():
            return
        if self.plain:
            self._want(gather)
        self._waiting = waiting = self._loop.create_future()
        if not self._watching:
            self._loop.add_reader(self.fd, self._on_readable)
            self._watching = True
        timer = None if seconds is None else self._loop.call_later(seconds, _expire, waiting)
        hurry = None if self._wanted == 1 else self._loop.call_later(GATHER_SECONDS, self._want, 1)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()
            if hurry is not None:
                hurry.cancel()

    def _want(self, least: int) -> None:
        """Have the socket called readable only with so many bytes there, or the end (SO_RCVLOWAT)."""
        if least != self._wanted:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
            self._wanted = least

    def _has_arrived(self) -> bool:
        if self._early or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        try:
            _peek(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _on_readable(self) -> None:
        waiting = self._waiting
        if waiting is None:
            self._unwatch()
        elif not waiting.done():
            waiting.set_result(None)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self.fd)

    def rest(self) -> bool:
        """Nothing is awaited from now on; whether the connection is still good: open, and silent."""
        self._unwatch()
        try:
            if not self.limit_unread(0):
                return False
            if self.plain:
                self._want(1)
                self._socket.recv(1, socket.MSG_PEEK)
            elif not self._early:
                self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it, whatever is still to come."""
        self._unwatch()
        self._socket.close()


def _expire(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError())


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    await _watch(fd, loop.add_writer, loop.remove_writer)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    await _watch(fd, loop.add_reader, loop.remove_reader)


async def _watch(fd: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(fd, _arrive, waiting)
    try:
        await waiting
    finally:
        remove(fd)


def _arrive(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


# Connecting.


def make_context(bucket: Bucket) -> ssl.SSLContext | None:
    """How certificates are checked. Raises Unusable when `ca_file` cannot be read."""
    if not bucket.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=None if bucket.ca_file is None else str(bucket.ca_file))
    except OSError as error:
        raise Unusable(f"cannot be had: ca_file {str(bucket.ca_file)!r}: {_reason(error)}") from error
    context.set_alpn_protocols(["http/1.1"])
    if not bucket.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(bucket: Bucket, context: ssl.SSLContext | None) -> StorageConnection:
    """Open a connection within connect_timeout. Raises TransientError, or Unusable for certificates."""
    loop = asyncio.get_running_loop()
    place = f"{bucket.host}:{bucket.port}"
    deadline = loop.time() + bucket.connect_timeout
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(bucket.host, bucket.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise TransientError(f"looking up {bucket.host} takes too long (connect_timeout)") from None
    except OSError as error:
        raise TransientError(f"{bucket.host} cannot be looked up: {_reason(error)}") from None
    fault = f"{bucket.host} has no address"
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        share = (deadline - loop.time()) / (len(found) - tried)
        try:
            async with asyncio.timeout(share):
                return await _connect_to(family, kind, protocol, address, bucket, context)
        except TimeoutError:
            fault = f"{place} does not answer in time (connect_timeout)"
        except ssl.SSLCertVerificationError as error:
            raise Unusable(
                f"cannot be had: the certificate of {place} is not good ({error.verify_message}): "
                "see `ca_file` and `endpoint`"
            ) from None
        except OSError as error:
            fault = f"{place} cannot be reached: {_reason(error)}"
    raise TransientError(fault)


async def _connect_to(
    family: int, kind: int, protocol: int, address: object, bucket: Bucket, context: ssl.SSLContext | None
) -> StorageConnection:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        try:
            opened.connect(address)  # type: ignore[arg-type]
        except BlockingIOError:
            await _writable(opened.fileno())
            failed = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed)) from None
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is not None:
            opened = context.wrap_socket(opened, server_hostname=bucket.host, do_handshake_on_connect=False)
            await _shake_hands(opened)
    except BaseException:
        opened.close()
        raise
    return StorageConnection(opened)


async def _shake_hands(opened: ssl.SSLSocket) -> None:
    while True:
        try:
            opened.do_handshake()
        except ssl.SSLWantReadError:
            await _readable(opened.fileno())
        except ssl.SSLWantWriteError:
            await _writable(opened.fileno())
        else:
            return


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
