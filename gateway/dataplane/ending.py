"""How every exchange ends: the only place that turns failures into answers, and that ends an exchange.

As long as no head has been sent, an exception becomes an answer:

    Refused             the refusal that it carries; for `token_invalid`, see attempt_guard.py
    no descriptor left  `overloaded`, whatever exception says so
    StoreUnavailable    `store_unavailable`; counted
    StorageError        `storage_failed`; counted and logged. With `Retry-After`, if the error says when
    ClientGone          nothing is sent: the client has gone
    anything else       a defect: the connection is broken, and the worker goes on; counted and logged

Once the head has been sent, no other answer is possible. The connection is broken, so that the client notices
and resumes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.dataplane.attempt_guard import AttemptGuard
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import (
    OVERLOADED,
    STORE_UNAVAILABLE,
    TOO_MANY_ATTEMPTS,
    Refused,
    StorageError,
    StoreUnavailable,
    storage_failed,
)
from gateway.runtime.deferred import Deferred
from gateway.runtime.descriptors import is_out_of_descriptors
from gateway.runtime.metrics import FAULTS, STORAGE_ERRORS, STORE_ERRORS, Counters

_log = logging.getLogger("gateway")


class Endings:
    """Ends the exchanges of one worker. Its methods never raise."""

    def __init__(self, counters: Counters, guard: AttemptGuard | None = None) -> None:
        self._count = counters.add
        self._guard = guard or AttemptGuard()

    async def run(
        self,
        exchange: Exchange,
        work: Callable[..., Coroutine[Deferred[Any], None, None]],
        *arguments: Any,
    ) -> None:
        """Do the work of a request, which is `work(exchange, *arguments)`; then end the exchange.

        `work` may raise before it returns its coroutine.
        """
        try:
            await work(exchange, *arguments)
        except Exception as error:
            self._answer_failure(exchange, error)
        finally:
            exchange.end()

    def end(self, exchange: Exchange, error: Exception | None = None) -> None:
        """End an exchange whose work needed no coroutine. error: what the work raised, if it failed."""
        if error is not None:
            self._answer_failure(exchange, error)
        exchange.end()

    def _answer_failure(self, exchange: Exchange, error: Exception) -> None:
        """Answer what can be answered; break the connection otherwise."""
        detail = None
        if isinstance(error, Refused):
            refusal, detail = self._guard.judge(exchange, error.refusal), error.detail
        elif isinstance(error, StoreUnavailable):
            self._count(STORE_ERRORS)
            refusal = STORE_UNAVAILABLE
        elif is_out_of_descriptors(error):
            _log.error("%s", error)
            refusal = OVERLOADED
        elif isinstance(error, StorageError):
            self._count(STORAGE_ERRORS)
            level = logging.ERROR if error.retry_after is None else logging.WARNING
            _log.log(level, "%s", error, extra={"token": exchange.token_id})
            refusal = storage_failed(error.retry_after)
        elif isinstance(error, ClientGone):
            return
        else:
            self._break(exchange, error)
            return
        if exchange.begun:
            exchange.abort()
            return
        try:
            exchange.refuse(refusal, detail)
            if refusal.code == TOO_MANY_ATTEMPTS.code:
                self._guard.throttle(exchange)
        except ClientGone:
            pass
        except Exception as defect:
            self._break(exchange, defect)

    def _break(self, exchange: Exchange, defect: Exception) -> None:
        self._count(FAULTS)
        _log.error("a request ended by an unexpected %s", type(defect).__name__, exc_info=defect)
        exchange.abort()
