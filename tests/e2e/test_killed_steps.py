"""`kill -9` of the web process between every two steps of an event: nothing is lost, nothing doubled."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest

from tests.support.faults import POINTS
from tests.support.platform_stories import Story, shopify
from tests.support.storefront import Storefront
from tests.support.waiting import wait_until

NUMBERS = itertools.count(1000)


def kill_at(storefront: Storefront, shop: dict[str, Any], point: str, sold: Story, refunded: Story) -> None:
    """Kill the web process at a point, while one order is sold, or another is refunded."""
    storefront.deliver_until_taken(shop, *refunded.bought)
    entitlement = storefront.becomes(refunded.email, status="active", quantity=3)
    links = [storefront.minted(entitlement) for _ in range(3)]
    armed = storefront.faults.arm(point)
    is_sold = not point.startswith("revocation")
    message = sold.bought if is_sold else refunded.all_refunded
    # a platform that got no answer sends the same again; one that got it does so now and then
    storefront.deliver_until_taken(shop, *message)
    wait_until(lambda: not armed.exists(), f"it was killed at {point}", 30)
    storefront.deliver_until_taken(shop, *message)
    if is_sold:
        storefront.becomes(sold.email, status="active", quantity=3)
        storefront.becomes(sold.email, "loops.bin", status="active", quantity=1)
        storefront.deliver_until_taken(shop, *refunded.all_refunded)
    storefront.becomes(refunded.email, status="revoked", quantity=0)
    for link in links:
        wait_until(partial(has_ended, storefront, link), f"{link} ends after {point}")


def has_ended(storefront: Storefront, link: str) -> bool:
    return storefront.probe(link) == 403


@pytest.mark.slow
def test_an_event_survives_a_kill_at_every_step(storefront: Storefront) -> None:
    shop = storefront.connect("shopify")
    stories = [shopify(next(NUMBERS)) for _ in range(2 * len(POINTS))]
    storefront.map(shop, stories[0].items)
    for point, sold, refunded in zip(POINTS, stories[::2], stories[1::2], strict=True):
        kill_at(storefront, shop, point, sold, refunded)
    told = {
        headers["x-shopify-webhook-id"] for each in stories for _, headers in (each.bought, each.all_refunded)
    }

    def applied() -> list[dict[str, Any]]:
        found = storefront.events(shop, limit="200")
        return found if {each["state"] for each in found} == {"applied"} else []

    events = wait_until(applied, "all are applied")
    keys = [each["dedupeKey"] for each in events]
    assert len(keys) == len(set(keys))
    assert set(keys) <= told
