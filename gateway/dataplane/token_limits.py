"""Holds requests to the limits of their tokens beside the allowance: connections, rates, and the client.

What a token's hash says of them comes with the reply about the token (tokens/caps.py), so that a token
without limits costs nothing. The rules are where the limits are kept: tokens/places.py, pacing.py and
binding.py.
"""

from __future__ import annotations

from gateway.dataplane.delivery.sender import Sender
from gateway.dataplane.exchange import Exchange
from gateway.http.client_address import TrustedProxies
from gateway.store.topology import Topology
from gateway.tokens.binding import check_client, client_digest
from gateway.tokens.caps import Caps, read_caps
from gateway.tokens.pacing import Pacer, Pacing
from gateway.tokens.places import Place, Places


class Held:
    """What one running transfer holds of its token's limits. `end` gives it back."""

    __slots__ = ("_limits", "_paced", "_place")

    def __init__(self, limits: TokenLimits, place: Place | None, paced: tuple[str, int] | None) -> None:
        self._limits = limits
        self._place = place
        self._paced = paced

    def end(self) -> None:
        """Note that the transfer has ended."""
        self._limits.end(self._place, self._paced)


class TokenLimits:
    """One worker's. default: the limits of tokens that have none of their own."""

    def __init__(
        self, topology: Topology, places: Places, proxies: TrustedProxies, default: Caps | None
    ) -> None:
        self._topology = topology
        self._places = places
        self._pacing = Pacing(topology)
        self._proxies = proxies
        self._default = default if default is not None and any(default) else None

    def of(self, text: bytes | None) -> Caps | None:
        """The limits of a token, None without any. text: `TokenReply.caps`."""
        if text is None:
            return self._default
        return read_caps(text, self._default)

    async def check_client(self, exchange: Exchange, token: str, caps: Caps | None, *, binds: bool) -> None:
        """Raise Refused unless the client may use the token. binds: it belongs to this client from now on."""
        if caps is None or not caps.binding:
            return
        connection = exchange.connection
        client = self._proxies.client(connection.peer, exchange.headers, exchange.forwarded)
        digest = client_digest(token, client, caps.binding)
        await check_client(self._topology, exchange.token_id, digest, binds=binds)

    async def begin(self, identifier: str, delivery: Sender, caps: Caps) -> Held:
        """Let a transfer run. The caller ends what it holds. Raises Refused, StoreUnavailable."""
        place = None
        if caps.connections:
            place = await self._places.take(identifier, delivery, caps.connections)
        pacers: tuple[Pacer, ...] = ()
        if caps.connection_rate:
            pacers = (Pacer(caps.connection_rate),)
        if caps.rate:
            pacers = (*pacers, self._pacing.begin(identifier, caps.rate))
        delivery.pace(pacers)
        return Held(self, place, (identifier, caps.rate) if caps.rate else None)

    def end(self, place: Place | None, paced: tuple[str, int] | None) -> None:
        """Give back what a transfer has held."""
        if place is not None:
            self._places.leave(place)
        if paced is not None:
            self._pacing.end(*paced)
