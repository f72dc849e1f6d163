"""How a front proxy passes on the client and the request: one dialect a row. Pure.

    nginx   `auth_request`: X-Original-URI and X-Original-Method. It turns every answer but 2xx, 401 and 403
            into 500, so the true status of a refusal travels in X-Gateway-Status
    caddy   `forward_auth`, and Traefik's `forwardAuth`: X-Forwarded-Uri and X-Forwarded-Method. Refusals are
            passed on as they are
    envoy   `ext_authz` over HTTP with the path prefix /auth: the request's own method, and its target after
            the prefix. Refusals are passed on as they are

A proxy also passes on fields that it does not set itself, so a client may add the fields of another dialect
than its proxy's. Where two dialects name different requests, the question is refused, because a client may
not choose which of them counts.

The fields count only when they come from `trusted_proxies`. From any other peer, the request itself is
checked. A peer on a unix socket is trusted: the file system decides who may connect there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

from gateway.errors import Refusal

Networks = tuple[IPv4Network | IPv6Network, ...]
Peer = str | tuple[str, int] | tuple[str, int, int, int] | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one proxy asks: the fields with the URL and the method, and the statuses that it passes on."""

    name: str
    target: str
    method: str
    statuses: frozenset[int] | None
    """The statuses of refusals that the proxy passes to its client unchanged; None: all."""

    def status(self, refused: int) -> int:
        """Return the status to send for a refusal whose own status is `refused`."""
        return refused if self.statuses is None or refused in self.statuses else 403


NGINX: Final = Dialect("nginx", "X-Original-URI", "X-Original-Method", frozenset((401, 403)))
CADDY: Final = Dialect("caddy", "X-Forwarded-Uri", "X-Forwarded-Method", None)
ENVOY: Final = Dialect("envoy", "", "", None)
DIRECT: Final = Dialect("direct", "", "", None)
DIALECTS: Final = (NGINX, CADDY)
"""The dialects that use fields."""
MAX_FORWARDED: Final = 512
"""Characters of X-Forwarded-For that are read, from its end, where the proxies nearest to us wrote: more than
ten IPv6 addresses with ports. It also bounds the memory of the results that are kept (4 MiB)."""
PREFIX: Final = "/auth"
"""What Envoy puts before the original target."""


class Original(NamedTuple):
    """The request that the proxy asks about. disputed: the fields of two dialects name different requests."""

    dialect: Dialect
    method: str
    target: str
    disputed: bool = False


def read_original(method: str, target: str, headers: CIMultiDictProxy[str], trusted: bool) -> Original:
    """Return what the client asked the proxy for, or the request itself if it comes from no trusted proxy."""
    found: list[Original] = []
    if target.startswith(PREFIX + "/"):
        found.append(Original(ENVOY, method, target[len(PREFIX) :]))
    if trusted:
        for dialect in DIALECTS:
            methods = headers.getall(dialect.method, ("GET",))
            targets = headers.getall(dialect.target, ())
            found += [Original(dialect, verb, uri) for uri in targets for verb in methods]
    if not found:
        return Original(DIRECT, method, target)
    first = found[0]
    return first._replace(disputed=any(other[1:] != first[1:] for other in found))


def permission_head(identifier: str) -> bytes:
    """Return how every answer begins that lets a front proxy send something. identifier: the token's id."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Gateway-Token-Id: %b\r\n" % identifier.encode()


def refusal_fields(refusal: Refusal) -> bytes:
    """Return the fields in which the true status and the code of a refusal reach the front proxy."""
    return b"X-Gateway-Status: %d\r\nX-Gateway-Code: %b\r\n" % (refusal.status, refusal.code.encode())


class TrustedProxies:
    """The addresses of the front proxies whose fields are believed: the setting `trusted_proxies`."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._trusts_host = lru_cache(maxsize=4096)(self._is_inside)
        self._nearest = lru_cache(maxsize=4096)(self._find_nearest)  # saves 2 µs a line of the log

    def trusts(self, peer: Peer) -> bool:
        """Whether the fields of this peer are believed. peer: its address as a socket names it."""
        if isinstance(peer, tuple):
            return bool(self._networks) and self._trusts_host(peer[0])
        return True

    def client(self, peer: Peer, headers: CIMultiDictProxy[str]) -> str:
        """Return the client's address: the peer's, or the last in X-Forwarded-For that is not a proxy's."""
        host = peer[0] if isinstance(peer, tuple) else ""
        if "X-Forwarded-For" not in headers or not self.trusts(peer):
            return host
        return self._nearest(host, _cut_hops(",".join(headers.getall("X-Forwarded-For"))))

    def _find_nearest(self, host: str, forwarded: str) -> str:
        for hop in reversed(forwarded.split(",")):
            address = hop.strip()
            if not address:
                continue
            try:
                ip_address(address)
            except ValueError:
                break  # a proxy that wrote this is not believed about the hops before it either
            if "%" in address:
                break  # a zone may hold any text, and means nothing here
            host = address
            if not self._trusts_host(address):
                break
        return host

    def _is_inside(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _cut_hops(forwarded: str) -> str:
    """The whole hops at the end of X-Forwarded-For that have MAX_FORWARDED characters together."""
    return forwarded if len(forwarded) <= MAX_FORWARDED else forwarded[-MAX_FORWARDED:].partition(",")[2]
