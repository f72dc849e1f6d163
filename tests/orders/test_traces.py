"""Where a person is mentioned: every spelling, and nobody else."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest

from gateway.orders.traces import Traces, has_address, spellings
from tests.support.rows import each_row

ANN = Traces(["ann@münchen.example"], ["Jürgen  Ann Lee", "Ann"], ["cus_12345678", "1001", "20260101"])
ADDRESS, NAME = "ann@münchen.example", "Jürgen Ann Lee"
PUNYCODE = "ann@xn--mnchen-3ya.example"


@each_row(
    "text",
    [
        ADDRESS,
        ADDRESS.upper(),
        PUNYCODE,
        PUNYCODE.upper(),
        "Ann@MÜNCHEN.example",
        "ann@mu\u0308nchen.example",
        f"<{ADDRESS}>,",
        f"mail to {ADDRESS}.",
        f"email={quote(ADDRESS)}&x=1",
        f"email={quote(quote(PUNYCODE))}",
        json.dumps({"email": ADDRESS}),
        json.dumps({"email": PUNYCODE}).replace("@", "\\u0040"),
        "ann&#64;xn--mnchen-3ya.example",
        "ann&#x40;m&uuml;nchen.example",
        NAME,
        NAME.upper(),
        json.dumps(NAME),
        f"full_name={quote_plus(NAME)}",
        f"name={quote(NAME)}&a=b c",
        '{"customer": "cus_12345678"}',
    ],
)
def test_the_person_is_found_in_every_spelling(text: str) -> None:
    assert ANN.are_in(text)
    assert ANN.are_in(text.encode())


@each_row(
    "text",
    [
        "",
        "jo" + ADDRESS,
        "jo.ann@xn--mnchen-3ya.example",
        "jo+ann@xn--mnchen-3ya.example",
        ADDRESS + ".au",
        PUNYCODE + "-x",
        "ann@example.com",
        "Ann",  # one word is in too many texts
        "Jürgen Ann Leeds",
        "order 1001 of 20260101",  # so are short numbers
        "cus_123456789",
    ],
)
def test_nobody_else_is(text: str) -> None:
    assert not ANN.are_in(text)


def test_bytes_that_are_no_text_are_looked_through() -> None:
    assert ANN.are_in(b"\xff\x00" + PUNYCODE.encode() + b"\xfe")
    assert not Traces([]).are_in("anything")


def test_an_address_has_its_spellings() -> None:
    assert {ADDRESS, PUNYCODE} <= spellings(PUNYCODE) == spellings(ADDRESS)
    assert spellings("a@b") == {"a@b"}


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("email=ann@example.com", True),
        ("email=ann%40example.com", True),
        ("a\\u0040example.com", True),
        ("7", False),
        ("@handle", False),
        ("drums@1.0", True),
        ("variant 3", False),
    ],
)
def test_whatever_looks_like_an_address(text: str, has: bool) -> None:
    assert has_address(text) is has
