"""Which addresses a webhook may be sent to: those that anybody on the internet may have. Pure.

The address of an endpoint is written by a user, so without this rule the gateway would send requests into the
seller's own network, and say what came of them (server-side request forgery). Refused is every network of the
registries of special-purpose addresses (IANA, RFC 6890 and its successors) that is not reached by everybody,
and every form in which an IPv6 address stands for an IPv4 address, unless it is the one that a translator of
the own network makes (NAT64, RFC 6052) and the address inside is public itself. Written out, because what
`ipaddress` calls global differs between versions of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

_NETWORKS_4: Final = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network; many systems take it for themselves
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; clouds have metadata servers there
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host of a virtual machine of Azure
        "169.254.0.0/16",  # link-local; clouds have metadata servers there
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # with 255.255.255.255
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")
_NETWORKS_6: Final = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols of the IETF, with Teredo and ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the internet."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address in _MAPPED or address in _NAT64:
            return is_public(embedded(address))
        return address in _GLOBAL_6 and not any(address in network for network in _NETWORKS_6)
    return not any(address in network for network in _NETWORKS_4)


def is_loopback(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is this machine, also where it is written as IPv6."""
    if isinstance(address, IPv6Address) and address in _MAPPED:
        address = embedded(address)
    return any(address in network for network in _LOOPBACK if network.version == address.version)


def embedded(address: IPv6Address) -> IPv4Address:
    """The IPv4 address in the last four bytes."""
    return IPv4Address(int(address) & 0xFFFFFFFF)
