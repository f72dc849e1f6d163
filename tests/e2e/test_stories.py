"""An order's whole life on each platform, through real processes: bought, mapped, refunded, disputed."""

from __future__ import annotations

import itertools

import pytest

from tests.support.platform_stories import STORIES
from tests.support.storefront import BROKEN_SECONDS, DRUMS, REFUSED_SECONDS, Storefront
from tests.support.timing import lasts
from tests.support.waiting import wait_until

NUMBERS = itertools.count(1)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("kind", STORIES)
def test_from_the_sale_to_the_refund_and_through_a_dispute(storefront: Storefront, kind: str) -> None:
    options = {
        "stripe": {"apiKey": "rk_live_tests"},
        "woocommerce": {"apiKey": "ck_tests:cs_tests", "shopUrl": storefront.api.url},
    }  # these are asked for what their webhooks do not have
    shop = storefront.connect(kind, **options.get(kind, {}))
    first, second = STORIES[kind](next(NUMBERS)), STORIES[kind](next(NUMBERS))
    storefront.api.answers |= first.answers | second.answers

    assert storefront.deliver(shop, *first.bought) == 200
    wait_until(lambda: len(storefront.order(shop, first.order_id).get("lines", [])) == 2, "it is there")
    lines = storefront.order(shop, first.order_id)["lines"]
    assert [(line["quantity"], line["refunded"], line["waits"]) for line in lines] == [
        (3, 0, True),
        (1, 0, True),
    ]
    waiting = {
        (each["key"], each["value"])
        for each in storefront.listed("unmapped", limit="200")
        if each["connectionId"] == shop["id"]
    }
    assert waiting == set(first.items)
    assert storefront.entitlements(first.email) == {}
    storefront.map(shop, first.items)
    drums = storefront.becomes(first.email, status="active", quantity=3)
    storefront.becomes(first.email, "loops.bin", status="active", quantity=1)
    link = storefront.minted(drums)
    assert storefront.fetch(link) == DRUMS

    assert storefront.deliver(shop, *first.one_refunded) == 200
    if first.left == 3:
        wait_until(lambda: storefront.order(shop, first.order_id)["unassignedRefunds"], "the amount is shown")
    storefront.becomes(first.email, status="active", quantity=first.left)
    assert storefront.probe(link) == 206

    with storefront.downloading(link) as download:
        assert storefront.deliver(shop, *first.all_refunded) == 200
        with lasts(most=BROKEN_SECONDS):
            with lasts(most=REFUSED_SECONDS):
                wait_until(lambda: storefront.probe(link) == 403, "the link is refused")
            wait_until(download.is_broken, "the download ends")
    for product in ("drums.bin", "loops.bin"):
        gone = storefront.becomes(first.email, product, status="revoked")
        status, answer = storefront.mint(gone)
        assert (status, answer["code"]) == (409, "entitlement_not_active")
    assert storefront.order(shop, first.order_id)["status"] == "refunded"

    assert storefront.deliver(shop, *second.bought) == 200
    drums = storefront.becomes(second.email, status="active", quantity=3)
    link = storefront.minted(drums)
    assert storefront.deliver(shop, *second.disputed) == 200
    storefront.becomes(second.email, status="suspended")
    with lasts(most=REFUSED_SECONDS):
        wait_until(lambda: storefront.probe(link) == 403, "the link is refused")
    status, answer = storefront.mint(drums)
    assert (status, answer["code"]) == (409, "entitlement_not_active")
    assert storefront.deliver(shop, *second.won) == 200
    drums = storefront.becomes(second.email, status="active", quantity=3)
    assert storefront.probe(link) == 403
    assert storefront.probe(storefront.minted(drums)) == 206
    wait_until(lambda: {each["state"] for each in storefront.events(shop)} == {"applied"}, "all are applied")
