"""Holds clients to the setting `max_address_connections`: how many transfers of one address run at once.

A client is an IPv4 address or an IPv6 /64. Behind trusted proxies it is the one that they name; where they
name none, nobody is counted, because that would shut out everybody behind the proxy. Like a token's places
(tokens/places.py), only what does not leave in one piece is counted. The workers of one machine count
together, in memory (runtime/running_counts.py): the limit protects this machine, and no command is sent.
"""

from __future__ import annotations

from gateway.dataplane.exchange import Exchange
from gateway.errors import TOO_MANY_CONNECTIONS, Refused
from gateway.http.client_address import TrustedProxies
from gateway.runtime.running_counts import RunningCounts


class ClientLimits:
    """Counts the transfers of clients. One worker has one."""

    def __init__(self, counts: RunningCounts, proxies: TrustedProxies) -> None:
        self._counts = counts
        self._proxies = proxies

    def begin(self, exchange: Exchange) -> str:
        """Count a transfer that is about to run. Returns the name to give to `end`.

        A transfer whose head has been sent is counted, but never refused. Raises Refused
        (TOO_MANY_CONNECTIONS).
        """
        group = self._proxies.client_group(exchange.connection.peer, exchange.headers, exchange.forwarded)
        if exchange.begun:
            self._counts.add(group)
        elif not self._counts.enter(group):
            raise Refused(TOO_MANY_CONNECTIONS)
        return group

    def end(self, group: str) -> None:
        """Note that a transfer has ended."""
        self._counts.leave(group)
