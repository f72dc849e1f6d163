"""The participants: this gateway, and what one could deploy in its place."""

from __future__ import annotations

from bench.peers.base import Peer, RequestKind, Server, StartOptions
from bench.peers.gateway import Gateway
from bench.peers.nginx import NginxCache, NginxLua, NginxProxy, NginxStatic
from bench.peers.python import Plain, Starlette

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Gateway(),
        NginxLua(),
        NginxStatic(),
        NginxProxy(),
        NginxCache(),
        Plain(),
        Starlette(),
    )
}

__all__ = ["PEERS", "Peer", "RequestKind", "Server", "StartOptions"]
