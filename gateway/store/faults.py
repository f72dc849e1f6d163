"""What is wrong with one server of the store now, and the log of it: one line for each reason.

A reason is a code: that of an error reply (READONLY, OOM, …) or one of ours (LOST, TIMEOUT, …). It is logged
when it begins, and not again before all is well. `current` is what /readyz shows.

- A reason that our own regular check finds has ended as soon as the check succeeds. "The store is back" is
  logged when all has been well for STEADY_SECONDS, so that a server that comes and goes writes no endless
  log.
- A missing permission that our check does not need is shown for HELD_SECONDS after a request has met it.
- A reason that only some requests meet, such as a permission that is missing for one command, has no such
  end. It is logged at most once in REPEAT_SECONDS.
"""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.runtime.system_errors import advise, system_error_of
from gateway.store.replies import Consequence, ErrorReply

STEADY_SECONDS: Final = 1.0
REPEAT_SECONDS: Final = 60.0
HELD_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the store cannot be used. public: for anybody, without addresses. event: the line of the log."""

    code: str
    public: str
    event: str
    level: int = logging.ERROR


LOST: Final = Fault(
    "LOST", "LOST: the connection to the store was lost", "the connection to the store was lost"
)
TIMEOUT: Final = Fault(
    "TIMEOUT",
    "TIMEOUT: the store does not answer in time",
    "the store does not answer in time (redis_timeout): requests are refused until it does",
    logging.WARNING,
)
NO_REDIS: Final = Fault(
    "PROTOCOL",
    "PROTOCOL: what answers is not Redis",
    "the store sent data that is not a Redis reply: check redis_url",
)
REPLICA: Final = Fault(
    "READONLY",
    "READONLY: the server is a replica",
    "the store cannot serve: READONLY, the server is a replica; its name is looked up again until it leads "
    "to the primary",
)
CONNECTING: Final = "CONNECTING: the store is not connected yet"
"""What /readyz shows before anything is known."""


def fault_of_reply(reply: ErrorReply) -> Fault:
    """The fault that an error reply to one of our commands is."""
    consequence, text = reply.meaning
    if consequence is Consequence.COMMAND:
        return Fault(reply.code, f"{reply.code}: {text}", f"the store answered with an error: {reply.text}")
    words = reply.text if reply.text.startswith(reply.code) else f"{reply.code} ({reply.text})"
    return Fault(reply.code, f"{reply.code}: {text}", f"the store cannot serve: {words}; {text}")


def fault_of_failure(error: BaseException) -> Fault:
    """The fault that a failed attempt to connect is."""
    reply = getattr(error, "reply", None)
    if isinstance(reply, ErrorReply):
        return Fault(reply.code, f"{reply.code}: {reply.meaning.text}", f"the store is away: {reply.text}")
    cause = system_error_of(error)
    code, public = next(row for kind, *row in _FAILURES if isinstance(cause or error, kind))
    if isinstance(error, StoreUnavailable):
        return Fault(code, f"{code}: {public}", f"the store is away: {error}")
    why = public if cause is None else advise(cause)
    return Fault(code, f"{code}: {public}", f"the store is away ({why})")


_FAILURES: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (TimeoutError, "TIMEOUT", "the store does not answer in time"),
    (socket.gaierror, "NAME", "the store's name cannot be resolved"),
    (ssl.SSLError, "TLS", "the TLS connection to the store fails"),
    (ConnectionRefusedError, "REFUSED", "the store refuses connections"),
    (BaseException, "AWAY", "the store cannot be reached"),
)
"""Kinds of exceptions, each with a code and what it means; the first that fits counts."""


class Faults:
    """The reasons of one server, and their log. logger: None where nobody wants a log, as in a command.

    address: which server, for the log. Times are seconds of the event loop's clock.
    """

    def __init__(self, logger: logging.Logger | None, address: str) -> None:
        self._logger = logger
        self._extra = {"store": address}
        self._told: dict[str, tuple[float, float]] = {}
        self._held_until = 0.0
        self.current: Fault | None = None

    @property
    def reason(self) -> str:
        """What /readyz shows."""
        return self.current.public if self.current is not None else CONNECTING

    def raise_current(self) -> None:
        """Raise StoreUnavailable, with its `reason`, if something is wrong now."""
        if self.current is not None:
            raise StoreUnavailable(self.current.event, self.current.public)

    def begin(self, fault: Fault, now: float, *, is_checked: bool = True) -> None:
        """The store cannot be used. is_checked: our regular check finds it, and so will find its end."""
        self.current = fault
        if fault.code == "NOPERM" and not is_checked:
            self._held_until = now + HELD_SECONDS
        self._tell(fault, now, STEADY_SECONDS if is_checked else REPEAT_SECONDS)

    def note(self, fault: Fault, now: float) -> None:
        """One command failed, and the store can be used."""
        self._tell(replace(fault, level=logging.WARNING), now, REPEAT_SECONDS)

    def is_well(self, now: float) -> None:
        """The regular check has succeeded."""
        if now >= self._held_until:
            self.current = None
        if not self._told:
            return
        checked = {code: last for code, (last, pause) in self._told.items() if pause == STEADY_SECONDS}
        if checked and now - max(checked.values()) >= STEADY_SECONDS:
            for code in checked:
                del self._told[code]
            if self._logger is not None:
                self._logger.warning("the store is back", extra=self._extra)
        for code in [code for code, (last, _) in self._told.items() if now - last >= REPEAT_SECONDS]:
            del self._told[code]

    def _tell(self, fault: Fault, now: float, pause: float) -> None:
        if fault.code in self._told:
            pause = min(pause, self._told[fault.code][1])
        elif self._logger is not None:
            self._logger.log(fault.level, "%s", fault.event, extra=self._extra)
        self._told[fault.code] = (now, pause)
