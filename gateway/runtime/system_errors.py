"""What errors of the operating system, of TLS and of name look-ups mean, in our words, with the next step.

Every message that a person may read has its reason from here, never from the library's own text: `strerror`
and `str(error)` name no next step, differ between platforms, and repeat addresses and numbers.
`tests/runtime/test_system_errors.py` looks for such texts in the whole code.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Final

_RIGHTS: Final = ("this user may not do that", "give this user the right, or choose another path")
_NO_ROUTE: Final = ("the network has no way to that host", "check the address, the network and the firewall")
_TIMEOUT: Final = ("no answer came in time", "check the address, the network and the firewall")
_CLOSED: Final = ("the other side closed the connection", "look at its log")
_NAME: Final = ("this host name is not known here", "correct it, or check the name server")

_MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    errno.ENOENT: ("it or its folder does not exist", "correct the path"),
    errno.ENOTDIR: ("a part of the path is no folder", "correct the path"),
    errno.EISDIR: ("it is a folder, not a file", "name a file"),
    errno.ELOOP: ("its links lead in a circle", "correct the link"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: ("the file system is read-only", "mount it for writing, or choose another path"),
    errno.ENOSPC: ("the disk is full", "make room"),
    errno.EFBIG: (
        "it is larger than files may be here",
        "raise the limit (`ulimit -f`), or begin a new file",
    ),
    errno.EDQUOT: ("the disk quota of this user is used up", "make room, or raise the quota"),
    errno.EIO: ("the disk reports an error", "look at the kernel's log (dmesg)"),
    errno.ESTALE: ("the network file system has lost it", "mount the file system again"),
    errno.EMFILE: ("too many files are open", "raise `ulimit -n`"),
    errno.ENFILE: ("the whole system has too many files open", "raise the sysctl fs.file-max"),
    errno.ENOMEM: ("memory is used up", "give the system more, or end other programs"),
    errno.EADDRINUSE: ("another process already listens there", "stop it, or choose another address"),
    errno.EADDRNOTAVAIL: ("this machine does not have that address", "choose one that it has"),
    errno.ECONNREFUSED: ("the connection is refused", "start the server, or correct the address"),
    errno.ECONNRESET: _CLOSED,
    errno.ECONNABORTED: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.ETIMEDOUT: _TIMEOUT,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.ENETUNREACH: _NO_ROUTE,
}
"""What is wrong, and what to do, by errno (errno(3)). Everything else is shown by its name."""


def describe(error: BaseException) -> str:
    """What is wrong, in a few words without a full stop, such as "the disk is full"."""
    return _meaning(error)[0]


def advise(error: BaseException) -> str:
    """The same with the next step, such as "the disk is full: make room"."""
    words, step = _meaning(error)
    return f"{words}: {step}" if step else words


def system_error_of(error: BaseException) -> OSError | None:
    """The error of the system because of which another was raised: itself, or the nearest cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _meaning(error: BaseException) -> tuple[str, str]:
    found = system_error_of(error)
    if found is None:
        return type(error).__name__, ""
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({found.verify_message})", "check the certificate and its CA"
    if isinstance(found, ssl.SSLError):
        reason = (getattr(found, "reason", None) or type(found).__name__).lower().replace("_", " ")
        return f"TLS fails ({reason})", "check that both sides use TLS"
    if isinstance(found, socket.gaierror):
        if found.errno == socket.EAI_AGAIN:
            return "no name server answers", "check the network and its name server"
        return _NAME
    if found.errno is None:
        # A text of our own, or of asyncio after it has tried several addresses.
        text = str(found)
        if isinstance(found, TimeoutError):
            return _TIMEOUT
        return (text, "") if text and "Errno" not in text else ("no address of it answers", _NO_ROUTE[1])
    if found.errno in _MEANINGS:
        return _MEANINGS[found.errno]
    name = errno.errorcode.get(found.errno, str(found.errno))
    if found.strerror and found.strerror != os.strerror(found.errno):
        return f"{found.strerror} ({name})", ""  # a text of our own
    return f"the system reports {name}", ""
