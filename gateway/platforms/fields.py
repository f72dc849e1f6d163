"""Reading fields of events, whose types the platform promises and nobody guarantees. Pure.

Each function reads one field of an object and says what is wrong with it by a `FieldFault`, which names the
field by its whole path (`data.object.lines[2].quantity`) and never quotes its value: it may be a person's.
Fields that are missing or null are None where that is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from gateway.config.units import LAST_MOMENT
from gateway.orders.facts import Identifier, ItemKey, Money

MAX_ID: Final = 255
"""Characters of an id: Stripe's documentation promises that its own never have more."""
MAX_TEXT: Final = 1000
"""Characters of a title or a name that are kept. A longer one is cut, not refused: nothing depends on it."""
MAX_INTEGER: Final = 2**63 - 1
"""What a database's largest integer holds; Shopify's ids use 60 bits."""
MAX_QUANTITY: Final = 1_000_000
"""Of one line. It is far more than anybody sells at once, and sums of it fit everywhere."""

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL refuses, and lone surrogates, which UTF-8 cannot encode."""

ZERO_DECIMALS: Final = frozenset(re.findall("...", "BIFCLPDJFGNFJPYKMFKRWMGAPYGRWFVNDVUVXAFXOFXPF"))
"""Currencies of which the platforms' smallest unit is a whole one (docs.stripe.com/currencies)."""
THREE_DECIMALS: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])


class FieldFault(Exception):
    """A field is not what the platform promises. Its text names the field, and what it must be."""


@dataclass(frozen=True)
class Fields:
    """An object of an event, and the path that leads to it."""

    values: Mapping[str, Any]
    path: str = ""

    def name(self, field: str) -> str:
        """The whole path of a field."""
        return f"{self.path}.{field}" if self.path else field

    def fault(self, field: str, must: str) -> FieldFault:
        """The fault of a field. must: "must be …"."""
        return FieldFault(f"{self.name(field)} {must}")

    def has(self, field: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(field) is not None

    def child(self, field: str) -> Fields:
        """An object. Raises FieldFault."""
        value = self.values.get(field)
        if not isinstance(value, dict):
            raise self.fault(field, "must be an object")
        return Fields(value, self.name(field))

    def maybe(self, field: str) -> Fields:
        """An object, or an empty one where it is missing, null or of another type."""
        value = self.values.get(field)
        return Fields(value if isinstance(value, dict) else {}, self.name(field))

    def children(self, field: str) -> Iterator[Fields]:
        """The objects of an array; none where it is missing or null. Raises FieldFault."""
        value = self.values.get(field)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.fault(field, "must be an array of objects")
        for place, each in enumerate(value):
            if not isinstance(each, dict):
                raise self.fault(f"{field}[{place}]", "must be an object")
            yield Fields(each, f"{self.name(field)}[{place}]")

    def id(self, field: str) -> str:
        """An id: a text that is not empty, or a whole number, as text. Raises FieldFault."""
        found = self.maybe_id(field)
        if found is None:
            raise self.fault(field, f"must be an id of 1 to {MAX_ID} characters")
        return found

    def maybe_id(self, field: str) -> str | None:
        """An id; None where it is missing, null, empty, 0 or false. Raises FieldFault for other types."""
        value = self.values.get(field)
        if value is None or value is False or value == "" or value == 0:
            return None
        if type(value) is int and 0 < value <= MAX_INTEGER:
            return str(value)
        if isinstance(value, str):
            value = value.strip()
            if 0 < len(value) <= MAX_ID and not _UNSTORABLE.search(value):
                return value
        raise self.fault(field, f"must be an id of 1 to {MAX_ID} characters")

    def id_or_object(self, field: str, *names: str) -> str | None:
        """An id, or the id in the object that stands there instead; names: its fields, in their order."""
        if not isinstance(self.values.get(field), dict):
            return self.maybe_id(field)
        expanded = self.child(field)
        return next((found for name in names if (found := expanded.maybe_id(name)) is not None), None)

    def text(self, field: str) -> str | None:
        """A text for people, cut where it is too long; None where there is none, or another type."""
        value = self.values.get(field)
        if not isinstance(value, str):
            return None
        return _UNSTORABLE.sub("\ufffd", value[:MAX_TEXT]).strip() or None

    def word(self, field: str) -> str:
        """A word of the platform's, such as a status. Raises FieldFault."""
        value = self.values.get(field)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
            raise self.fault(field, "must be a text")
        return value

    def flag(self, field: str, *, missing: bool | None = None) -> bool | None:
        """True or false; `missing` where it is missing or null. Raises FieldFault for other types."""
        value = self.values.get(field)
        if value is None:
            return missing
        if not isinstance(value, bool):
            raise self.fault(field, "must be true or false")
        return value

    def quantity(self, field: str, *, missing: int | None = 1) -> int:
        """How many: a whole number from 0. Raises FieldFault.

        missing: what null stands for; None makes it a fault.
        """
        value = self.values.get(field)
        if value is None and missing is not None:
            return missing
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value <= MAX_QUANTITY:
            raise self.fault(field, f"must be a whole number from 0 to {MAX_QUANTITY}")
        return value

    def seconds(self, field: str) -> int | None:
        """A time in seconds since 1970, in ms; None where it is missing. Raises FieldFault."""
        return self._moment(field, 1000)

    def milliseconds(self, field: str) -> int | None:
        """A time in ms since 1970; None where it is missing. Raises FieldFault."""
        return self._moment(field, 1)

    def _moment(self, field: str, factor: int) -> int | None:
        value = self.values.get(field)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value * factor <= LAST_MOMENT:
            raise self.fault(field, "must be a time since 1970")
        return value * factor

    def time(self, *fields: str) -> int | None:
        """A time of RFC 3339 in the first of the fields that is there, in ms. Without an offset it is UTC.

        None where all are missing or null. Raises FieldFault.
        """
        for field in fields:
            value = self.values.get(field)
            if value is None:
                continue
            found = read_time(value) if isinstance(value, str) else None
            if found is None:
                raise self.fault(field, "must be a time such as 2026-01-31T12:00:00Z")
            return found
        return None

    def money(self, field: str, currency: str | None) -> Money | None:
        """An amount in whole units; None where it or its currency is missing. Raises FieldFault."""
        amount = self.amount(field)
        return None if amount is None or currency is None else Money(amount, currency)

    def minor_money(self, field: str, currency: str | None) -> Money | None:
        """An amount in the currency's smallest unit (cents), as `money`. Raises FieldFault."""
        amount = self.amount(field)
        return None if amount is None or currency is None else Money(whole_units(amount, currency), currency)

    def amount(self, field: str) -> Decimal | None:
        """A number; None where it is missing. Raises FieldFault."""
        value = self.values.get(field)
        if value is None:
            return None
        if isinstance(value, int | float | str) and not isinstance(value, bool) and len(str(value)) <= 40:
            try:
                found = Decimal(str(value).strip())
            except InvalidOperation:
                found = Decimal("NaN")
            if found.is_finite() and abs(found) < 10**15 and abs(found.as_tuple().exponent) <= 20:  # type: ignore[arg-type]
                return found
        raise self.fault(field, "must be an amount")

    def currency(self, field: str) -> str | None:
        """A currency in three letters, upper case; None where it is missing or something else."""
        value = self.values.get(field)
        found = isinstance(value, str) and re.fullmatch("[A-Za-z]{3}", value)
        return found[0].upper() if found else None

    def country(self, field: str) -> str | None:
        """A country in two letters, upper case; None where it is missing or something else."""
        value = self.values.get(field)
        found = isinstance(value, str) and re.fullmatch("[A-Za-z]{2}", value)
        return found[0].upper() if found else None


_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)


