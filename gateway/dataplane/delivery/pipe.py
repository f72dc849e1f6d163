"""A pipe between two sockets, and how much to move through it at once.

The window bounds the bytes of one client that are on their way here: in a pipe or in a buffer of ours, and
unsent in the client's socket; for slow clients also those in the storage's socket. It is small until the
client has taken much without a pause, so that many slow clients cost little memory. It grows for a quick
client, which then costs few system calls.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final

from gateway.storage.interface import Stream

SMALL_WINDOW: Final = 16 * 1024
LARGE_WINDOW: Final = 1024 * 1024
"""The largest pipe that an ordinary user may have (/proc/sys/fs/pipe-max-size), unless set otherwise."""
GATHER_BYTES: Final = 512 * 1024
"""For a quick client it is worth a short wait until the storage has sent so much: there are fewer turns, and
5 to 10 % less CPU time where the storage is slower than the client. Where it is not, nothing changes
(docs/decisions/0008)."""
WINDOWS_BEFORE_GROWTH: Final = 16
"""How many windows a client takes without a pause before its window grows: more than its kernel holds."""
GROWTH: Final = 8
"""A quick client has the largest window after 2 MiB. While windows are small, what the storage sends piles up
before us and costs more to read (growing by 2: 0.6 s of CPU a GB with 32 quick clients, instead of 0.4)."""
PAUSE_SECONDS: Final = 0.1
"""A client that takes nothing for longer gets a smaller window, and is slow if there is none smaller."""
SLOW_UNREAD_BYTES: Final = 8 * 1024
"""What may wait in the storage's socket for a slow client; the kernel takes twice that, headers included.
Without a limit it took 200 to 500 KiB for each. With 12 KiB, one that had paused cost 64.1 KiB in all."""
DEFAULT_PIPE: Final = 64 * 1024
"""What a pipe holds at first, if its pages are full."""


class Window:
    """How many bytes to move at once for one client. is_slow: it has paused with the smallest window."""

    __slots__ = ("_taken", "is_slow", "size")

    def __init__(self) -> None:
        self.size = SMALL_WINDOW
        self.is_slow = False
        self._taken = 0

    @property
    def gather(self) -> int:
        """How many bytes are worth a short wait: see GATHER_BYTES. One for all but the quickest clients."""
        return GATHER_BYTES if self.size == LARGE_WINDOW else 1

    @property
    def unread_limit(self) -> int:
        """How many bytes may wait in the storage's socket; 0: as many as the kernel decides."""
        return SLOW_UNREAD_BYTES if self.is_slow else 0

    def count_taken(self, amount: int) -> bool:
        """Count bytes that the client has taken; returns whether the window has changed."""
        self._taken += amount
        if self._taken < WINDOWS_BEFORE_GROWTH * self.size or self.size == LARGE_WINDOW:
            return False
        self.size = min(self.size * GROWTH, LARGE_WINDOW)
        self.is_slow = False
        self._taken = 0
        return True

    def count_wait(self, seconds: float) -> bool:
        """Count a time in which the client took nothing; returns whether `size` or `is_slow` has changed."""
        if seconds < PAUSE_SECONDS:
            return False
        self._taken = 0
        if self.is_slow:
            return False
        self.size = max(self.size // GROWTH, SMALL_WINDOW)
        self.is_slow = self.size == SMALL_WINDOW
        return True


class Pipe:
    """A pipe in the kernel. held: bytes in it."""

    __slots__ = ("_capacity", "_read_end", "_write_end", "held")

    def __init__(self) -> None:
        """Open a pipe. Raises OSError when too many descriptors are open."""
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._capacity = DEFAULT_PIPE
        self.held = 0

    def fill(self, stream: Stream, most: int) -> None:
        """Move what has arrived, at most `most` bytes, into the pipe, which is empty.

        Raises BlockingIOError when nothing has arrived.
        """
        self.held = stream.splice(self._write_end, most)

    def drain(self, sink: int) -> int:
        """Move what the socket `sink` takes; returns how many bytes that is.

        Raises BlockingIOError when it takes none, OSError when the connection is lost.
        """
        moved = os.splice(self._read_end, sink, self.held, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        self.held -= moved
        return moved

    def resize(self, capacity: int) -> None:
        """Change the size, if the system lets us: all pipes of a user have a common limit (pipe(7))."""
        if capacity != self._capacity and capacity >= DEFAULT_PIPE:
            with suppress(OSError):
                self._capacity = fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, capacity)

    def close(self) -> None:
        """Close the pipe; what is in it is lost."""
        os.close(self._write_end)
        os.close(self._read_end)
