"""Listening sockets: the supervisor makes them, its children inherit them, and they stay open to the end.

A TCP address has one socket for each worker (SO_REUSEPORT), and the kernel distributes new connections over
them. The supervisor keeps all of them open. So connections that wait at a worker that has died wait for its
replacement, and a reload refuses no connection. The first socket is bound without SO_REUSEPORT, because that
fails when any other process has the port, another gateway included. Only then is the port opened to our other
sockets.

All workers share one unix socket, because SO_REUSEPORT does not distribute the connections of unix sockets.

On loopback, where a front proxy connects, packets are not paced. BBR without a queueing discipline sends each
packet by a timer, which costs more than the packet: on a virtual machine, large files leave at 2.6 GB/s
instead of 19.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.errors import GatewayError
from gateway.runtime.addresses import Address, short_socket_path
from gateway.runtime.system_errors import describe

BACKLOG: Final = 4096
"""How many connections may wait to be accepted. The kernel reduces it to net.core.somaxconn."""

UNPACED: Final = (b"cubic", b"reno")
"""Congestion controls without timers. A kernel may not have the first."""

UNIX_MODE: Final = 0o660
"""The group may connect, so that a front proxy in this group can."""


class Listener:
    """One listening address and its sockets."""

    def __init__(self, address: str | Address, setting: str) -> None:
        """Listen. setting: the name of the setting with the address.

        Raises GatewayError that names the address, and the setting to change.
        """
        self.configured = str(address)
        self.setting = setting
        self.address = Address.parse(address) if isinstance(address, str) else address
        self._made: os.stat_result | None = None
        try:
            first = self._listen_unix() if self.address.is_unix else self._listen_tcp()
        except OSError as error:
            raise GatewayError(self._explain(error)) from None
        self.sockets = [first]

    @property
    def url(self) -> str:
        """A URL that can be opened on this machine, with the port that was found in place of 0."""
        return self.address.url()

    def grow(self, count: int) -> None:
        """Make sockets until there are `count`. Closing one would refuse connections, so all stay."""
        while not self.address.is_unix and len(self.sockets) < count:
            extra = _new_socket(self.sockets[0].family)
            extra.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            extra.bind(self.sockets[0].getsockname())
            unpace(extra)
            extra.listen(BACKLOG)
            self.sockets.append(extra)

    def share(self, slot: int, slots: int) -> Sequence[socket.socket]:
        """Choose the sockets of worker `slot` of `slots`: each socket has a worker, each worker a socket."""
        if self.address.is_unix:
            return self.sockets
        return self.sockets[slot::slots]

    def close(self) -> None:
        """Close the sockets, and remove a unix socket. Connections are refused when all children did so."""
        for listening in self.sockets:
            listening.close()
        self.sockets = []
        if self._made is not None:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self.address.path), self._made):
                    os.unlink(self.address.path)

    def _listen_tcp(self) -> socket.socket:
        host, port = self.address.host, self.address.port
        family, kind, protocol, _, socket_address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = _new_socket(family, kind, protocol)
        try:
            listening.bind(socket_address)
            unpace(listening)
            listening.listen(BACKLOG)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError:
            listening.close()
            raise
        self.address = replace(self.address, port=listening.getsockname()[1])
        return listening

    def _listen_unix(self) -> socket.socket:
        path = self.address.path
        with short_socket_path(path) as short:
            return self._bind_unix(path, short)

    def _bind_unix(self, path: str, short: str) -> socket.socket:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise OSError(errno.EEXIST, "a file that is no socket has this name")
            try:
                probe.connect(short)
            except ConnectionRefusedError:
                os.unlink(path)  # a killed process left it: nothing listens there
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(short)
            os.chmod(path, UNIX_MODE)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        self._made = os.stat(path)
        return listening

    def _explain(self, error: OSError) -> str:
        remedy = "stop it or change" if error.errno == errno.EADDRINUSE else "change"
        return f"cannot listen on {self.configured}: {describe(error)}; {remedy} {self.setting}"


def _new_socket(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    unbound = socket.socket(family, kind, protocol)
    unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    unbound.setblocking(False)
    return unbound


def unpace(bound: socket.socket) -> None:
    """Turn pacing off for a loopback socket. Call it before the socket listens, or BBR's timers stay."""
    if not ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback:
        return
    if congestion_control(bound).startswith(b"bbr"):
        for name in UNPACED:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
                break


def congestion_control(tcp: socket.socket) -> bytes:
    """The name of a TCP socket's congestion control (tcp(7))."""
    return tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
