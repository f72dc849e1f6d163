"""How often somebody may try to sign in. Counts of refused attempts within a minute; see runtime/attempts.py.

    an address (or a /64)    ADDRESS_LINE   names, passwords, passkeys and links that are not right
    a name                   NAME_LINE      passwords, from any address: many machines guess one user's

The counts are in this process only, and tell nothing of which names there are: what nobody has is counted as
well.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.client_address import Networks
from gateway.runtime.attempts import Attempts
from gateway.users.roles import login_of
from gateway.web.attempts import ClientAttempts
from gateway.web.problems import too_many_attempts

ADDRESS_LINE: Final = 10
"""Some people type a password wrong five times; an office has one address."""
NAME_LINE: Final = 20
"""At most 30,000 guesses a day at one user, from however many addresses. Twelve characters that are no common
words have more than a billion times as many; passkeys are not stopped by it."""


class SignInLines:
    """The lines of one process."""

    def __init__(self, proxies: Networks) -> None:
        self._addresses = ClientAttempts(ADDRESS_LINE, proxies)
        self._names = Attempts(NAME_LINE)

    def check(self, request: web.BaseRequest, name: str = "") -> None:
        """Refuse an attempt over a line before anything is looked up. Raises Problem: too_many_attempts."""
        self._addresses.check(request)
        if self._names.over and name and (seconds := self._names.seconds_over(login_of(name))):
            raise too_many_attempts(seconds)

    def refuse(self, request: web.BaseRequest, name: str = "") -> None:
        """Count an attempt that was refused. Raises Problem (too_many_attempts) over a line."""
        seconds = self._names.note_refused(login_of(name)) if name else 0
        self._addresses.refuse(request)
        if seconds:
            raise too_many_attempts(seconds)
