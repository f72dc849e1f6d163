"""Who is at the other end of a connection that a listener has accepted.

Trust follows from this (http/client_address.py), so that no answer may be given where it is not known. A TCP
client that has reset its connection before it was accepted has no address any more: the socket does not name
its peer. What the client had sent before can still be read. Such a connection is ended unread.
"""

from __future__ import annotations

import asyncio
import socket

PeerName = str | tuple[str, int] | tuple[str, int, int, int]


def read_peer(transport: asyncio.BaseTransport) -> PeerName | None:
    """Return the peer's address: a tuple for TCP, "" for a unix socket. None: a TCP peer that has none.

    The family of the socket decides, which is the listener's, and never a missing address.
    """
    peer: object = transport.get_extra_info("peername")
    if isinstance(peer, tuple) and peer and peer[0]:
        return peer
    own = transport.get_extra_info("socket")
    return "" if own is not None and own.family == socket.AF_UNIX else None
