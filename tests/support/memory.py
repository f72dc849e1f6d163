"""The kernel's memory for a process. The process' own memory is `bench.testbed.usage.resident_bytes`.

Counted are its TCP sockets, IPv4, and pipes:

- what lies in a socket's receive and send queues, as the kernel accounts for it (whole pages and headers, not
  just bytes), and what it has set aside for more: INET_DIAG_SKMEMINFO of sock_diag(7), as `ss -m`;
- SOCKET_BYTES for the socket itself;
- a pipe's whole capacity, whatever is in it.

Not counted: the page tables, and the other end of a connection, though on loopback it is this machine's, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

SOCKET_BYTES: Final = 3700
"""Structures, inode, file and the poll's entry: what 400 of them added to /proc/slabinfo, each."""

_SOCK_DIAG: Final = 4  # linux/netlink.h
_BY_FAMILY: Final = 20  # linux/sock_diag.h
_REQUEST_DUMP: Final = 0x301
_DONE: Final = 3
_SKMEMINFO: Final = 7  # linux/inet_diag.h
_HEADER: Final = struct.Struct("=IHHII")
_INODE_AT: Final = 68  # within a struct inet_diag_msg, of 72 bytes
_MESSAGE: Final = 72
_QUEUES: Final = struct.Struct("=IIIIiIII")
"""SK_MEMINFO_: RMEM_ALLOC, RCVBUF, WMEM_ALLOC, SNDBUF, FWD_ALLOC, WMEM_QUEUED, OPTMEM, BACKLOG."""


def kernel_bytes(pid: int) -> int:
    """The kernel's memory for a process; see the module."""
    queues = dict(_tcp_sockets())
    held = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        with suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(path)
            match = re.fullmatch(r"(socket|pipe):\[(\d+)\]", target)
            if match and match[1] == "pipe":
                held[target] = _capacity(path)
            elif match and int(match[2]) in queues:
                held[target] = queues[int(match[2])] + SOCKET_BYTES
    return sum(held.values())


def _capacity(pipe: str) -> int:
    fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(fd)


def _tcp_sockets() -> Iterator[tuple[int, int]]:
    """All of the machine: inode, and bytes in queues or set aside."""
    asked = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_SKMEMINFO - 1), 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as link:
        link.send(_HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + asked)
        while True:
            data = link.recv(1 << 20)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind == _DONE:
                    return
                assert kind == _BY_FAMILY, f"sock_diag answered {data!r}"
                body = data[_HEADER.size : length]
                yield struct.unpack_from("=I", body, _INODE_AT)[0], _queued(body[_MESSAGE:])
                data = data[_aligned(length) :]


def _queued(attributes: bytes) -> int:
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _SKMEMINFO:
            received, _, _, _, forward, queued, options, backlog = _QUEUES.unpack_from(attributes, 4)
            return int(received + forward + queued + options + backlog)
        attributes = attributes[_aligned(length) :]
    return 0


def _aligned(length: int) -> int:
    return (length + 3) & ~3
