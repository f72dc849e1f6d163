"""Parsing JSON: every wrong body is a problem. Over HTTP see tests/web/api and tests/mint."""

from __future__ import annotations

import pytest

from gateway.http.strict_json import MAX_MEMBERS
from gateway.web.bodies import parse_json
from gateway.web.problems import Problem


@pytest.mark.parametrize(
    "text",
    [
        b"1" * 5000,
        b"1" * 60_000,
        b"0." + b"1" * 60_000,
        b"[" * 100_000,
        b"\xff",
        b"NaN",
        b'{"a":1,"a":1}',
        b"",
    ],
)
def test_parsing_never_fails_otherwise(text: bytes) -> None:
    with pytest.raises(Problem):
        parse_json(text)


def test_an_object_has_a_bound_on_its_names() -> None:
    text = ",".join(f'"{number}":1' for number in range(MAX_MEMBERS + 1))
    with pytest.raises(Problem, match="invalid_request"):
        parse_json(f"{{{text}}}".encode())


def test_what_is_unambiguous_is_parsed() -> None:
    assert parse_json(b' {"a": [1, 2.5, true, null, "\\u00e9"], "b": {"a": 1}} ') == {
        "a": [1, 2.5, True, None, "é"],
        "b": {"a": 1},
    }
