"""How a front proxy passes on the client and the request: one dialect a row. Pure.

    nginx   `auth_request`: X-Original-URI and X-Original-Method; it turns every answer but 2xx, 401 and
            403 into 500, so a refusal's own status travels in X-Gateway-Status
    caddy   `forward_auth`, and Traefik's `forwardAuth`: X-Forwarded-Uri and X-Forwarded-Method; refusals are
            passed on as they are
    envoy   `ext_authz` over HTTP with the path prefix /auth: the request's own method, and its target behind
            the prefix; refusals are passed on as they are

Proxies pass on what they do not set, so a client may add the fields of another dialect than its proxy's.
Where two say different things the question is refused: a client may not choose which of them is believed.

The fields count only from `trusted_proxies`; from anyone else the request stands for itself. A peer on a
unix socket is trusted: whoever may connect there was let in by the file system.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

Networks = tuple[IPv4Network | IPv6Network, ...]
Peer = str | tuple[str, int] | tuple[str, int, int, int] | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One proxy's way: the fields that carry the URL and the method, and the statuses it passes on."""

    name: str
    target: str
    method: str
    statuses: frozenset[int] | None
    """What the proxy passes to its client unharmed; None for everything."""

    def status(self, refused: int) -> int:
        """The status to answer a refusal with."""
        return refused if self.statuses is None or refused in self.statuses else 403


NGINX: Final = Dialect("nginx", "X-Original-URI", "X-Original-Method", frozenset((401, 403)))
CADDY: Final = Dialect("caddy", "X-Forwarded-Uri", "X-Forwarded-Method", None)
ENVOY: Final = Dialect("envoy", "", "", None)
DIRECT: Final = Dialect("direct", "", "", None)
DIALECTS: Final = (NGINX, CADDY)
"""Those that speak in fields."""
PREFIX: Final = "/auth"
"""What stands before the original target in Envoy's."""


class Original(NamedTuple):
    """The request that the proxy asks about. disputed: another dialect's fields tell of a different one."""

    dialect: Dialect
    method: str
    target: str
    disputed: bool = False


def read_original(method: str, target: str, headers: CIMultiDictProxy[str], trusted: bool) -> Original:
    """What the client asked the proxy for; the request itself when it comes from no trusted proxy."""
    told: list[Original] = []
    if target.startswith(PREFIX + "/"):
        told.append(Original(ENVOY, method, target[len(PREFIX) :]))
    if trusted:
        for dialect in DIALECTS:
            methods = headers.getall(dialect.method, ("GET",))
            told += [
                Original(dialect, said, uri) for uri in headers.getall(dialect.target, ()) for said in methods
            ]
    if not told:
        return Original(DIRECT, method, target)
    first = told[0]
    return first._replace(disputed=any(each[1:] != first[1:] for each in told))


class TrustedProxies:
    """Who may speak for a client."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._trusts_host = lru_cache(maxsize=4096)(self._is_inside)
        self._nearest = lru_cache(maxsize=4096)(self._find_nearest)  # 2 µs of the log line otherwise

    def trusts(self, peer: Peer) -> bool:
        """Whether the fields of this peer count. peer: as a socket names it."""
        if isinstance(peer, tuple):
            return bool(self._networks) and self._trusts_host(peer[0])
        return True

    def client(self, peer: Peer, headers: CIMultiDictProxy[str]) -> str:
        """The client's address: the peer's, or the nearest in X-Forwarded-For that is no proxy's."""
        host = peer[0] if isinstance(peer, tuple) else ""
        if "X-Forwarded-For" not in headers or not self.trusts(peer):
            return host
        return self._nearest(host, ",".join(headers.getall("X-Forwarded-For")))

    def _find_nearest(self, host: str, forwarded: str) -> str:
        for hop in reversed(forwarded.split(",")):
            address = hop.strip()
            if not address:
                continue
            try:
                ip_address(address)
            except ValueError:
                break  # whoever wrote that is not to be believed about the hops before it
            if "%" in address:
                break  # a zone, which may hold any text, means nothing here
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
