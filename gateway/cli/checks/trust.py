"""Checks whom the settings trust: networks of front proxies that are wider than any proxy needs."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from gateway.cli.checks import Finding, passed, warned
from gateway.config.settings import Settings
from gateway.http.client_address import unmapped_network

SHORTEST_IPV4: Final = 8
SHORTEST_IPV6: Final = 16
"""A network with a shorter prefix holds much of the Internet. The widest private network of IPv4 is
10.0.0.0/8, and no provider's of IPv6 is wider than a /19."""
PRIVATE_IPV6: Final = (ip_network("fc00::/7"), ip_network("fe80::/10"))
"""Wider networks of IPv6 that nobody outside can use (RFC 4193, RFC 4291 section 2.5.6)."""

NAME: Final = "trusted_proxies"


def check_trust(settings: Settings) -> Finding:
    """Check the setting `trusted_proxies`."""
    wide = [str(network) for network in settings.trusted_proxies if _is_wide(network)]
    if wide:
        return warned(
            NAME,
            f"{', '.join(wide)} lets strangers name any client's address, and ask /auth for files' names",
            "list the addresses of your front proxies alone",
        )
    count = len(settings.trusted_proxies)
    return passed(NAME, f"{count} network{'s' if count > 1 else ''}" if count else "none over TCP")


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    network = unmapped_network(network)
    if isinstance(network, IPv4Network):
        return network.prefixlen < SHORTEST_IPV4
    private = any(isinstance(each, IPv6Network) and network.subnet_of(each) for each in PRIVATE_IPV6)
    return network.prefixlen < SHORTEST_IPV6 and not private
