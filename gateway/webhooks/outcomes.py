"""What follows from an attempt: tables of answers and pauses, and when an endpoint is disabled. Pure.

| answer | the delivery | the endpoint |
| --- | --- | --- |
| 2xx | is delivered; the body is not read | works |
| 410 | has failed for good | is disabled at once: its receiver says that it is gone |
| 429, 502, 503, 504 | is repeated | gets nothing for as long as `Retry-After` says, or SLOW_DOWN |
| 3xx | is repeated; redirects are not followed | fails |
| every other status | is repeated | fails |
| none: no connection, TLS, time-out, an address that is not allowed | is repeated | fails |

A delivery is repeated as PAUSES says, or after `Retry-After` where that is longer, and has failed for good
after the last of them. An endpoint whose attempts have failed for DISABLE_AFTER and at least DISABLE_FAILURES
times, without one success between them, is disabled.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
PAUSES: Final = (5, 5 * _MINUTE, 30 * _MINUTE, *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)))
"""Seconds between attempts, as Standard Webhooks recommends: ten attempts in some three days."""
JITTER: Final = 0.2
"""Up to this part of a pause is added to it, so that what failed together does not come again together."""
SLOW_DOWN: Final = 30
"""Seconds that an endpoint gets nothing after an answer that asks for less, without a `Retry-After`."""
LONGEST_RETRY_AFTER: Final = 24 * _HOUR
LONGEST_FIELD: Final = 100
"""Characters of a `Retry-After`; a date has 29."""
DISABLE_AFTER: Final = 5 * 24 * _HOUR
"""Seconds. Longer than all attempts of one delivery, and than a weekend with holidays."""
DISABLE_FAILURES: Final = 10
GONE: Final = 410
_SLOWER: Final = (429, 502, 503, 504)


class Outcome(StrEnum):
    """What became of an attempt, as metrics count it."""

    DELIVERED = "delivered"
    REPEATED = "repeated"
    FAILED = "failed"


class Answer(NamedTuple):
    """What an attempt brought.

    status: None without an answer. error: what was wrong, for people. milliseconds: how long it took.
    retry_after: seconds that the receiver asks for.
    """

    status: int | None
    error: str | None
    milliseconds: int
    retry_after: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status <= 299


class Next(NamedTuple):
    """What follows.

    again: seconds until the next attempt; None: there is none. pause: seconds that the endpoint gets nothing.
    """

    outcome: Outcome
    again: float | None = None
    pause: float = 0.0
    is_gone: bool = False


def decide(answer: Answer, attempts: int, chance: float) -> Next:
    """What follows from an attempt. attempts: with this one. chance: at random, from 0 to 1: the jitter."""
    if answer.is_good:
        return Next(Outcome.DELIVERED)
    if answer.status == GONE:
        return Next(Outcome.FAILED, is_gone=True)
    asked = min(answer.retry_after or 0.0, float(LONGEST_RETRY_AFTER))
    pause = (asked or SLOW_DOWN) if answer.status in _SLOWER else 0.0
    if attempts > len(PAUSES):
        return Next(Outcome.FAILED, None, pause)
    again = max(PAUSES[attempts - 1] * (1 + JITTER * chance), asked)
    return Next(Outcome.REPEATED, again, pause)


def is_hopeless(failing_since: int, failures: int, moment: int) -> bool:
    """Whether an endpoint is to be disabled. failing_since, moment: ms. failures: attempts in a row."""
    return failures >= DISABLE_FAILURES and moment - failing_since >= 1000 * DISABLE_AFTER


def read_retry_after(headers: Mapping[str, str], seconds: float) -> float | None:
    """The seconds of `Retry-After` (RFC 9110 section 10.2.3). seconds: now, since 1970."""
    text = headers.get("Retry-After", "").strip()
    if len(text) > LONGEST_FIELD:
        return None
    if text.isascii() and text.isdecimal():
        return float(min(int(text), LONGEST_RETRY_AFTER))
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(moment - seconds, 0.0), float(LONGEST_RETRY_AFTER))


def describe_status(status: int) -> str:
    """What a status that is no success means, for people."""
    if status == GONE:
        return "it answered 410: its receiver is gone"
    if 300 <= status <= 399:
        return f"it answered {status}, which leads elsewhere: give the URL to which it leads"
    return f"it answered {status}"
