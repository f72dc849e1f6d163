"""Opens files below a folder and nowhere else, even if a key or a link leads out of it.

There are two ways, with the same rules for keys (`parts_of`):

- `openat2(2)` (Linux 5.6) with RESOLVE_BENEATH: the kernel refuses, without a race, every path that leaves
  the folder: "..", absolute links, links that lead out. It follows relative links that stay below the folder.
- Where that call is missing or forbidden (an old kernel, a seccomp profile), the components are opened one
  after the other, each relative to the last, and none of them may be a link. So a folder that relies on links
  needs the first way.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from typing import Final

OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""With O_NONBLOCK, the call does not wait if somebody has put a FIFO or a device there."""

Opener = Callable[[int, bytes], int]
"""Opens a key below the folder of which it gets a descriptor; returns a descriptor. Raises OSError."""

_OPENAT2: Final = 437
"""The number of the system call, the same on all architectures (x86-64, AArch64, RISC-V, …)."""
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_RACE_TRIES: Final = 16
"""EAGAIN means that something was renamed while the kernel followed the path, so it has to be called
again."""


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def parts_of(key: str) -> tuple[bytes, ...]:
    """Split a key into its components, as bytes: in UTF-8, whatever the locale is.

    Raises ValueError, with the reason, for a key that is not a plain relative path: it is empty or absolute,
    has an empty, "." or ".." component, a NUL byte, or characters that UTF-8 cannot represent.
    """
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise ValueError("the key is not valid Unicode") from None
    if b"\0" in raw:
        raise ValueError("the key has a NUL byte")
    if raw.startswith(b"/"):
        raise ValueError("the key is an absolute path")
    parts = tuple(raw.split(b"/"))
    if b"" in parts or b"." in parts or b".." in parts:
        raise ValueError('the key has an empty, "." or ".." component')
    return parts


@functools.cache
def _syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def open_by_kernel(folder: int, key: bytes) -> int:
    """Open with `openat2`. EXDEV: the path leads out of the folder. ELOOP: links form a circle."""
    how = _OpenHow(OPEN_FLAGS | os.O_LARGEFILE, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_RACE_TRIES):
        descriptor = _syscall()(
            ctypes.c_long(_OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(key),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(code, os.strerror(code))


def open_by_parts(folder: int, key: bytes) -> int:
    """Open one component after the other, following no link. ELOOP or ENOTDIR: there was a link."""
    *folders, last = key.split(b"/")
    here = folder
    try:
        for part in folders:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            if here != folder:
                os.close(here)
            here = below
        return os.open(last, OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=here)
    finally:
        if here != folder:
            os.close(here)


@functools.cache
def best_opener() -> Opener:
    """Return `open_by_kernel` where the kernel has the call and allows it, else `open_by_parts`."""
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_by_kernel(top, b"."))
    except OSError:
        return open_by_parts
    finally:
        os.close(top)
    return open_by_kernel
