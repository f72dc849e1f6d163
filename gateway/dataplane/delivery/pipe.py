"""A pipe between two sockets, and how much to move through it at once.

The window bounds what is under way between a storage and its client here: in a pipe or in a buffer of ours,
and unsent in the client's socket; for slow clients, what waits in the storage's socket is bounded too. It is
small until the client has taken much without a pause, so that many slow clients cost little, and grows for a
quick one, which then costs few system calls.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final

from gateway.storage.interface import Stream

SMALL_WINDOW: Final = 16 * 1024
LARGE_WINDOW: Final = 1024 * 1024
"""The largest pipe an ordinary user may have (/proc/sys/fs/pipe-max-size), unless told otherwise."""
GATHER_BYTES: Final = 512 * 1024
"""Of what the storage sends, so much is worth a short wait for a quick client: fewer turns, 5 to 10 % less
CPU time where the storage is the slower one, and none where it is not (bench/README.md)."""
PATIENCE: Final = 16
"""Windows a client takes without a pause before its window grows: more than its kernel takes for it."""
GROWTH: Final = 8
"""A quick client has the largest window after 2 MiB: while windows are small, what the storage sends piles up
before us and costs more to take (0.4 s of CPU a GB instead of 0.6 with 32 quick clients, growing by 2)."""
PAUSE_SECONDS: Final = 0.1
"""Whoever takes nothing for longer gets the smaller window again, and is slow once there is none smaller."""
SLOW_AHEAD: Final = 8 * 1024
"""What may wait in the storage's socket for a slow client; the kernel takes twice that, headers included.
Left to itself it took 200 to 500 KiB for each. With 12 KiB here, one that had paused cost 64.1 in all."""
DEFAULT_PIPE: Final = 64 * 1024
"""What a pipe holds at first, if its pages are full."""


class Window:
    """How many bytes to move at once, for one client."""

    __slots__ = ("_taken", "size", "slow")

    def __init__(self) -> None:
        self.size = SMALL_WINDOW
        self.slow = False  # paused, with the smallest window
        self._taken = 0

    @property
    def gather(self) -> int:
        """How many bytes are worth a short wait: see GATHER_BYTES. For slow clients, who hold little, any."""
        return GATHER_BYTES if self.size == LARGE_WINDOW else 1

    @property
    def ahead(self) -> int:
        """How many bytes may wait in the storage's socket; 0: as many as the kernel likes."""
        return SLOW_AHEAD if self.slow else 0

    def took(self, amount: int) -> bool:
        """Count what the client took; whether the window has grown."""
        self._taken += amount
        if self._taken < PATIENCE * self.size or self.size == LARGE_WINDOW:
            return False
        self.size = min(self.size * GROWTH, LARGE_WINDOW)
        self.slow = False
        self._taken = 0
        return True

    def waited(self, seconds: float) -> bool:
        """Tell how long it took nothing; whether the window has shrunk, or it is a slow one from now on."""
        if seconds < PAUSE_SECONDS:
            return False
        self._taken = 0
        if self.slow:
            return False
        self.size = max(self.size // GROWTH, SMALL_WINDOW)
        self.slow = self.size == SMALL_WINDOW
        return True


class Pipe:
    """A pipe in the kernel; `held` bytes are in it."""

    __slots__ = ("_capacity", "_inlet", "_outlet", "held")

    def __init__(self) -> None:
        """Raises OSError when too many descriptors are open."""
        self._outlet, self._inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._capacity = DEFAULT_PIPE
        self.held = 0

    def fill(self, stream: Stream, most: int) -> None:
        """Move what has arrived, up to `most` bytes, into the pipe, which is empty.

        Raises BlockingIOError when nothing has arrived.
        """
        self.held = stream.splice(self._inlet, most)

    def drain(self, sink: int) -> int:
        """Move what the socket `sink` takes; the bytes.

        Raises BlockingIOError when it takes none, OSError when the connection is lost.
        """
        moved = os.splice(self._outlet, sink, self.held, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        self.held -= moved
        return moved

    def resize(self, capacity: int) -> None:
        """Make room, if the system lets us: a user's pipes have a common limit (pipe(7))."""
        if capacity != self._capacity and capacity >= DEFAULT_PIPE:
            with suppress(OSError):
                self._capacity = fcntl.fcntl(self._inlet, fcntl.F_SETPIPE_SZ, capacity)

    def close(self) -> None:
        """Close it, with what is in it."""
        os.close(self._inlet)
        os.close(self._outlet)
