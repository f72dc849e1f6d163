"""JSON from others: what is ambiguous or boundless is a fault, and every fault is the same exception."""

from __future__ import annotations

import pytest

from gateway.http.strict_json import MAX_DEPTH, MAX_MEMBERS, MAX_NUMBER_CHARACTERS, JsonFault, parse
from tests.support.rows import each_row


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


@each_row(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "line 1, column 2"),
        (b"\xff", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"NaN", "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'{"b": [{"a": 1, "\\u0061": 2}]}', "'a' appears twice"),
        (b"1" * (MAX_NUMBER_CHARACTERS + 1), "number is too long"),
        (b"0." + b"1" * MAX_NUMBER_CHARACTERS, "number is too long"),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (nested(MAX_DEPTH + 1), "nested too deeply"),
        (nested(MAX_DEPTH + 1, '{"a":', "}"), "nested too deeply"),
        (nested(MAX_DEPTH + 1, '[1, {"b": 2}, ', ", []]"), "nested too deeply"),
        (
            ("{" + ",".join(f'"{number}":1' for number in range(MAX_MEMBERS + 1)) + "}").encode(),
            f"more than {MAX_MEMBERS} names",
        ),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(JsonFault, match=says):
        parse(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (
            b' {"a": [1, 2.5, true, null, "\\u00e9"], "b": {"a": 1}} ',
            {"a": [1, 2.5, True, None, "é"], "b": {"a": 1}},
        ),
        (b"820982911946154508", 820982911946154508),
        (b"[" + b"[]," * 1000 + b"[]]", [[]] * 1001),
        (b'"' + b"[" * 1000 + b'"', "[" * 1000),
    ],
    ids=["usual", "beyond a double", "wide, not deep", "brackets in a text"],
)
def test_what_is_read(body: bytes, value: object) -> None:
    assert parse(body) == value


def test_the_deepest_that_is_read() -> None:
    value = parse(nested(MAX_DEPTH))
    for _ in range(MAX_DEPTH):
        [value] = value
    assert value == 1
