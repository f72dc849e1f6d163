"""Whether a span of a file is in memory. The event loop asks before it reads or sends one, so it never waits.

Not every file system supports the same way to ask, so a `Probe` is chosen once, when a file is opened:

- NOWAIT: `preadv2` with RWF_NOWAIT reads what is in memory, else fails with EAGAIN. On ext4, XFS and btrfs.
- COUNTED: `cachestat` (Linux 6.5) counts the pages in memory, on tmpfs and others without NOWAIT. The kernel
  allows it only for files that we own or may write, and overlay always counts none. So it is chosen only if
  it counts a page that was just read.
- MEMORY: tmpfs and ramfs are memory, where pages cannot be counted.
- UNKNOWN: everything else (overlay; NFS or FUSE on an older kernel) is treated as not in memory: threads read
  it.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CACHESTAT: Final = 451
_MEMORY_SYSTEMS: Final = frozenset({0x01021994, 0x858458F6})
"""`f_type` of tmpfs and ramfs (linux/magic.h)."""
_known: Final[dict[int, Probe]] = {}
"""What `probe_of_file_system` has chosen, by device."""
_DISCARDED: Final = (bytearray(1),)
"""A buffer for bytes that are read only to see whether they are in memory."""
_STATFS_BYTES: Final = 256
"""More than `struct statfs` has on any architecture; its first word is `f_type`."""

PROBE_BYTES: Final = 1 << 23
"""How far apart the bytes are that NOWAIT reads; each costs 2 to 4 µs between large sends. Spans of more than
1 MiB occur only where the client takes them at the speed of memory."""
READ_BYTES: Final = 1 << 18
"""Bytes of one read of a large span: enough to keep a disk busy, and few enough to hold in memory."""


class Probe(enum.Enum):
    """How to find out whether the pages of a file are in memory."""

    NOWAIT = "nowait"
    COUNTED = "counted"
    MEMORY = "memory"
    UNKNOWN = "unknown"


class _Range(ctypes.Structure):
    """`struct cachestat_range` of linux/mman.h."""

    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    """`struct cachestat` of linux/mman.h."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recent"))


def is_in_memory(fd: int, probe: Probe, start: int, stop: int, *, follows: bool = False) -> bool:
    """Whether sending the span from `start` up to `stop` would probably not wait for a disk.

    With NOWAIT only the first byte, the last byte and one in every PROBE_BYTES are tried, because the kernel
    reads ahead from front to back. follows: the byte before `start` was in memory a moment ago, so the first
    byte is not tried.
    """
    if start >= stop or probe is Probe.MEMORY:
        return True
    if probe is Probe.NOWAIT:
        try:
            for at in range(stop - 1, start, -PROBE_BYTES):
                if os.preadv(fd, _DISCARDED, at, os.RWF_NOWAIT) != 1:
                    return False
            return follows or os.preadv(fd, _DISCARDED, start, os.RWF_NOWAIT) == 1
        except OSError:
            return False
    return probe is Probe.COUNTED and all_cached(fd, start, stop)


def read_into_memory(fd: int, start: int, stop: int) -> None:
    """Read the span into memory, so that sending it will not wait. Blocks.

    Raises OSError when it cannot be read, EOFError when the file ends before `stop`.
    """
    os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_WILLNEED)
    buffer = memoryview(bytearray(min(READ_BYTES, max(stop - start, 1))))
    while start < stop:
        got = os.preadv(fd, (buffer[: stop - start],), start)
        if not got:
            raise EOFError
        start += got


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def _syscall() -> Callable[..., int]:
    function = _library().syscall
    function.restype = ctypes.c_long
    return function


def count_cached(fd: int, start: int, stop: int) -> int:
    """Count the pages of the span from `start` up to `stop` in memory; -1 if the kernel cannot."""
    span, counts = _Range(start, stop - start), _Counts()
    failed = _syscall()(
        ctypes.c_long(_CACHESTAT),
        ctypes.c_int(fd),
        ctypes.byref(span),
        ctypes.byref(counts),
        ctypes.c_uint(0),
    )
    return -1 if failed else int(counts.cache)


def all_cached(fd: int, start: int, stop: int) -> bool:
    """Whether every page of a span that is not empty is in memory, by `cachestat`."""
    pages = (stop - 1) // mmap.PAGESIZE - start // mmap.PAGESIZE + 1
    return count_cached(fd, start, stop) >= pages


def choose_probe(fd: int) -> Probe:
    """Choose the probe for an open file. May read its first byte, so this is for a thread."""
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return Probe.NOWAIT
    except OSError:
        with suppress(OSError):
            os.pread(fd, 1, 0)
        if count_cached(fd, 0, 1) > 0:
            return Probe.COUNTED
        return Probe.MEMORY if _type_of_file_system(fd) in _MEMORY_SYSTEMS else Probe.UNKNOWN
    return Probe.NOWAIT


def probe_of_file_system(fd: int) -> Probe:
    """Choose the probe once for all files of one file system, which has to be one of our own folders."""
    device = os.fstat(fd).st_dev
    probe = _known.get(device)
    if probe is None:
        probe = _known[device] = choose_probe(fd)
    return probe


def _type_of_file_system(fd: int) -> int:
    status = (ctypes.c_ulong * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    failed = _library().fstatfs(ctypes.c_int(fd), ctypes.byref(status))
    return -1 if failed else int(status[0]) & 0xFFFFFFFF
