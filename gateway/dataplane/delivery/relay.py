"""Sends a plan's pieces to one client from an object storage, as they arrive.

The rules:

- It runs as a task, since a storage is waited for in ways of its own; the request's coroutine awaits the
  end. A client that goes away ends it at once, whatever it waits for.
- The first part is asked for before the head goes: what is missing or changed is told by a status. After
  the head, a storage that fails breaks the connection.
- Bytes are taken from the storage only when the client has taken those before: a slow client holds a
  window of them (pipe.py) here, little in the storage's socket, and leaves the rest to the storage.
- Over plain TCP they never enter this process: socket to pipe to socket. They are copied, through one
  buffer that all share, where one side speaks TLS, and for slow clients: a user's pipes have a common
  limit, after which they are too small for a quick one (1500 slow clients with a pipe each: 250 MB/s
  beside them instead of 900). Parts that lie in a local file go by sendfile, and the next part is asked
  for meanwhile.
- At most TURN_BYTES leave in one turn of the event loop.
- `sent` counts what the client's kernel took, never what is in the pipe: see sender.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import Final, TypeVar

from gateway.dataplane.delivery.pipe import SMALL_WINDOW, Pipe, Window
from gateway.dataplane.delivery.sender import Sender
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import StorageError
from gateway.http.plans import Plan
from gateway.http.ranges import Span
from gateway.runtime.deferred import Deferred, in_task, in_thread, stepped
from gateway.runtime.metrics import BYTES_COPIED, BYTES_SPLICED
from gateway.storage.interface import FilePart, ObjectBlob, Stream
from gateway.storage.local.page_cache import Pages, ask_once, in_memory, read_in

SMALL_BYTES: Final = 16 * 1024
"""Up to here a body is taken whole, and leaves in one write with its head."""
TURN_BYTES: Final = 4 * 1024 * 1024
"""As much as of a local file: 3 ms."""
COPY_BYTES: Final = 256 * 1024
_BUFFER: Final = memoryview(bytearray(COPY_BYTES))
"""What is copied passes through here within one turn; only what a client does not take is kept for it."""

_TRUNCATED: Final = "a stored part of a file was truncated while it was sent"

T = TypeVar("T")


class Relay(Sender):
    """One plan on its way to one client, from an object storage."""

    def __init__(self, exchange: Exchange, blob: ObjectBlob) -> None:
        super().__init__(exchange)
        self._blob = blob
        self._task: asyncio.Task[None] | None = None
        self._part: FilePart | Stream | None = None
        self._next: asyncio.Task[FilePart | Stream] | FilePart | None = None
        self._pipe: Pipe | None = None
        self._may_splice = True
        self._window = Window()
        self._pages: Pages | None = None
        self._turn_left = TURN_BYTES
        self._in_steps = False  # waits as a coroutine that is stepped, not as a task

    async def run(self, plan: Plan) -> None:
        """Send head and pieces. Raises ClientGone, or StorageError when the storage fails.

        After a StorageError the head may have gone: see `exchange.begun`. `exchange.sent` is right in every
        case.
        """
        self._begin()
        try:
            await in_task(self._send(plan))
        except asyncio.CancelledError:  # by `connection_lost`, or with the process
            raise ClientGone from None
        finally:
            self._end()

    def connection_lost(self) -> None:
        """The connection is lost: what the kernel still holds was not taken, and no more is asked for."""
        self._stop_watching()
        super().connection_lost()
        if self._waits_for_source and not self._in_steps and self._task is not None:
            self._task.cancel()

    async def _send(self, plan: Plan) -> None:
        self._task = asyncio.current_task()
        exchange = self._exchange
        first = plan.pieces[0][1]
        try:
            if self._connection.transport is None:
                raise ClientGone
            if len(plan.pieces) == 1 and plan.amount <= SMALL_BYTES:
                exchange.respond(plan.status, plan.head, await self._read(first))
                self.sent = plan.amount
                return
            await self._open(first.start, first.stop)  # while a fault can still be told
            before = exchange.begin(plan.status, plan.head)
            for framing, span in plan.pieces:
                await self._piece(before + framing, span)
                before = b""
            self._write(plan.closing)
            await self._drained()
        except StorageError:
            self._stop_watching()
            self._uncount_unsent()
            raise
        finally:
            self._stop_watching()
            self._close()

    async def _piece(self, before: bytes, span: Span) -> None:
        if span.stop - span.start <= SMALL_BYTES:
            self._write(before + await self._read(span))
            self.sent += span.stop - span.start
            await self._drained()
            return
        at = span.start
        while at < span.stop:
            part = await self._open(at, span.stop)
            if before and self._is_plain():
                await self._send_prefix(before)
            elif before:
                self._write(before)
                self._socket = self._connection.open_client_socket()
            before = b""
            if isinstance(part, FilePart):
                at = await stepped(self._send_parts(at, span.stop)).as_future()
            else:
                at += part.left
                await self._send_stream(part)
                self._done()

    # The storage's side.

    async def _open(self, start: int, stop: int) -> FilePart | Stream:
        """The part that begins at `start`."""
        if self._part is None:
            coming, self._next = self._next, None
            if isinstance(coming, FilePart):
                self._part = coming
            else:
                try:
                    self._part = await self._source(coming or self._blob.fetch(start, stop))
                except BaseException:
                    self._next = coming
                    raise
            self._in_memory_to = 0
        return self._part

    def _done(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def _look_ahead(self, start: int, stop: int) -> None:
        if start < stop:
            part = self._blob.fetch_now(start, stop)
            self._next = part or self._loop.create_task(self._blob.fetch(start, stop))

    async def _source(self, arriving: Awaitable[T]) -> T:
        """Wait for the storage, which has limits of its own, and not for the client."""
        self._stop_watching()
        self._waits_for_source = True
        try:
            result = await arriving
        finally:
            self._waits_for_source = False
        self._turn_left = TURN_BYTES
        return result

    def _is_in_memory(self, start: int, stop: int, *, follows: bool) -> bool:
        part = self._part
        assert isinstance(part, FilePart)
        if self._pages is None:  # all parts of an object lie in one folder
            self._pages = ask_once(part.fd)
        return in_memory(part.fd, self._pages, start, stop, follows=follows)

    async def _read_into_memory(self, start: int, stop: int) -> None:
        part = self._part
        assert isinstance(part, FilePart)
        await self._source(self._awaited(in_thread(_read_in, os.dup(part.fd), start, stop)))
        if self._connection.transport is None:  # lost meanwhile
            raise ClientGone

    async def _read(self, span: Span) -> bytes:
        """A small span, whole."""
        pieces: list[bytes] = []
        at = span.start
        while at < span.stop:
            part = await self._open(at, span.stop)
            if isinstance(part, FilePart):
                await self._load(part.offset, part.offset + part.length)
                pieces.append(_pread(part, part.offset, part.length))
                at += part.length
            while not isinstance(part, FilePart) and part.left:
                try:
                    got = part.recv_into(_BUFFER[: part.left])
                except BlockingIOError:
                    await self._source(part.wait_readable())
                    continue
                pieces.append(bytes(_BUFFER[:got]))
                at += got
            self._done()
        return b"".join(pieces)

    # From the one to the other.

    async def _send_parts(self, at: int, stop: int) -> int:
        """Send what lies in files, from `at` on, while the next part is at hand; where that ends.

        Stepped, since a task takes a turn of the event loop more for each wait.
        """
        self._in_steps = True
        try:
            while isinstance(part := self._part, FilePart):
                at += part.length
                self._look_ahead(at, stop)
                await self._send_part(part)
                self._done()
                if isinstance(self._next, FilePart):
                    await self._open(at, stop)
        finally:
            self._in_steps = False
        return at

    async def _send_part(self, part: FilePart) -> None:
        at, stop = part.offset, part.offset + part.length
        if self._is_plain():
            await self._send_file(part.fd, at, stop)
            return
        while at < stop:
            end = min(at + COPY_BYTES, stop)
            await self._load(at, end)
            await self._give(memoryview(_pread(part, at, end - at)))
            at = end

    async def _send_stream(self, stream: Stream) -> None:
        """Send what arrives."""
        outlet, count = self._socket, self._connection.server.count
        assert outlet is not None
        outlet.limit_unsent(self._window.size)
        if self._window.slow:
            stream.limit_unread(self._window.ahead)
        while stream.left:
            before = self.sent
            pipe = self._choose_pipe(stream)
            try:
                await (self._copy(stream) if pipe is None else self._splice(stream, pipe))
            finally:
                count(BYTES_COPIED if pipe is None else BYTES_SPLICED, max(0, self.sent - before))
        outlet.limit_unsent(0)

    def _choose_pipe(self, stream: Stream) -> Pipe | None:
        """A pipe to splice through, if that is possible and this is no slow client."""
        if not self._may_splice or not stream.can_splice or not self._is_plain():
            return None
        if self._window.size == SMALL_WINDOW:
            self._close_pipe()
        elif self._pipe is None:
            try:
                self._pipe = Pipe()
            except OSError:  # too many descriptors: copying needs none
                self._may_splice = False
        return self._pipe

    async def _splice(self, stream: Stream, pipe: Pipe) -> None:
        """Until all has been sent, or the client has become a slow one."""
        outlet = self._socket
        assert outlet is not None
        while pipe.held or (stream.left and self._window.size > SMALL_WINDOW):
            if not pipe.held:
                try:
                    pipe.fill(stream, self._window.size)
                except BlockingIOError:
                    await self._source(stream.wait_readable(self._window.gather))
                    continue
            try:
                moved = pipe.drain(outlet.fd)
            except BlockingIOError:
                await self._taken()
                continue
            except OSError as error:
                raise self._client_gone() from error
            self._moved(moved)
            if self._turn_left <= 0:
                await self._taken()

    async def _copy(self, stream: Stream) -> None:
        """Until all has been sent, or there is a better way.

        Nothing is taken before the client takes it: 9 KiB less for each of 100 slow ones.
        """
        outlet, window = self._socket, self._window
        assert outlet is not None
        while stream.left and self._choose_pipe(stream) is None:
            if window.slow or outlet.unsent() >= window.size:
                await self._taken()
            try:
                got = stream.recv_into(_BUFFER[: min(window.size, COPY_BYTES)])
            except BlockingIOError:
                await self._source(stream.wait_readable())
                continue
            await self._give(_BUFFER[:got])

    async def _give(self, data: memoryview) -> None:
        """Copy to the client: past the transport, or through it for TLS."""
        outlet = self._socket
        assert outlet is not None
        if not self._is_plain():
            self._write(bytes(data))
            self._moved(len(data))
            began = self._loop.time()
            await self._next_turn()
            await self._drained()
            self._waited(began)
            return
        while data:
            try:
                moved = outlet.send(data)
            except BlockingIOError:
                if data.obj is _BUFFER.obj:  # which others use meanwhile
                    data = memoryview(bytes(data))
                await self._taken()
                continue
            except OSError as error:
                raise self._client_gone() from error
            data = data[moved:]
            self._moved(moved)
        if self._turn_left <= 0:
            await self._taken()

    # The client's side.

    def _awaited(self, outcome: Deferred[T]) -> Awaitable[T]:
        """What to await: a task knows futures only."""
        return outcome if self._in_steps else outcome.as_future()

    async def _wait(self) -> None:
        assert self._waiting is not None
        await self._awaited(self._waiting)
        if self._connection.transport is None:  # lost since the outcome was set
            raise ClientGone

    async def _taken(self) -> None:
        """Until the client's kernel takes more; others have their turn."""
        began = self._loop.time()
        await self._writable()
        self._waited(began)

    def _waited(self, began: float) -> None:
        self._turn_left = TURN_BYTES
        if self._window.waited(self._loop.time() - began):
            self._adapt()

    def _moved(self, amount: int) -> None:
        self.sent += amount
        self._turn_left -= amount
        if self._window.took(amount):
            self._adapt()

    def _adapt(self) -> None:
        if self._socket is not None:
            self._socket.limit_unsent(self._window.size)
        if self._part is not None and not isinstance(self._part, FilePart):
            self._part.limit_unread(self._window.ahead)
        if self._pipe is not None:
            self._pipe.resize(self._window.size)

    def _close(self) -> None:
        self._done()
        self._close_pipe()
        coming, self._next = self._next, None
        if isinstance(coming, FilePart):
            coming.close()
        elif coming is not None:
            coming.cancel()
            coming.add_done_callback(_discard)

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()


def _discard(task: asyncio.Task[FilePart | Stream]) -> None:
    """Close a part that came for nobody."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _read_in(fd: int, start: int, stop: int) -> None:
    """Read a span of a file into memory, and close the descriptor; for a thread."""
    try:
        read_in(fd, start, stop)
    except EOFError:
        raise StorageError(_TRUNCATED) from None
    except OSError as error:
        raise StorageError(f"a stored part of a file cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _pread(part: FilePart, start: int, length: int) -> bytes:
    try:
        data = os.pread(part.fd, length, start)
    except OSError as error:
        raise StorageError(f"a stored part of a file cannot be read: {error.strerror}") from error
    if len(data) != length:
        raise StorageError(_TRUNCATED)
    return data
