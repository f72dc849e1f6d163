"""A pipe between two sockets, and how much to move through it at once.

The window bounds what is under way between a storage and its client here: in a pipe or in a buffer of ours,
and unsent in the client's socket. It is small until the client has taken much without a pause, so that
many slow clients cost little, and grows for a quick one, which then costs few system calls.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final

from gateway.storage import Stream

SMALL_WINDOW: Final = 16 * 1024
LARGE_WINDOW: Final = 1024 * 1024
"""The largest pipe an ordinary user may have (/proc/sys/fs/pipe-max-size), unless told otherwise."""
GATHER_BYTES: Final = 512 * 1024
"""Of what the storage sends, so much is worth a short wait for a quick client: fewer turns, 5 to 10 % less
CPU time. A quarter of the window gains as much, three quarters gain less (bench/README.md)."""
PATIENCE: Final = 16
"""Windows a client takes without a pause before its window grows: more than its kernel takes for it."""
GROWTH: Final = 8
"""A quick client has the largest window after 2 MiB: while windows are small, what the storage sends piles up
before us and costs more to take (0.4 s of CPU a GB instead of 0.6 with 32 quick clients, growing by 2)."""
PAUSE_SECONDS: Final = 0.1
"""Whoever takes nothing for longer gets the smaller window again."""
DEFAULT_PIPE: Final = 64 * 1024
"""What a pipe holds at first, if its pages are full."""


class Window:
    """How many bytes to move at once, for one client."""

    __slots__ = ("_taken", "size")

    def __init__(self) -> None:
        self.size = SMALL_WINDOW
        self._taken = 0

    @property
    def gather(self) -> int:
        """How many bytes are worth a short wait: see GATHER_BYTES. For slow clients, who hold little, any."""
        return GATHER_BYTES if self.size == LARGE_WINDOW else 1

    def took(self, amount: int) -> bool:
        """Count what the client took; whether the window has grown."""
        self._taken += amount
        if self._taken < PATIENCE * self.size or self.size == LARGE_WINDOW:
            return False
        self.size = min(self.size * GROWTH, LARGE_WINDOW)
        self._taken = 0
        return True

    def waited(self, seconds: float) -> bool:
        """Tell how long it took nothing; whether the window has shrunk."""
        if seconds < PAUSE_SECONDS:
            return False
        self._taken = 0
        if self.size == SMALL_WINDOW:
            return False
        self.size = max(self.size // GROWTH, SMALL_WINDOW)
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
