"""How often somebody may try to sign in. Counts of refused attempts within a minute, of all web processes.

    an address (or a /64)    OF_ADDRESS   names, passwords, passkeys and links that are not right
    a name                   OF_NAME      passwords, from any address: many machines guess one user's

An attempt is counted before it is looked at, and given back if it was right: many that are sent at once are
not more than the line. The counts tell nothing of which names there are: what nobody has is counted as well.
They are in the store, as sessions are: without it nobody can sign in. docs/decisions/0047 says why.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.client_address import Networks, TrustedProxies
from gateway.runtime.peers import PeerName
from gateway.store.client import StoreClient
from gateway.users.roles import login_of
from gateway.web.quotas import MINUTE, Quota, Quotas

OF_ADDRESS: Final = Quota("sign-ins-of-address", 10, MINUTE)
"""Some people type a password wrong five times; an office has one address."""
OF_NAME: Final = Quota("sign-ins-of-name", 20, MINUTE)
"""At most 30,000 guesses a day at one user, from however many addresses. Twelve characters that are no common
words have more than a billion times as many; passkeys are not stopped by it."""


class Attempt:
    """One that was counted."""

    def __init__(self, quotas: Quotas, taken: tuple[tuple[Quota, str], ...]) -> None:
        self._quotas = quotas
        self._taken = taken

    async def give_back(self) -> None:
        """Do not count it: it was right, or nobody has looked at it. Raises StoreUnavailable."""
        await self._quotas.give_back(*self._taken)


class SignInLines:
    """The lines of all processes."""

    def __init__(self, store: StoreClient, proxies: Networks) -> None:
        self._quotas = Quotas(store)
        self._proxies = TrustedProxies(proxies)

    async def check(self, request: web.BaseRequest) -> None:
        """Refuse an address that is over its line. Raises Problem (too_many_attempts), StoreUnavailable."""
        await self._quotas.look((OF_ADDRESS, self._client(request)))

    async def take(self, request: web.BaseRequest, name: str = "") -> Attempt:
        """Count an attempt, before anything is looked up.

        name: whose password it is. Raises Problem (too_many_attempts) over a line, StoreUnavailable.
        """
        taken = ((OF_ADDRESS, self._client(request)), (OF_NAME, login_of(name) if name else ""))
        await self._quotas.take(*taken)
        return Attempt(self._quotas, taken)

    def _client(self, request: web.BaseRequest) -> str:
        peer: PeerName | None = getattr(request.protocol, "peer", None)
        return self._proxies.client_group(peer, request.headers)
