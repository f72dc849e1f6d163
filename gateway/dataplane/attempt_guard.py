"""Stops whoever tries many tokens: past the line of refused attempts, without asking the store.

A refused attempt is an answer `token_invalid`. It is counted for the client's address, or for its /64: behind
trusted proxies for the client that they name, and for nobody where they name none, because that would shut
out everybody behind the proxy. What counting means is told in runtime/attempts.py.

A client over the line that is connected directly is throttled, too: see throttling.py. The connection of a
trusted proxy is not, because other clients share it.
"""

from __future__ import annotations

from typing import Final

from gateway.dataplane.exchange import Exchange
from gateway.errors import TOKEN_INVALID, TOO_MANY_ATTEMPTS, Refusal, Refused, with_retry_after
from gateway.http.client_address import TrustedProxies
from gateway.runtime.attempts import Attempts


class AttemptGuard:
    """Counts and stops attempts. One worker has one.

    over: empty as long as nobody is over the line: then nothing here has to be asked. note_valid: to be
    called with the id of each token that was found valid.
    """

    def __init__(self, attempts: Attempts | None = None, proxies: TrustedProxies | None = None) -> None:
        self._attempts = attempts or Attempts(0)
        self._proxies = proxies or TrustedProxies(())
        self.over: Final = self._attempts.over
        self.note_valid: Final = self._attempts.note_valid
        self.tick: Final = self._attempts.rotate

    def client_group(self, exchange: Exchange) -> str:
        """The name under which a client is counted; empty where nobody knows which client it is."""
        return self._proxies.client_group(exchange.connection.peer, exchange.headers, exchange.forwarded)

    def seconds_over(self, exchange: Exchange) -> int:
        """For how long the client's attempts are refused; 0: they are not. Only while `over` is not empty."""
        return self._attempts.seconds_over(self.client_group(exchange), exchange.token_id)

    def check(self, exchange: Exchange) -> None:
        """Raise Refused (TOO_MANY_ATTEMPTS) where the store need not be asked about `exchange.token_id`."""
        if self.over and (seconds := self.seconds_over(exchange)):
            raise Refused(with_retry_after(TOO_MANY_ATTEMPTS, seconds))

    def note_refused(self, exchange: Exchange) -> int:
        """Count an attempt that is to be refused. Returns the seconds to wait, or 0 below the line."""
        return self._attempts.note_refused(self.client_group(exchange), exchange.token_id)

    def throttle(self, exchange: Exchange) -> None:
        """Throttle the connection of a client over the line, unless it is a trusted proxy's."""
        if not self._proxies.trusts(exchange.connection.peer):
            exchange.connection.throttled = True

    def judge(self, exchange: Exchange, refusal: Refusal) -> Refusal:
        """The refusal to answer with: attempts over the line get TOO_MANY_ATTEMPTS."""
        if refusal is TOKEN_INVALID and (seconds := self.note_refused(exchange)):
            return with_retry_after(TOO_MANY_ATTEMPTS, seconds)
        return refusal
