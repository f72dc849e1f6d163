"""Whatever a platform signs is read: no content is an exception, and the inbox' copy reads the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.orders.fact_text import read_fact, write_fact
from gateway.orders.facts import OrderSnapshot
from gateway.platforms.interface import MAX_BODY, Message, Reading
from gateway.platforms.registry import PLATFORMS
from tests.support.rows import each_row
from tests.support.webhooks import FIXTURES, NOW_MS, fixture

HEADERS = {
    "shopify": {"x-shopify-topic": "orders/paid", "x-shopify-webhook-id": "1"},
    "woocommerce": {"x-wc-webhook-topic": "order.updated"},
    "polar": {"webhook-id": "msg_1", "webhook-timestamp": "1790000000"},
}
BODIES = [
    (path.parent.name, path.read_bytes())
    for path in sorted(FIXTURES.glob("*/*"))
    if path.name not in ("refunds.json", "sale.json")
]
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**40, 1e300, "", " ", "x", "\0", "\ud800", "x" * 3000),
    *([], [None], [[]], [{}], {}, {"": ""}, {"id": {}}, {"data": [{}]}, "é" * 300, "2026-99-99T99:99:99Z"),
]


def deliver(kind: str, body: bytes) -> Message:
    return Message(tuple(HEADERS.get(kind, {}).items()), body, NOW_MS)


def _taken(found: Reading) -> tuple[object, ...]:
    """What the inbox needs of a reading."""
    event = found.event
    return event.dedupe_key, event.type, event.test, event.occurred_at, found.message, found.platform_id


def check(kind: str, body: bytes) -> None:
    told = PLATFORMS[kind].read(deliver(kind, body))
    untold = PLATFORMS[kind].read(deliver(kind, body), tells=False)
    assert [_taken(each) for each in told] == [_taken(each) for each in untold]
    for found in told:
        assert not (found.ignored and found.fault)
        assert not found.event.facts or not (found.ignored or found.fault)
        assert 0 < len(found.event.dedupe_key) <= 300
        assert 0 < len(found.event.type) <= 255
        assert PLATFORMS[kind].read(found.message) == (found,)
        for fact in found.event.facts:
            assert read_fact(json.loads(json.dumps(write_fact(fact)))) == fact
            json.dumps(write_fact(fact), ensure_ascii=False).encode()  # nothing that a database refuses
            assert "\\u0000" not in json.dumps(write_fact(fact))


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, as the way to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, each in inner for place in places(each, (*way, key)))]


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with something else at one place."""
    if not way:
        return new
    key, *rest = way
    if isinstance(value, dict):
        return {**value, key: put(value[key], tuple(rest), new)}
    return [put(each, tuple(rest), new) if place == key else each for place, each in enumerate(value)]


@each_row(("kind", "body"), BODIES, ids=[kind for kind, _ in BODIES])
def test_the_fixtures_are_read(kind: str, body: bytes) -> None:
    readings = PLATFORMS[kind].read(deliver(kind, body))
    assert all(not found.fault for found in readings)
    check(kind, body)


@each_row(("kind", "body"), BODIES, ids=[kind for kind, _ in BODIES])
def test_junk_at_any_place_is_no_exception(kind: str, body: bytes) -> None:
    if kind == "gumroad":
        return
    payload = json.loads(body)
    for number, way in enumerate(places(payload)):
        for junk in JUNK[number % 3 :: 3]:
            check(kind, json.dumps(put(payload, way, junk)).encode())


@each_row("kind", PLATFORMS)
@each_row(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1" * 5000,
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"id":1,"id":2}',
        b'"\\ud800"',
        b"{" + b" " * 1000,
    ],
)
def test_bodies_that_are_no_event(kind: str, body: bytes) -> None:
    check(kind, body)
    [found] = PLATFORMS[kind].read(deliver(kind, body))
    assert found.fault
    assert not found.event.facts


names = st.sampled_from(
    "id type data object events items line_items created live status meta attributes".split()  # noqa: SIM905
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(PLATFORMS)), values)
def test_any_json_is_read(kind: str, value: Any) -> None:
    check(kind, json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [("shopify", "order_paid", "line_items"), ("woocommerce", "order_updated", "line_items")],
)
def test_an_order_with_500_lines(kind: str, name: str, path: str) -> None:
    payload = fixture(kind, name)
    payload[path] = [{**payload[path][0], "id": number} for number in range(1, 501)]
    body = json.dumps(payload).encode()
    assert len(body) < MAX_BODY
    check(kind, body)
    [found] = PLATFORMS[kind].read(deliver(kind, body))
    snapshot = found.event.facts[0]
    assert isinstance(snapshot, OrderSnapshot)
    assert len(snapshot.lines or ()) == 500
