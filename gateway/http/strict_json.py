"""Reading JSON that comes from others strictly, in work that grows with its length only.

A text that two readers could understand differently is refused, and no text can crash its reader. Each of
these is a fault: invalid UTF-8, a byte order mark, duplicate names (RFC 8259 section 4 leaves their meaning
open), too many names in one object, NaN and Infinity, numbers that are too long, nesting that is too deep, an
empty text. Whoever reads the values checks the rest: which fields there are, of which types.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final, NoReturn

MAX_MEMBERS: Final = 1000
"""Names of one object. The largest that the APIs accept, metadata of 4 KiB, has some 700; the largest of a
platform, an order of Shopify, some 120."""
MAX_NUMBER_CHARACTERS: Final = 1000
"""The longest number that is converted, which takes 10 µs. None above 2^53 is accepted, but up to here the
refusal names the field."""
MAX_DEPTH: Final = 64
"""Objects and arrays inside one another. Our own bodies have 3, those of platforms up to 9. What walks
through values by recursion has room for 16 times as many."""


class JsonFault(ValueError):
    """The text is not JSON, or not acceptable; its own text is one sentence, which quotes no value."""


def parse(body: bytes) -> Any:
    """The value of a JSON text. Raises JsonFault."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise JsonFault("The body is not UTF-8.") from None
    if text.startswith("\ufeff"):
        raise JsonFault("The body begins with a byte order mark (BOM), which JSON does not allow.")
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise JsonFault(f"The body is not JSON: the fault is at {position}.") from None
    except RecursionError:
        raise JsonFault("The body is nested too deeply.") from None
    except _AmbiguousError as error:
        raise JsonFault(f"The body cannot be accepted: {error}.") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise JsonFault("The body is nested too deeply.")
    return value


def _is_deeper(value: Any, most: int) -> bool:
    """Whether more than `most` containers are inside one another. Each value is looked at once, by levels."""
    level = [value]
    for _ in range(most):
        inner: list[Any] = []
        for each in level:
            if type(each) is dict:
                inner += [member for member in each.values() if type(member) in (dict, list)]
            elif type(each) is list:
                inner += [item for item in each if type(item) in (dict, list)]
        if not inner:
            return False
        level = inner
    return True


class _AmbiguousError(Exception):
    """JSON that two readers could understand differently, or not at all."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise _AmbiguousError(f"an object has more than {MAX_MEMBERS} names")
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _AmbiguousError(f"the name {repeated[:100]!r} appears twice in one object")
    return members


def _read_integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARACTERS:
        raise _AmbiguousError("a number is too long")
    return int(digits)


def _read_fraction(text: str) -> float:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise _AmbiguousError("a number is too long")
    return float(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"{name} is not a number in JSON")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_read_integer,
    parse_float=_read_fraction,
    parse_constant=_refuse_constant,
).decode
