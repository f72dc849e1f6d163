"""Locks on single bytes of a file, between threads and between processes.

They are locks of open file descriptions (`F_OFD_SETLK`, fcntl(2)): each holder opens the file by itself, and
the kernel releases the lock when the descriptor is closed, even by a crash. Nobody blocks on such a lock: who
does not get it tries again later.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid (0 for these locks)."""


def try_lock(fd: int, at: int) -> bool:
    """Lock the byte `at` of a file, which may lie past its end. Return False when another holder has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True
