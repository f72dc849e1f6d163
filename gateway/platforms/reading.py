"""What the `read` of every platform shares: what cannot be read becomes a reading with a fault. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.http.strict_json import JsonFault, parse
from gateway.orders.facts import Event, Fact
from gateway.platforms.fields import FieldFault, Fields
from gateway.platforms.interface import LookUp, Message, Reading

UNKNOWN_TYPE: Final = "unknown"
"""The type of an event that cannot be read so far."""


class Ignored(Exception):
    """The event is of no interest. Its text says why, as a part of a sentence that begins with "it"."""


NOT_USED: Final = "events of this type are not used"


@dataclass(frozen=True)
class Envelope:
    """What every event has, of any type. key: None where the event has no id of its own."""

    key: str | None
    type: str
    test: bool | None = None
    occurred_at: int | None = None
    platform_id: str | None = None


@dataclass(frozen=True)
class Told:
    """What an event tells, and what an API key could tell more."""

    facts: tuple[Fact, ...]
    look_ups: tuple[LookUp, ...] = ()


def body_key(body: bytes) -> str:
    """A dedupe key made from the content, for events that have no id."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def as_object(value: Any) -> Fields:
    """An event as an object. Raises FieldFault."""
    if not isinstance(value, dict):
        raise FieldFault("the body must be an object")
    return Fields(value)


def read_json(
    message: Message,
    kept: tuple[str, ...],
    open_envelope: Callable[[Message, Fields], Envelope],
    tell: Callable[[Message, Fields, Envelope], Told],
    *,
    tells: bool = True,
) -> Reading:
    """Read a message that is one event in JSON. kept: the header fields that these functions look at."""
    try:
        fields = as_object(parse(message.body))
    except (JsonFault, FieldFault) as fault:
        return unreadable(message.keep(*kept), str(fault))
    return read_fields(message.keep(*kept), fields, open_envelope, tell, tells=tells)


def unreadable(message: Message, fault: str) -> Reading:
    """The reading of a message of which not even the type is known."""
    return Reading(Event(body_key(message.body), UNKNOWN_TYPE), message, fault=fault)


def read_fields(
    message: Message,
    fields: Fields,
    open_envelope: Callable[[Message, Fields], Envelope],
    tell: Callable[[Message, Fields, Envelope], Told],
    *,
    tells: bool = True,
) -> Reading:
    """Read one event. message: what the inbox keeps of it. tells: whether its facts are wanted."""
    try:
        envelope = open_envelope(message, fields)
    except FieldFault as fault:
        return unreadable(message, f"{fault}.")
    told, ignored, wrong = Told(()), None, None
    try:
        told = tell(message, fields, envelope) if tells else told
    except Ignored as why:
        ignored = str(why)
    except FieldFault as fault:
        wrong = f"{fault}."
    key = envelope.key or body_key(message.body)
    event = Event(key, envelope.type, envelope.test, envelope.occurred_at, told.facts)
    return Reading(event, message, envelope.platform_id, ignored, wrong, told.look_ups)
