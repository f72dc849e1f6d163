"""Fields of events: what is right, and what each fault says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import Identifier, ItemKey, Money
from gateway.platforms.fields import FieldFault, Fields, joined_name, metadata_identifiers, read_time
from tests.support.rows import each_row


@each_row(
    ("value", "found"),
    [
        ("a", "a"),
        (" a ", "a"),
        (5, "5"),
        (2**60, str(2**60)),
        ("", None),
        (0, None),
        (None, None),
        (False, None),
        (True, FieldFault),
        (1.5, FieldFault),
        (-5, FieldFault),
        (2**63, FieldFault),
        ("x" * 256, FieldFault),
        ("\0", FieldFault),
        ("\ud800", FieldFault),
        ([], FieldFault),
    ],
)
def test_ids(value: Any, found: Any) -> None:
    fields = Fields({"a": value}, "data")
    if found is FieldFault:
        with pytest.raises(FieldFault, match=r"^data\.a must be an id"):
            fields.maybe_id("a")
    else:
        assert fields.maybe_id("a") == found


@each_row(
    ("text", "moment"),
    [
        ("2026-09-21T13:00:00Z", 1789995600000),
        ("2026-09-21T13:00:00", 1789995600000),
        ("2026-09-21 13:00:00z", 1789995600000),
        ("2026-09-21T15:00:00+02:00", 1789995600000),
        ("2026-09-21T15:00:00+0200", 1789995600000),
        ("2026-09-21T13:00:00.123456789Z", 1789995600123),
        ("2026-09-21T13:00:00.5Z", 1789995600500),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59Z", None),
        ("2026-09-21", None),
        ("2026-02-30T00:00:00Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("٢٠٢٦-09-21T13:00:00Z", None),
        ("", None),
        ("2026-09-21T13:00:00Z" + " " * 100, None),
    ],
)
def test_times(text: str, moment: int | None) -> None:
    assert read_time(text) == moment


@each_row(
    ("value", "amount"),
    [
        (5, Decimal(5)),
        (29.95, Decimal("29.95")),
        ("29.95", Decimal("29.95")),
        ("-29.95", Decimal("-29.95")),
        (None, None),
        ("", FieldFault),
        ("NaN", FieldFault),
        ("Infinity", FieldFault),
        ("1e-999999", FieldFault),
        ("1e30", FieldFault),
        (True, FieldFault),
        ({}, FieldFault),
        ("9" * 41, FieldFault),
    ],
)
def test_amounts(value: Any, amount: Any) -> None:
    if amount is FieldFault:
        with pytest.raises(FieldFault, match="a must be an amount"):
            Fields({"a": value}).amount("a")
    else:
        assert Fields({"a": value}).amount("a") == amount


def test_money_needs_its_currency() -> None:
    fields = Fields({"a": 1250, "currency": "eur", "odd": "€"})
    assert fields.minor_money("a", fields.currency("currency")) == Money(Decimal("12.5"), "EUR")
    assert fields.minor_money("a", "JPY") == Money(Decimal(1250), "JPY")
    assert fields.minor_money("a", "TND") == Money(Decimal("1.25"), "TND")
    assert fields.money("a", fields.currency("odd")) is None


@pytest.mark.parametrize(("value", "quantity"), [(0, 0), (3, 3), (3.0, 3), (None, 1), (1_000_000, 1_000_000)])
def test_quantities(value: Any, quantity: int) -> None:
    assert Fields({"a": value}).quantity("a") == quantity


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, 1_000_001, float("1e300"), []])
def test_what_is_no_quantity(value: Any) -> None:
    with pytest.raises(FieldFault, match="a must be a whole number"):
        Fields({"a": value}).quantity("a")


def test_texts_for_people_are_cut_and_cleaned_never_refused() -> None:
    fields = Fields({"long": "x" * 5000, "nul": "a\0b\ud800", "number": 5, "blank": "  "})
    assert fields.text("long") == "x" * 1000
    assert fields.text("nul") == "a\ufffdb\ufffd"
    assert fields.text("number") is fields.text("blank") is fields.text("none") is None
    assert joined_name(None, "Ann", "") == "Ann"


def test_metadata_is_identifiers_in_the_order_of_its_names() -> None:
    values = {"b": "2", "a": "1", "number": 5, "empty": "", "": "x", "long": "x" * 300, "nul": "\0"}
    assert metadata_identifiers(Fields(values)) == (
        Identifier(ItemKey.METADATA, "a=1"),
        Identifier(ItemKey.METADATA, "b=2"),
    )
