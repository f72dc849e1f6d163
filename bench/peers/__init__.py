"""Who is compared: the gateway, and what one would deploy in its place."""

from __future__ import annotations

from bench.peers.base import Kind, Options, Peer, Server
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

__all__ = ["PEERS", "Kind", "Options", "Peer", "Server"]
