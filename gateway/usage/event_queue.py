"""Batches of events on their way from a worker to the store. No download waits for them.

Where a batch is, in this order:

1. in memory, until the store has taken it; while the store is away or its streams are full, MEMORY_BYTES
2. in a file below `data`, up to the setting `usage_file_max_bytes` (event_files.py)
3. dropped, the oldest first. That is counted, and logged

Batches that the store has taken are kept for KEPT_SECONDS. After a new connection they are sent again,
because a server that was killed may have lost its last second. The reader applies each event once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn

from gateway.errors import StoreUnavailable
from gateway.runtime.metrics import EVENTS_DROPPED, EVENTS_WAITING, Counters
from gateway.runtime.system_errors import describe
from gateway.store.key_names import events_key
from gateway.store.scripts import ADD_EVENTS
from gateway.store.topology import Topology
from gateway.usage.event_files import EventFile, take_left_file

_log = logging.getLogger("gateway")

MEMORY_BYTES: Final = 4 * 2**20
"""Batches in memory: 70,000 events of a worker."""
KEPT_SECONDS: Final = 3.0
"""The embedded store, like most, writes to the disk once a second, and takes two at the most."""
KEPT_BYTES: Final = 8 * 2**20
RETRY_SECONDS: Final = 0.5
LEFT_SECONDS: Final = 30.0
"""How often there is a look for files of workers that have died."""
SLICE_BYTES: Final = 2**20
"""How much of a file is read at once."""
STOP_SECONDS: Final = 2.0
"""How long a worker that ends may wait for the store, before the rest goes into the file."""
LOG_SECONDS: Final = 60.0
"""How often it is logged that events are dropped."""


class EventQueue:
    """The batches of one worker. most: bytes that a stream may hold; file_most: bytes of the file."""

    def __init__(
        self, topology: Topology, counters: Counters, data: Path, slot: int, *, most: int, file_most: int
    ) -> None:
        self.worker: Final = secrets.token_hex(8)
        self._topology = topology
        self._count = counters.add
        self._data = data
        self._key = events_key(slot)
        self._most = most
        self._file = EventFile(data, self.worker, file_most)
        self._file_counts: deque[int] = deque()  # events of each batch in the file
        self._file_offset = 0  # before it, everything has been sent
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._kept: deque[tuple[float, bytes]] = deque()
        self._kept_bytes = 0
        self._connections = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")
        self._wakes = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._look_at = 0.0
        self._dropped = 0
        self._dropped_logged = -LOG_SECONDS
        self._file_fails = False
        self._has_stopped = False

    def put(self, count: int, batch: bytes) -> None:
        """Take a batch of so many events."""
        self._count(EVENTS_WAITING, count)
        self._waiting.append((count, batch))
        self._bytes += len(batch)
        self._wakes.set()

    def start(self) -> None:
        """Begin to send, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Send what waits, for a while; write the rest into the file. Done once."""
        if self._has_stopped:
            return
        self._has_stopped = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._send_waiting()
        await self._spill(0)
        await self._in_thread(self._file.close)
        self._thread.shutdown()

    async def _run(self) -> NoReturn:
        while True:
            self._send_kept_again()
            goes = await self._send_waiting() and await self._send_file()
            if self._bytes > MEMORY_BYTES:
                await self._spill(MEMORY_BYTES // 2)
            if goes and time.monotonic() >= self._look_at:
                goes = await self._send_left_files()
            self._log_dropped()
            if goes:
                self._wakes.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self._wakes.wait()
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def _send(self, batch: bytes) -> bool:
        """Whether the store has taken the batch."""
        try:
            taken = await self._topology.run(ADD_EVENTS, self._key, self._most, batch).as_future()
        except StoreUnavailable:
            return False
        if not taken:
            return False
        self._kept.append((time.monotonic() + KEPT_SECONDS, batch))
        self._kept_bytes += len(batch)
        self._forget_kept()
        return True

    async def _send_waiting(self) -> bool:
        """Send what is in memory. Returns whether all of it is gone."""
        while self._waiting:
            count, batch = self._waiting[0]
            if not await self._send(batch):
                return False
            self._waiting.popleft()
            self._bytes -= len(batch)
            self._count(EVENTS_WAITING, -count)
        return True

    async def _send_file(self) -> bool:
        """Send what is in the file."""
        while self._file_offset < self._file.size:
            try:
                batches, offset = await self._in_thread(self._file.read, self._file_offset, SLICE_BYTES)
            except OSError as error:
                self._report_file(error)
                return False
            for batch in batches:
                if not await self._send(batch):
                    return False  # what of this part was sent is sent again
            for _ in batches:
                self._count(EVENTS_WAITING, -self._file_counts.popleft())
            self._file_offset = offset
        if self._file.size:
            for count in self._file_counts:  # of damaged records
                self._drop(count)
            self._file_counts.clear()
            self._file_offset = 0
            await self._in_thread(self._file.clear)
        return True

    async def _send_left_files(self) -> bool:
        """Send what workers that have died left behind."""
        self._look_at = time.monotonic() + LEFT_SECONDS
        try:
            while (left := await self._in_thread(take_left_file, self._data)) is not None:
                for batch in left.batches():
                    if not await self._send(batch):
                        left.leave()
                        self._look_at = 0.0
                        return False
                await self._in_thread(left.remove)
        except OSError as error:
            self._report_file(error)
        return True

    async def _spill(self, most: int) -> None:
        """Move the oldest batches from memory into the file, or drop them, until `most` bytes are left."""
        moved: list[tuple[int, bytes]] = []
        left = self._bytes
        for each in self._waiting:
            if left <= most:
                break
            moved.append(each)
            left -= len(each[1])
        if not moved:
            return
        try:
            added = await self._in_thread(self._file.append, [batch for _, batch in moved])
            self._file_fails = False
        except OSError as error:
            self._report_file(error)
            added = 0
        self._file_counts.extend(count for count, _ in moved[:added])
        for _ in moved:  # only now, so that nothing is lost where this is cancelled
            self._bytes -= len(self._waiting.popleft()[1])
        for count, _ in moved[added:]:
            self._drop(count)

    def _send_kept_again(self) -> None:
        """After a new connection, send again what a server that was killed may have lost."""
        connections = self._topology.pipeline(self._key).connections
        if connections != self._connections:
            if self._connections:
                for _, batch in reversed(self._kept):
                    self._waiting.appendleft((0, batch))
                    self._bytes += len(batch)
            self._kept.clear()
            self._kept_bytes = 0
            self._connections = connections
        self._forget_kept()

    def _forget_kept(self) -> None:
        now = time.monotonic()
        while self._kept and (self._kept[0][0] < now or self._kept_bytes > KEPT_BYTES):
            self._kept_bytes -= len(self._kept.popleft()[1])

    def _drop(self, count: int) -> None:
        self._count(EVENTS_WAITING, -count)
        self._count(EVENTS_DROPPED, count)
        self._dropped += count

    def _log_dropped(self) -> None:
        now = time.monotonic()
        if self._dropped and now - self._dropped_logged >= LOG_SECONDS:
            _log.error(
                "%d events of usage were dropped: the store takes none, and usage_file_max_bytes is used up",
                self._dropped,
            )
            self._dropped, self._dropped_logged = 0, now

    def _report_file(self, error: OSError) -> None:
        if not self._file_fails:
            _log.error("events of usage cannot be kept below %s: %s", self._data, describe(error))
        self._file_fails = True

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
