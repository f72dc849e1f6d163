"""Which client a request comes from, as far as trusted front proxies say it. Pure.

A front proxy names the client, and the proxies before itself, in X-Forwarded-For or in Forwarded (RFC 7239).
Anyone can write these fields, so that they count only when the peer is trusted:

- A TCP peer is trusted if `trusted_proxies` contains its address. An IPv4 address that is written as an IPv6
  one (::ffff:10.0.0.1) is the IPv4 address. The zone of an address (fe80::1%eth0) does not count.
- A peer on a unix socket is trusted: the file system decides who may connect there.
- A peer without an address is never trusted (see runtime/peers.py).

The hops are read from the right, because each proxy adds the address of its own peer there. The client is the
first one that is not a trusted proxy. Where a hop names no address (`unknown`, `_hidden`, a name, garbage),
reading ends: the client is the last hop that was read, because what stands further left was written by
somebody whom we do not know. The dialects of one hop are the table of tests/http/test_client_address.py.

Where both fields are there and name different clients, `disputes` says so, and the request is refused: a
proxy that sets one of them passes on the other one as the client wrote it.

What the fields may cost is bounded: the last MAX_CHARACTERS of them are read, and at most MAX_HOPS hops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from multidict import CIMultiDictProxy

Networks = tuple[IPv4Network | IPv6Network, ...]
Peer = str | tuple[str, int] | tuple[str, int, int, int] | None
"""A peer as a socket names it: a tuple for TCP, a text for a unix socket, None for a TCP peer that has no
address any more."""

FORWARDED_FOR: Final = "X-Forwarded-For"
FORWARDED: Final = "Forwarded"

MAX_CHARACTERS: Final = 1024
"""How much of the fields is read: twenty of the longest hops."""
MAX_HOPS: Final = 20
"""How many trusted proxies are followed. There are rarely more than three; an IPv6 address takes 20 µs."""
CACHED_CHARACTERS: Final = 128
"""A longer text is read anew each time, so that no client can fill the memory with what it invents."""
CACHE_ENTRIES: Final = 4096
MAX_PORT: Final = 65535
HOST_BITS: Final = 64
"""Of an IPv6 address, these are chosen by the client itself (RFC 4291 section 2.5.4)."""
MAPPED_PREFIX: Final = 96
"""IPv4 addresses as IPv6 ones are the network ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)."""

_PORT: Final = r"(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]{1,64}))?"
_ZONE: Final = r"(?:%[A-Za-z0-9._-]{1,32})?"
_IPV6: Final = r"([0-9A-Fa-f:.]{2,45})"
_NODE: Final = re.compile(rf"\[{_IPV6}{_ZONE}\]{_PORT}|([0-9.]{{7,15}}){_PORT}|{_IPV6}{_ZONE}", re.ASCII)
_MAX_NODE: Final = 160
"""Characters of the longest text that `_NODE` accepts, with quotes."""
_PAIR: Final = re.compile(
    r"[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^ \t\",;]++))[ \t]*+)?([,;]|\Z)",
    re.ASCII,
)
"""One `name=value` of Forwarded and what ends it. A value that should be in quotes may stand without them."""


class TrustedProxies:
    """The front proxies whose fields are believed: the setting `trusted_proxies`.

    exempt: clients that are not counted by `client_group`: the setting `exempt_clients`.
    """

    def __init__(self, networks: Networks, exempt: Networks = ()) -> None:
        self._exempt = tuple(unmapped_network(network) for network in exempt)
        self._networks = tuple(unmapped_network(network) for network in networks)
        self._trusts_host = lru_cache(maxsize=CACHE_ENTRIES)(self._is_inside)
        self._nearest = lru_cache(maxsize=CACHE_ENTRIES)(self._find_nearest)  # saves 2 µs a line of the log

    def trusts(self, peer: Peer) -> bool:
        """Whether the fields of this peer are believed."""
        if isinstance(peer, tuple):
            return bool(self._networks) and self._trusts_host(peer[0])
        return peer is not None

    def client(self, peer: Peer, headers: CIMultiDictProxy[str], said: str = "") -> str:
        """Return the client's address: the peer's, or what a trusted peer says. "" for a unix socket's peer.

        said: the only X-Forwarded-For field of a request whose headers were not made (http/request_heads.py).
        For a request that `disputes` finds contradictory it is the peer's address.
        """
        if said and isinstance(peer, tuple) and len(said) <= CACHED_CHARACTERS:
            return self._nearest(peer[0], said)
        host = peer_address(peer)
        if said:
            return self._by_text(host, said) if self.trusts(peer) else host
        has_list, has_forwarded = FORWARDED_FOR in headers, FORWARDED in headers
        if not (has_list or has_forwarded) or not self.trusts(peer):
            return host
        if not has_forwarded:
            return self._by_list(host, headers)
        if not has_list:
            return self._by_forwarded(host, headers)
        said = self._by_list(host, headers)
        return said if said == self._by_forwarded(host, headers) else host

    def client_group(self, peer: Peer, headers: CIMultiDictProxy[str], said: str = "") -> str:
        """Return what counts as one client: its IPv4 address, or the /64 of its IPv6 address.

        Empty where nobody knows which client it is, behind a trusted proxy that names none, and for clients
        that are exempt. The arguments are those of `client`.
        """
        host = self.client(peer, headers, said)
        if not host or (self.trusts(peer) and self._trusts_host(host)):
            return ""
        if self._exempt and _is_inside(host, self._exempt):
            return ""
        return address_group(host)

    def disputes(self, peer: Peer, headers: CIMultiDictProxy[str]) -> bool:
        """Whether a trusted peer's X-Forwarded-For and Forwarded name different clients."""
        if FORWARDED not in headers or FORWARDED_FOR not in headers or not self.trusts(peer):
            return False
        host = peer_address(peer)
        return self._by_list(host, headers) != self._by_forwarded(host, headers)

    def _by_list(self, host: str, headers: CIMultiDictProxy[str]) -> str:
        return self._by_text(host, ",".join(headers.getall(FORWARDED_FOR)))

    def _by_text(self, host: str, said: str) -> str:
        find = self._nearest if len(said) <= CACHED_CHARACTERS else self._find_nearest
        return find(host, said)

    def _by_forwarded(self, host: str, headers: CIMultiDictProxy[str]) -> str:
        return _walk(host, forwarded_nodes(headers.getall(FORWARDED)), self._trusts_host)

    def _find_nearest(self, host: str, said: str) -> str:
        """Return the client of a peer that sent one list; host: the peer's, "" for a unix socket's peer."""
        host = usual_form(host)
        if host and not self._trusts_host(host):
            return host
        return _walk(host, list_nodes(said), self._trusts_host)

    def _is_inside(self, host: str) -> bool:
        return _is_inside(host, self._networks)


