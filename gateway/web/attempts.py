"""The lines of a service's refused attempts: by the client's address, and not stored anywhere else.

`runtime/attempts.py` has what counting means. The front proxies in `trusted_proxies` name the client.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.client_address import Networks, TrustedProxies
from gateway.runtime.attempts import Attempts
from gateway.runtime.peers import PeerName
from gateway.web.problems import too_many_attempts


class ClientAttempts:
    """One line of one service. limit: refused attempts a minute, 0 for any number."""

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._attempts = Attempts(limit)
        self._proxies = TrustedProxies(proxies)
        self.over: Final = self._attempts.over
        """Empty as long as nobody is over the line: then `check` need not be called."""

    def check(self, request: web.BaseRequest, secret: str = "", scope: str = "") -> None:
        """Refuse an attempt of a client over the line. Raises Problem: too_many_attempts.

        secret: the id of what is tried; one that was valid here a while ago may be tried. scope: counts by
        itself.
        """
        if self.over and (seconds := self._attempts.seconds_over(self._name(request, scope), secret)):
            raise too_many_attempts(seconds)

    def refuse(self, request: web.BaseRequest, secret: str = "", scope: str = "") -> None:
        """Count an attempt that is to be refused. Raises Problem (too_many_attempts) over the line."""
        if seconds := self._attempts.note_refused(self._name(request, scope), secret):
            raise too_many_attempts(seconds)

    def note_valid(self, secret: str) -> None:
        """Remember that a secret is valid, by its id."""
        self._attempts.note_valid(secret)
        self._attempts.rotate()

    def _name(self, request: web.BaseRequest, scope: str) -> str:
        peer: PeerName | None = getattr(request.protocol, "peer", None)
        group = self._proxies.client_group(peer, request.headers)
        return f"{scope} {group}" if group and scope else group
