"""The network of a comparison: a namespace of its own, whose TCP does not depend on how the machine is set.

The congestion control decides over every figure on loopback: BBR paces packets by timers, and on a virtual
machine a timer costs more than the packet. README.md beside this file has what that comes to. In a namespace
of its own a comparison has the one it asks for, the machine keeps its own, and no port is anybody else's. All
that is started from here inherits it.

A namespace is all or nothing: a process that has entered half of one (a user nobody has mapped, no `lo`) can
neither go on nor leave it, and there are kernels that refuse in the middle. So a child tries all of it first.
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
"""What Linux has when nobody chose, and what most servers run; it sets no timers."""

SYSTEM: Final = "system"
"""Instead of a congestion control's name: the network of the machine, as it is."""

TCP: Final = Path("/proc/sys/net/ipv4")  # of the namespace of whoever reads it

# sched.h, sockios.h and if.h. Python has os.unshare and its constants from 3.12 on only.
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1

UNKNOWN_FAULT: Final = 255
"""What the trying child ends with when it was no system call that failed: no errno."""


@dataclass(frozen=True)
class Network:
    """The network we are in. refusal: why it is not our own with what was asked for; else empty."""

    own: bool
    asked: str
    refusal: str = ""

    def facts(self) -> dict[str, str]:
        """What no figure should stand without."""
        network = "a namespace of its own" if self.own else "the machine's own"
        if self.refusal:
            network += f", for one with {self.asked} was refused: {self.refusal}"
        return {
            "congestion control": congestion(),
            "network": network,
            "largest send buffer (tcp_wmem)": f"{_read('tcp_wmem', '0 0 unknown').split()[-1]} bytes",
        }


def congestion() -> str:
    """The congestion control that sockets have here, unless they choose another."""
    return _read("tcp_congestion_control", "unknown")


def enter(name: str) -> Network:
    """Have this process and all it starts from now on in a network of their own with this congestion control.

    Call it while there is one thread. `SYSTEM`, or a kernel that refuses, leaves everything as it is. Raises
    BenchError when the kernel has no congestion control of that name.
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
    """Why the kernel does not let us; None when it does."""
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
    """Leave the machine's network for a new one. Raises OSError, and then this process is spoilt."""
    if os.geteuid() == 0:
        _unshare(CLONE_NEWNET)
    else:  # whoever is not root may have a network only in a user namespace, where they stay who they are
        user, group = os.geteuid(), os.getegid()
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        own = Path("/proc/self")
        (own / "setgroups").write_text("deny")  # without it the kernel takes no map of groups
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