def _is_inside(host: str, networks: Networks) -> bool:
    address = read_node(host.partition("%")[0])
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=CACHE_ENTRIES)
def address_group(host: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address, which one client has to itself."""
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> HOST_BITS << HOST_BITS)}/{128 - HOST_BITS}"


def network_group(host: str) -> str:
    """Return the network of an address that one site usually has: an IPv4 /24, or an IPv6 /48."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


def peer_address(peer: Peer) -> str:
    """Return the address of a TCP peer in the usual form, without a zone; "" for any other peer."""
    return usual_form(peer[0]) if isinstance(peer, tuple) else ""


def unmapped_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4 addresses that are written as IPv6 ones as what it is: ::ffff:10.0.0.0/104."""
    if network.version == 4 or network.prefixlen < MAPPED_PREFIX:
        return network
    mapped = IPv6Address(network.network_address).ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - MAPPED_PREFIX))


def read_node(text: str) -> IPv4Address | IPv6Address | None:
    """Read one hop: an address, perhaps with a port, in brackets or in quotes; None if it is none.

    The port and the zone are dropped. `2001:db8::7:4711` without brackets is an address as a whole.
    """
    if len(text) > _MAX_NODE:
        return None
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    bracketed, port6, ipv4, port4, ipv6 = match.groups()
    if int(port6 or port4 or 0) > MAX_PORT:
        return None
    try:
        if ipv4 is not None:
            return IPv4Address(ipv4)
        address = IPv6Address(bracketed or ipv6)
    except ValueError:
        return None
    return address.ipv4_mapped or address


def list_nodes(text: str) -> list[str]:
    """Return the hops of X-Forwarded-For, whose lines are joined by commas, without the empty ones."""
    elements = text[-MAX_CHARACTERS:].split(",")
    if len(text) > MAX_CHARACTERS:
        elements[0] = "unknown"  # it may have been cut
    return [hop for element in elements if (hop := element.strip(" \t"))]


def forwarded_nodes(lines: Sequence[str]) -> list[str]:
    """Return the hops of Forwarded (RFC 7239 section 4). An element that names none is `unknown`.

    A line that is too long or not well-formed is `unknown` as a whole, because an open quote of the client's
    changes how everything behind it reads.
    """
    nodes: list[str] = []
    left = MAX_CHARACTERS
    for line in reversed(lines):
        left -= len(line)
        found = _read_forwarded(line) if left >= 0 else None
        nodes[:0] = ["unknown"] if found is None else found
        if found is None:
            break
    return nodes


def _read_forwarded(line: str) -> list[str] | None:
    """Return the hops of one line of Forwarded; None if it is not well-formed."""
    nodes: list[str] = []
    node, names, position = "", set[str](), 0
    while match := _PAIR.match(line, position):
        name, quoted, plain, end = match.groups()
        position = match.end()
        if name is not None:
            name = name.lower()
            if name in names:
                return None
            names.add(name)
            if name == "for":
                node = plain if quoted is None else quoted  # no escaped character belongs into an address
        if end != ";":
            if names:
                nodes.append(node or "unknown")
            node, names = "", set()
            if not end:
                return nodes
    return None


def _walk(host: str, nodes: Sequence[str], trusts: Callable[[str], bool]) -> str:
    """Return the nearest hop that is no trusted proxy. host: the peer, which is one."""
    for node in reversed(nodes[-MAX_HOPS:]):
        address = read_node(node)
        if address is None:
            break
        host = str(address)
        if not trusts(host):
            break
    return host


@lru_cache(maxsize=CACHE_ENTRIES)
def usual_form(host: str) -> str:
    """Return an address in the usual form, without a zone; unchanged if it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)
