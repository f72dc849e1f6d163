"""What every platform's module offers, and the values that it is asked with and answers with. Pure.

A webhook is taken in four steps, whatever the platform:

1. `Platform.verify` says whether the message is the platform's, from its raw bytes. Before that, `is_ping`
   says whether it is a greeting that the platform sends without a signature.
2. `Platform.read` takes the message apart: a reading for each event in it. `Reading.message` is what the
   inbox keeps of the event. Read again, it gives the same reading, so an event can be applied at any time
   later.
3. `Platform.answer` says what the platform wants to hear, once the readings are in the inbox.
4. `Reading.event.facts` go to `gateway.orders`. Where the reading has look-ups, an API key can tell more.

Whoever knows no secret can send anything, so `verify` does bounded work and looks at nothing but the
signature. What is signed is the platform's own, and can still be of a form that nobody expected: `read` never
raises. A reading has facts, or says why the event is of no interest (`ignored`), or what is wrong with it
(`fault`, which names the field and quotes no value).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from gateway.orders.facts import Event

MAX_BODY: Final = 1024 * 1024
"""Bytes of a message. The largest known are orders of 500 lines, with some 600 KiB."""
TOLERANCE_SECONDS: Final = 300
"""How far the time in a signature may be from ours, in both directions. It is what Stripe and Standard
Webhooks recommend. Paddle's library allows 5 s, which a machine without a time service does not keep."""
MAX_SECRETS: Final = 4
"""Secrets of a connection that are tried. A rotation needs two; more would let strangers buy more work."""


class Reason(StrEnum):
    """Why a message is not accepted. Neither names nor texts have anything of the message or of a secret."""

    BODY_TOO_LARGE = "body_too_large"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a word
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_REPEATED = "signature_repeated"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_WRONG = "signature_wrong"
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"


EXPLANATIONS: Final[dict[Reason, str]] = {
    Reason.BODY_TOO_LARGE: f"the body has more than {MAX_BODY} bytes",
    Reason.SECRET_MISSING: "the connection has no secret: copy it from the platform",
    Reason.SIGNATURE_MISSING: "the request has no signature: let the platform sign its webhooks",
    Reason.SIGNATURE_REPEATED: "a header field of the signature appears more than once",
    Reason.SIGNATURE_MALFORMED: "the signature does not have the platform's form",
    Reason.SIGNATURE_WRONG: "the signature is not made with a secret of this connection, or something "
    "changed the body on its way: compare the secret with the platform's",
    Reason.TOO_OLD: f"the message was signed more than {TOLERANCE_SECONDS} seconds ago: compare this "
    "machine's clock",
    Reason.IN_THE_FUTURE: f"the message was signed more than {TOLERANCE_SECONDS} seconds ahead of this "
    "machine's clock: compare it",
}
"""One sentence for each reason, for the seller and the log."""


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    reason: None for an accepted message. secret: the place of the secret that fits, from 0.
    """

    reason: Reason | None = None
    secret: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the message is the platform's."""
        return self.reason is None


@dataclass(frozen=True)
class Message:
    """One request at `/hooks/…`, or what the inbox kept of one event in it.

    headers: pairs of a lower-case name and a value, in their order; a name may come several times. body: the
    raw bytes. received_at: when it arrived first, ms since 1970 UTC. url_secret: what the URL has after the
    connection's id, for platforms that sign nothing.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_at: int
    url_secret: str | None = None

    def values(self, name: str) -> list[str]:
        """All values of a header field. name: in lower case."""
        return [value for each, value in self.headers if each == name]

    def first(self, *names: str) -> str | None:
        """The first value of the first of these header fields that is there and not empty."""
        return next((value for name in names for value in self.values(name) if value), None)

    def keep(self, *names: str, body: bytes | None = None) -> Message:
        """What the inbox keeps: these header fields, and the body or a part of it."""
        headers = tuple((name, value) for name, value in self.headers if name in names)
        return Message(headers, self.body if body is None else body, self.received_at)


class Wanted(StrEnum):
    """The kinds of what the platform's API can tell beyond an event."""

    LINES = "lines"  # of an order
    REFUNDS = "refunds"  # of an order, with their lines
    CUSTOMER = "customer"
    ORDER = "order"  # all of it


@dataclass(frozen=True)
class LookUp:
    """Something to ask the platform's API. id: of the order, or of the customer.

    required: the event itself is no proof of anything (it had no signature), so it is nothing without the
    API.
    """

    wanted: Wanted
    id: str
    required: bool = False


@dataclass(frozen=True)
class Reading:
    """One event, read.

    message: what the inbox keeps of it. platform_id: the event's id in the platform's own answer form, if it
    has one. ignored: why the event has no facts, as a part of a sentence ("its type is not used"). fault:
    what is wrong with it, as a sentence. look_ups: what an API key can tell more.
    """

    event: Event
    message: Message
    platform_id: str | None = None
    ignored: str | None = None
    fault: str | None = None
    look_ups: tuple[LookUp, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a platform wants to hear: an HTTP status, and a text."""

    status: int
    text: str = ""


OK: Final = Answer(200)
NOT_TAKEN: Final = Answer(503)
"""Asks the platform to deliver again later."""


def _all_or_nothing(readings: Sequence[Reading], taken: Iterable[str]) -> Answer:
    keys = set(taken)
    return OK if all(reading.event.dedupe_key in keys for reading in readings) else NOT_TAKEN


def _never(_message: Message) -> bool:
    return False


def _no_change(secret: str) -> str:
    return secret


class Read(Protocol):
    """How a platform's messages are read."""

    def __call__(self, message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
        """Read a message. Without `tells` only what the inbox needs: half of the work."""


@dataclass(frozen=True)
class Platform:
    """A platform: a row of the table in `registry.py`.

    kind: its name in APIs. title: its name for people. verify(message, secrets, now): now is the time in
    seconds since 1970 UTC. read: see `Read`. answer(readings, taken): taken are the dedupe keys of the
    readings that are in the inbox now, or were before. is_ping(message): whether it is an unsigned greeting,
    to be answered with 200 and forgotten. events: which types of events the seller ticks. needs_api_key:
    nothing can be granted without one.
    """

    kind: str
    title: str
    verify: Callable[[Message, Sequence[str], float], Verdict]
    read: Read
    answer: Callable[[Sequence[Reading], Iterable[str]], Answer] = field(default=_all_or_nothing)
    is_ping: Callable[[Message], bool] = field(default=_never)
    events: tuple[str, ...] = ()
    needs_api_key: bool = False


def mode_fault(test: bool | None, live: bool) -> str | None:
    """Why an event of this mode is not for a connection: test and live never mix. None when it is.

    test: of an event; None where the platform has no test mode or does not say: then the connection decides.
    """
    if test is None or test is not live:
        return None
    if test:
        return "it is a test, and the connection is live"
    return "it is no test, and the connection takes tests only"
