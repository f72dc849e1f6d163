"""A line that says how much of a product was bought: the entitlement is narrowed to it."""

from __future__ import annotations

import pytest

from gateway.orders.entitlement_rules import grant
from gateway.orders.fact_text import read_fact, write_fact
from gateway.orders.facts import Identifier, ItemKey, Line
from gateway.orders.knowledge import collect, join
from gateway.orders.mappings import MappedProduct, Scope, Share
from gateway.orders.order_rules import decide
from tests.support.facts import ORDER_ID, snapshot

DRUMS = Identifier(ItemKey.PRODUCT, "drums")


@pytest.mark.parametrize(
    ("line", "share"),
    [
        (Line("1", (DRUMS,)), Share("drums")),
        (
            Line("1", (DRUMS,), scope="version", version="1.0"),
            Share("drums", Scope.VERSION, version="1.0"),
        ),
        (Line("1", (DRUMS,), scope="until", until=5), Share("drums", Scope.UNTIL, until=5)),
    ],
)
def test_a_line_narrows_what_its_product_gives(line: Line, share: Share) -> None:
    facts = join({}, [snapshot(1, line)])
    again = {key: read_fact(write_fact(part)) for key, part in facts.items()}
    assert again == facts, "it is kept"
    state = decide(collect(facts.values(), ORDER_ID))
    assert state is not None
    [given] = grant(state, {DRUMS: (MappedProduct("drums"),)}).grants
    assert given.share == share
