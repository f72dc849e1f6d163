"""Sends a plan's segments to one client from object storages, as the bytes arrive.

The rules:

- A relay runs as a task, because waiting for a storage needs more than Deferreds. The request's coroutine
  awaits the end of the task. When the client goes away, the task ends at once, whatever it waits for.
- The first part is fetched before the head is sent, so that a missing or changed object is answered by a
  status. When the storage fails after the head, the connection is broken.
- Bytes are read from the storage only when the client has taken the bytes before them. For a slow client we
  hold one window (pipe.py), the storage's socket holds little, and the rest stays with the storage.
- Over plain TCP the bytes never enter this process: they go from socket to pipe to socket. Where one side
  speaks TLS, and for slow clients, they are copied through one buffer that all relays share. Slow clients get
  no pipe: all pipes of a user have a common limit, beyond which new ones are too small for quick clients
  (1500 more pipes: 250 MB/s instead of 900). Parts in a file are sent by sendfile while the next is fetched.
- At most TURN_BYTES leave in one turn of the event loop.
- `sent` counts what the client's kernel has taken, and not what is in the pipe: see sender.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from gateway.dataplane.delivery.file_parts import close_unused, read_into_memory_and_close, read_part
from gateway.dataplane.delivery.pipe import SMALL_WINDOW, Pipe, Window
from gateway.dataplane.delivery.sender import CutOff, Sender
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import StorageError
from gateway.http.plans import Plan
from gateway.http.ranges import Span
from gateway.runtime.deferred import Deferred, in_task, in_thread, stepped
from gateway.runtime.metrics import BYTES_COPIED, BYTES_SPLICED
from gateway.storage.interface import FilePart, ObjectBlob, Stream
from gateway.storage.local.page_cache import Probe, is_in_memory, probe_of_file_system

TURN_BYTES: Final = 4 * 1024 * 1024
"""What one relay may send in a turn of the event loop, which takes 3 ms."""
COPY_BYTES: Final = 256 * 1024
_BUFFER: Final = memoryview(bytearray(COPY_BYTES))
"""Bytes are copied through this buffer within one turn. What a client does not take is copied once more."""

T = TypeVar("T")


class Relay(Sender):
    """One plan on its way to one client, from object storages."""

    def __init__(self, exchange: Exchange, blobs: Sequence[ObjectBlob]) -> None:
        super().__init__(exchange)
        self._blobs = blobs
        self._blob = blobs[0]  # of the segment that is being sent
        self._task: asyncio.Task[None] | None = None
        self._part: FilePart | Stream | None = None  # what is being sent
        self._next: asyncio.Task[FilePart | Stream] | FilePart | None = None  # what follows it
        self._pipe: Pipe | None = None
        self._may_splice = True
        self._window = Window()
        self._probe: Probe | None = None
        self._turn_left = TURN_BYTES
        self._copying = 0  # bytes that were read and wait for the client
        self._is_stepped = False  # waits as a coroutine that is stepped, and not as a task

    async def run(self, plan: Plan) -> None:
        """Send the head and the segments. Raises ClientGone, or StorageError when a storage fails.

        After a StorageError the head may have been sent: see `exchange.begun`. `exchange.sent` is right in
        every case.
        """
        self._begin()
        try:
            await in_task(self._send(plan))
        except asyncio.CancelledError:  # by `connection_lost`, or with the process
            raise ClientGone from None
        finally:
            self._end()

    def connection_lost(self) -> None:
        """End with ClientGone. What the kernel still holds was not sent, and no more is fetched."""
        self._stop_watching()
        super().connection_lost()
        if self._waits_for_source and not self._is_stepped and self._task is not None:
            self._task.cancel()

    async def _send(self, plan: Plan) -> None:
        self._task = asyncio.current_task()
        exchange = self._exchange
        first = plan.segments[0]
        self._blob = self._blobs[first.file]
        try:
            self._check_connected()
            if len(plan.segments) == 1 and plan.amount <= self._most_at_once:
                body = await self._read(first.span)
                await self._all_allowed(plan.amount)
                self._check_room(plan.amount)
                exchange.respond(plan.status, plan.head, body)
                self.sent = plan.amount
                return
            await self._open_part(first.span.start, first.span.stop)  # while an error can still be answered
            head = exchange.begin(plan.status, plan.head)
            for prefix, file, span in plan.segments:
                if self._blob is not self._blobs[file]:
                    self._blob, self._probe = self._blobs[file], None
                await self._send_span(head + prefix, span)
                head = b""
            if plan.closing:
                await self._send_small([(plan.closing, b"")])
            await self._until_delivered()
        except CutOff:
            await self._end_cut_off()
        except StorageError:
            self._stop_watching()
            self._uncount_unsent()
            raise
        finally:
            self._stop_watching()
            self._close()

    async def _send_span(self, prefix: bytes, span: Span) -> None:
        if span.stop - span.start <= self._most_at_once:
            await self._send_small([(prefix, await self._read(span))])
            return
        self._count_framing(prefix)
        start = span.start
        while start < span.stop:
            part = await self._open_part(start, span.stop)
            if prefix and self._is_plain():
                await self._send_prefix(prefix)
            elif prefix:
                self._write(prefix)
                self._socket = self._connection.open_client_socket()
            prefix = b""
            if isinstance(part, FilePart):
                # stepped, because a task takes one more turn of the event loop for each wait
                start = await stepped(self._send_file_parts(start, span.stop)).as_future()
                self._check_connected()
            else:
                start += part.left
                await self._send_stream(part)
                self._close_part()

    # The storage's side.

    async def _open_part(self, start: int, stop: int) -> FilePart | Stream:
        """The part that begins at `start`, and ends at `stop` or before."""
        if self._part is None:
            next_part, self._next = self._next, None
            if isinstance(next_part, FilePart):
                self._part = next_part
            else:
                try:
                    self._part = await self._from_source(next_part or self._blob.fetch(start, stop))
                except BaseException:
                    self._next = next_part
                    raise
            self._in_memory_to = 0
        return self._part

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def _fetch_next(self, start: int, stop: int) -> None:
        """Fetch the next part while this one is sent."""
        if start < stop:
            part = self._blob.fetch_now(start, stop)
            self._next = part or self._loop.create_task(self._blob.fetch(start, stop))

    async def _from_source(self, arriving: Awaitable[T]) -> T:
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
        if self._probe is None:  # all parts of an object lie in one folder
            self._probe = probe_of_file_system(part.fd)
        return is_in_memory(part.fd, self._probe, start, stop, follows=follows)

    async def _read_into_memory(self, start: int, stop: int) -> None:
        part = self._part
        assert isinstance(part, FilePart)
        reading = in_thread(read_into_memory_and_close, os.dup(part.fd), start, stop)
        await self._from_source(self._awaitable(reading))
        self._check_connected()

    async def _read(self, span: Span) -> bytes:
        """A small span, whole."""
        data: list[bytes] = []
        start = span.start
        while start < span.stop:
            part = await self._open_part(start, span.stop)
            if isinstance(part, FilePart):
                await self._load(part.offset, part.offset + part.length)
                data.append(read_part(part, part.offset, part.length))
                start += part.length
            while not isinstance(part, FilePart) and part.left:
                try:
                    received = part.recv_into(_BUFFER[: part.left])
                except BlockingIOError:
                    await self._from_source(part.wait_readable())
                    continue
                data.append(bytes(_BUFFER[:received]))
                start += received
            self._close_part()
        return b"".join(data)

    # From the storage to the client.

    async def _send_file_parts(self, start: int, stop: int) -> int:
        """Send parts that lie in files, as long as the next one is there at once; returns where they end."""
        self._is_stepped = True
        try:
            while isinstance(part := self._part, FilePart):
                start += part.length
                self._fetch_next(start, stop)
                await self._send_file_part(part)
                self._close_part()
                if isinstance(self._next, FilePart):
                    await self._open_part(start, stop)
        finally:
            self._is_stepped = False
        return start

    async def _send_file_part(self, part: FilePart) -> None:
        start, stop = part.offset, part.offset + part.length
        if self._is_plain():
            await self._send_file(part.fd, start, stop)
            return
        while start < stop:
            end = min(start + COPY_BYTES, stop)
            await self._load(start, end)
            end = start + await self._allowed(end - start)
            end = min(end, start + self._room())
            await self._send_copy(memoryview(read_part(part, start, end - start)))
            start = end

    async def _send_stream(self, stream: Stream) -> None:
        """Send what arrives, by splicing or by copying, whichever suits the client at the time."""
        client_socket, count = self._connection.open_client_socket(), self._connection.server.count
        client_socket.limit_unsent(self._window.size)
        if self._window.is_slow:
            stream.limit_unread(self._window.unread_limit)
        while stream.left:
            before = self.sent
            pipe = self._choose_pipe(stream)
            try:
                await (self._copy(stream) if pipe is None else self._splice(stream, pipe))
            finally:
                count(BYTES_COPIED if pipe is None else BYTES_SPLICED, max(0, self.sent - before))
        client_socket.limit_unsent(0)

    def _choose_pipe(self, stream: Stream) -> Pipe | None:
        """A pipe to splice through, if that is possible and the client is not slow."""
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
        """Splice until all has been sent, or the client has become slow."""
        client_socket = self._socket
        assert client_socket is not None
        while pipe.held or (stream.left and self._window.size > SMALL_WINDOW):
            if not pipe.held:
                allowed = await self._allowed(self._window.size)
                try:
                    pipe.fill(stream, min(allowed, self._room()))
                except BlockingIOError:
                    self._give_back(allowed)
                    await self._from_source(stream.wait_readable(self._window.gather))
                    continue
                self._give_back(allowed - pipe.held)
            try:
                moved = pipe.drain(client_socket.fd)
            except BlockingIOError:
                await self._until_writable()
                continue
            except OSError as error:
                raise self._client_gone() from error
            self._count_moved(moved)
            if self._turn_left <= 0:
                await self._until_writable()

    async def _copy(self, stream: Stream) -> None:
        """Copy until all has been sent, or splicing is better. Nothing is read before the client takes it."""
        client_socket, window = self._socket, self._window
        assert client_socket is not None
        while stream.left and self._choose_pipe(stream) is None:
            if window.is_slow or client_socket.unsent() >= window.size:
                await self._until_writable()
            allowed = await self._allowed(min(window.size, COPY_BYTES))
            try:
                received = stream.recv_into(_BUFFER[: min(allowed, self._room())])
            except BlockingIOError:
                self._give_back(allowed)
                await self._from_source(stream.wait_readable())
                continue
            self._give_back(allowed - received)
            await self._send_copy(_BUFFER[:received])

    async def _send_copy(self, data: memoryview) -> None:
        """Copy to the client: past the transport, or through it for TLS."""
        client_socket = self._socket
        assert client_socket is not None
        if not self._is_plain():
            self._write(bytes(data))
            self._count_moved(len(data))
            started = self._loop.time()
            await self._next_turn()
            await self._drained()
            self._count_wait(started)
            return
        while data:
            self._copying = len(data)
            try:
                moved = client_socket.send(data)
            except BlockingIOError:
                if data.obj is _BUFFER.obj:  # which other relays use meanwhile
                    data = memoryview(bytes(data))
                await self._until_writable()
                continue
            except OSError as error:
                raise self._client_gone() from error
            data = data[moved:]
            self._copying = len(data)
            self._count_moved(moved)
        if self._turn_left <= 0:
            await self._until_writable()

    # The client's side.

    def _awaitable(self, deferred: Deferred[T]) -> Awaitable[T]:
        """What to await: a task can only await futures."""
        return deferred if self._is_stepped else deferred.as_future()

    async def _wait(self) -> None:
        assert self._waiting is not None
        await self._awaitable(self._waiting)
        self._check_connected()  # it may have been lost since the result was set

    async def _until_writable(self) -> None:
        """Wait until the client's kernel takes more, and count how long that took."""
        started = self._loop.time()
        await self._writable()
        self._count_wait(started)

    def _in_flight(self) -> int:
        return self._copying + (0 if self._pipe is None else self._pipe.held)

    def _count_wait(self, started: float) -> None:
        self._turn_left = TURN_BYTES
        if self._window.count_wait(self._loop.time() - started):
            self._apply_window()

    def _count_moved(self, amount: int) -> None:
        self.sent += amount
        self._turn_left -= amount
        if self._window.count_taken(amount):
            self._apply_window()

    def _apply_window(self) -> None:
        if self._socket is not None:
            self._socket.limit_unsent(self._window.size)
        if self._part is not None and not isinstance(self._part, FilePart):
            self._part.limit_unread(self._window.unread_limit)
        if self._pipe is not None:
            self._pipe.resize(self._window.size)

    def _close(self) -> None:
        self._close_part()
        self._close_pipe()
        next_part, self._next = self._next, None
        if isinstance(next_part, FilePart):
            next_part.close()
        elif next_part is not None:
            next_part.cancel()
            next_part.add_done_callback(close_unused)

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
