"""Whether a span of a file is in memory: asked before the event loop reads or sends it, lest it wait.

Not every file system answers the same question, so how to ask is found out once, when a file is opened:

- NOWAIT: `preadv2` with RWF_NOWAIT (ext4, XFS, btrfs): reads what is in memory, else says EAGAIN;
- COUNTED: `cachestat` (Linux 6.5) counts the pages in memory: tmpfs and others without NOWAIT. Only for
  files we own or may write, says the kernel; and overlay counts none, so a page just read is looked for;
- MEMORY: tmpfs and ramfs where they are not counted are memory;
- UNKNOWN: anything else (overlay; NFS or FUSE on an older kernel) is taken as not in memory: threads read it.
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
_known: Final[dict[int, Pages]] = {}
"""What `ask_once` found out, by device."""
_NOBODYS: Final = (bytearray(1),)
"""Where bytes are read to that nobody looks at."""
_STATFS_BYTES: Final = 256
"""More than `struct statfs` takes anywhere; its first word is `f_type`."""

PROBE_BYTES: Final = 1 << 23
"""A probe costs 2 to 4 µs between large sends. Spans of more than 1 MiB are only asked for where the client
takes them at the speed of memory."""
READ_BYTES: Final = 1 << 18
"""Bytes of one read when a span is read in pieces: large enough to keep a disk busy, small enough to hold."""


class Pages(enum.Enum):
    """How to learn whether a file's pages are in memory."""

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


def in_memory(fd: int, how: Pages, start: int, stop: int, *, follows: bool = False) -> bool:
    """Whether sending the span from `start` up to `stop` would probably not wait for a disk.

    With NOWAIT only its first and last byte are asked for, and one every PROBE_BYTES: what reads ahead, reads
    from front to back. follows: the byte before was in memory a moment ago, and the first is not asked for.
    """
    if start >= stop or how is Pages.MEMORY:
        return True
    if how is Pages.NOWAIT:
        try:
            for at in range(stop - 1, start, -PROBE_BYTES):
                if os.preadv(fd, _NOBODYS, at, os.RWF_NOWAIT) != 1:
                    return False
            return follows or os.preadv(fd, _NOBODYS, start, os.RWF_NOWAIT) == 1
        except OSError:
            return False
    return how is Pages.COUNTED and all_cached(fd, start, stop)


def read_in(fd: int, start: int, stop: int) -> None:
    """Read the span into memory, so that sending it will not wait; blocks.

    Raises OSError when it cannot be read, EOFError when the file ends before.
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
    """Count the pages of the span from `start` up to `stop` in memory; -1 when the kernel does not tell."""
    span, counts = _Range(start, stop - start), _Counts()
    answer = _syscall()(
        ctypes.c_long(_CACHESTAT),
        ctypes.c_int(fd),
        ctypes.byref(span),
        ctypes.byref(counts),
        ctypes.c_uint(0),
    )
    return int(counts.cache) if answer == 0 else -1


def all_cached(fd: int, start: int, stop: int) -> bool:
    """Whether every page of the span from `start` up to `stop` (not empty) is in memory, by `cachestat`."""
    wanted = (stop - 1) // mmap.PAGESIZE - start // mmap.PAGESIZE + 1
    return count_cached(fd, start, stop) >= wanted


def ask_how(fd: int) -> Pages:
    """Find out how to ask for this open file; may read its first byte, so this is for a thread."""
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return Pages.NOWAIT
    except OSError:
        with suppress(OSError):
            os.pread(fd, 1, 0)
        if count_cached(fd, 0, 1) > 0:
            return Pages.COUNTED
        return Pages.MEMORY if _kind_of_system(fd) in _MEMORY_SYSTEMS else Pages.UNKNOWN
    return Pages.NOWAIT


def ask_once(fd: int) -> Pages:
    """The same, asked once for all files of one file system: these lie in a folder of ours."""
    device = os.fstat(fd).st_dev
    how = _known.get(device)
    if how is None:
        how = _known[device] = ask_how(fd)
    return how


def _kind_of_system(fd: int) -> int:
    answer = (ctypes.c_ulong * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    failed = _library().fstatfs(ctypes.c_int(fd), ctypes.byref(answer))
    return -1 if failed else int(answer[0]) & 0xFFFFFFFF