def read_time(text: str) -> int | None:
    """A time of RFC 3339 in ms since 1970; without an offset it is UTC. None where it is none."""
    found = _TIME.fullmatch(text.strip()) if len(text) <= 64 else None
    if not found:
        return None
    day, clock, fraction, offset = found.groups()
    offset = "+00:00" if offset is None or offset in "Zz" else offset
    if len(offset) == 5:
        offset = f"{offset[:3]}:{offset[3:]}"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    milliseconds = int(moment.timestamp()) * 1000 + int((fraction or "0").ljust(3, "0")[:3])
    return milliseconds if milliseconds >= 0 else None


def whole_units(amount: Decimal, currency: str) -> Decimal:
    """An amount in a currency's smallest unit, in whole units: of 1250, EUR are 12.5 and JPY 1250."""
    places = 0 if currency in ZERO_DECIMALS else 3 if currency in THREE_DECIMALS else 2
    return amount.scaleb(-places)


def joined_name(*parts: str | None) -> str | None:
    """A person's name from its parts."""
    return " ".join(part for part in parts if part) or None


def identifiers(*pairs: tuple[ItemKey, str | None]) -> tuple[Identifier, ...]:
    """The identifiers of an item that there are, the most specific first as given."""
    return tuple(Identifier(key, value) for key, value in pairs if value)


def metadata_identifiers(fields: Fields) -> tuple[Identifier, ...]:
    """An identifier for each text of a flat object that the seller filled, in the order of its names."""
    return tuple(
        Identifier(ItemKey.METADATA, f"{name}={value}")
        for name, value in sorted(fields.values.items())
        if isinstance(value, str) and value and name
        if len(name) + len(value) < MAX_ID and not _UNSTORABLE.search(name + value)
    )
