"""The shapes of what is announced: those that docs/webhooks.md shows, bounded, and without persons."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.webhooks.outbox.announcements import (
    FIELDS,
    MOST_CHARACTERS,
    MOST_ITEMS,
    EventType,
    announce_as,
)
from gateway.webhooks.sending import encode_body

DOCUMENT = Path(__file__).parents[3] / "docs" / "webhooks.md"


@pytest.mark.parametrize("kind", EventType)
def test_every_field_is_there_whatever_is_known(kind: EventType) -> None:
    assert announce_as(kind, 1, {}).data == dict.fromkeys(FIELDS[kind])


def test_a_field_that_is_not_of_the_type_is_a_defect() -> None:
    with pytest.raises(KeyError):
        announce_as(EventType.ORDER_PAID, 1, {"email": "ann@example.com"})


def test_a_customer_is_named_by_an_id_only() -> None:
    by_id = announce_as(EventType.TOKEN_CREATED, 1, {}, customer="01m8ha41ekbt8je95d2qs4bga7")
    by_mark = announce_as(EventType.TOKEN_CREATED, 1, {}, customer="m:0123456789abcdef")
    assert (by_id.data["customerId"], by_mark.data["customerId"]) == (by_id.customer, None)


def test_a_body_is_bounded() -> None:
    data = dict.fromkeys(FIELDS[EventType.ORDER_PAID], "😀" * 10000)
    told = announce_as(EventType.ORDER_PAID, 1, {**data, "productIds": ["x" * 10_000] * 10_000})
    assert len(told.data["number"]) == MOST_CHARACTERS
    assert len(told.data["productIds"]) == MOST_ITEMS
    plain = dict.fromkeys(FIELDS[EventType.ORDER_PAID], "x" * 10000)
    usual = announce_as(EventType.ORDER_PAID, 1, {**plain, "productIds": ["x" * 10_000] * 10_000})
    assert len(encode_body(usual.type, 1, usual.data)) < 20_000


def test_the_document_shows_each_type_with_all_its_fields() -> None:
    examples = [
        json.loads(each) for each in re.findall(r"```json\n(\{.*?\})\n```", DOCUMENT.read_text(), re.S)
    ]
    shown = {each["type"]: each for each in examples if "type" in each}
    assert set(shown) == {each.value for each in EventType}
    for kind, example in shown.items():
        assert list(example) == ["type", "timestamp", "data"]
        assert set(example["data"]) == set(FIELDS[EventType(kind)]), kind
