"""The kinds of mails, and what holds for each. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a mail is about."""

    SIGN_IN = "sign_in"
    ADDRESS_CHANGE = "address_change"  # asks a mailbox to confirm
    ADDRESS_CHANGED = "address_changed"
    SEAT = "seat"
    READY = "ready"
    VERSION = "version"
    TEST = "test"


class State(StrEnum):
    """What became of a mail. `dropped`: it was of no use any more before it could be sent."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class Rule(NamedTuple):
    """What holds for a kind.

    priority: the smallest goes first. urgent: somebody waits for it, so it is tried again soon, and may use
    the whole speed. capped: strangers can cause it, so what is beyond the limit of an address is not sent.
    to_many: it is news for many, which they may not want: a header says how to get no more.
    """

    priority: int
    urgent: bool = False
    capped: bool = False
    to_many: bool = False


RULES: Final = {
    Kind.SIGN_IN: Rule(0, urgent=True, capped=True),
    Kind.ADDRESS_CHANGE: Rule(1, urgent=True, capped=True),
    Kind.ADDRESS_CHANGED: Rule(2),
    Kind.SEAT: Rule(2, capped=True),
    Kind.READY: Rule(2),
    Kind.VERSION: Rule(3, to_many=True),
    Kind.TEST: Rule(0, urgent=True),
}
URGENT_PRIORITY: Final = max(rule.priority for rule in RULES.values() if rule.urgent)
"""Up to here a mail may use the part of the speed that is kept for those that somebody waits for."""
GIVE_UP_DAYS: Final = 5
"""After so long a mail that nobody has taken has failed (RFC 5321 section 4.5.4.1: four to five days)."""
