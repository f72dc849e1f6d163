"""Types of columns that mean the same on SQLite and on PostgreSQL.

    Moment   a point in time: milliseconds since 1970 UTC, as an integer, here and in the database. The store
             has the same, it sorts as time does, and no time zone can be lost on the way
    Json     a value of JSON, as text. No operator of the database looks into it. Text is written in ASCII
             with escapes, because PostgreSQL refuses U+0000 and lone surrogates, which shops do send

Bytes that came from outside (webhooks, manifests) are kept as LargeBinary, unchanged.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Final

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from gateway.config.units import LAST_MOMENT

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_ID_LENGTH: Final = 26


class InvalidValue(ValueError):
    """A value that a column does not take. The text is ours, and does not have the value."""


class Moment(TypeDecorator[int]):
    """Milliseconds since 1970 UTC, from the year 1970 to 9999."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Refuse what is no count of milliseconds, such as seconds with a fraction or a datetime."""
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= LAST_MOMENT:
            raise InvalidValue("a moment is a whole number of milliseconds since 1970 UTC")
        return value


class Json(TypeDecorator[Any]):
    """A value of JSON. None is JSON's null where the column allows no NULL, and NULL where it does."""

    impl = Text
    cache_ok = True

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__()
        self.nullable = nullable

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write the value."""
        if value is None and self.nullable:
            return None
        return _ENCODER.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read the value."""
        return None if value is None else json.loads(value)


def now() -> int:
    """Return this moment by the clock of this machine. It dates records; no right depends on it."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A new identifier: 26 characters of [0-9a-z], of which the first ten are the moment.

    So they sort by the moment they were made, which keeps indexes and pages in order. 80 bits are random:
    nobody can guess one. (https://github.com/ulid/spec, in lower case)
    """
    number = now() << 80 | secrets.randbits(80)
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(5 * (_ID_LENGTH - 2), -1, -10)])
