"""A network for a comparison: a network namespace, whose TCP does not depend on how the machine is set up.

The congestion control decides over every figure of large answers on loopback: BBR sends packets at a pace
that it keeps by timers, and on a virtual machine a timer costs more than the packet
(docs/decisions/0010-congestion-control-and-loopback.md has the figures). In a namespace a comparison gets the
congestion control that it asks for, the machine keeps its own, and no port is taken by anything else. All
programs started from here inherit the namespace.

A process that has entered a namespace halfway (a user without a mapping, `lo` still down) can neither go on
nor leave it, and some kernels refuse halfway. So a child process tries all the steps first.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import BenchError

DEFAULT: Final = "cubic"
"""Linux's own default, which most servers run; it sets no timers."""

SYSTEM: Final = "system"
"""Given in place of a congestion control's name: use the machine's network as it is."""

TCP: Final = Path("/proc/sys/net/ipv4")  # of the namespace of the process that reads it

# From sched.h, sockios.h and if.h. Python has os.unshare and its constants only from 3.12 on.
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1

UNKNOWN_FAULT: Final = 255
"""Exit code of the trying child when something other than a system call failed, so that there is no errno."""


@dataclass(frozen=True)
class Network:
    """The network that this process is in. own: whether it is a namespace of our own.

    refusal: why the kernel gave us no namespace with the congestion control `asked` for; else empty.
    """

    own: bool
    asked: str
    refusal: str = ""

    def facts(self) -> dict[str, str]:
        """The facts that every figure is reported with."""
        network = "a namespace of its own" if self.own else "the machine's own"
        if self.refusal:
            network += f", for one with {self.asked} was refused: {self.refusal}"
        return {
            "congestion control": congestion(),
            "network": network,
            "largest send buffer (tcp_wmem)": f"{_read('tcp_wmem', '0 0 unknown').split()[-1]} bytes",
        }

    def warning(self) -> str | None:
        """Say in one line what is done instead where the kernel refused; None where it did not."""
        if not self.refusal:
            return None
        allowed = _read("tcp_allowed_congestion_control", "").split()
        hint = "" if self.asked in allowed else f"; it allows {', '.join(allowed)} there, see --congestion"
        refused = f"the kernel refused a network namespace with {self.asked} ({self.refusal}{hint})"
        instead = f"measuring goes on in the machine's network with {congestion()}"
        return f"{refused}: {instead}; compare only with figures under the same congestion control"


def congestion() -> str:
    """The congestion control that new sockets have here."""
    return _read("tcp_congestion_control", "unknown")


def enter(name: str) -> Network:
    """Move this process, and all that it starts later, into a network namespace with this congestion control.

    Call it while the process has one thread. With `SYSTEM`, or where the kernel refuses, everything stays as
    it is. Raises BenchError if the kernel has no congestion control of that name.
    """
    if name == SYSTEM:
        return Network(False, name)
    assert len(os.listdir("/proc/self/task")) == 1, "other threads would stay behind"
    refusal = _try_in_a_child(name)
    if refusal is None:
        _enter(name)
        return Network(True, name)
    known = _read("tcp_available_congestion_control", "").split()
    if name not in known:
        raise BenchError(
            f"there is no congestion control {name!r}; there are {', '.join([*sorted(known), SYSTEM])}"
        )
    return Network(False, name, refusal)


def _try_in_a_child(name: str) -> str | None:
    """Try all steps in a child process; returns the kernel's reason when it refuses one, else None."""
    child = os.fork()
    if not child:
        code = UNKNOWN_FAULT
        try:
            _enter(name)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return os.strerror(code) if code else None


def _enter(name: str) -> None:
    """Leave the machine's network for a new one. After an OSError this process can no longer be used."""
    if os.geteuid() == 0:
        _unshare(CLONE_NEWNET)
    else:  # other users may have a network namespace only within a user namespace, which keeps their ids
        user, group = os.geteuid(), os.getegid()
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        own = Path("/proc/self")
        (own / "setgroups").write_text("deny")  # the kernel requires it before it takes a map of groups
        (own / "uid_map").write_text(f"{user} {user} 1")
        (own / "gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))  # struct ifreq
    (TCP / "tcp_congestion_control").write_text(name)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _read(name: str, otherwise: str) -> str:
    try:
        return (TCP / name).read_text().strip()
    except OSError:
        return otherwise
