"""Webhooks while database, store or clock fail: they are taken later, and nothing is doubled or lost."""

from __future__ import annotations

import itertools
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.config.database_url import DATABASE_FILE
from tests.support.platform_stories import shopify, stripe
from tests.support.storefront import DRUMS, Storefront
from tests.support.waiting import wait_until
from tests.support.webhooks import changed

NUMBERS = itertools.count(2000)


def sell(storefront: Storefront) -> tuple[dict[str, object], str]:
    """Sell one order in a new shop. Returns its entitlement of drums, and a link."""
    shop, story = storefront.connect("shopify"), shopify(next(NUMBERS))
    storefront.map(shop, story.items)
    storefront.deliver_until_taken(shop, *story.bought)
    entitlement = storefront.becomes(story.email, status="active", quantity=3)
    return entitlement, storefront.minted(entitlement)


@contextmanager
def database_full(storefront: Storefront) -> Iterator[None]:
    """The web process cannot make the file of SQLite longer; on PostgreSQL no connection may be made."""
    if storefront.postgres is not None:
        with storefront.database_away():
            yield
        return
    pid, size = storefront.web_pid(), (storefront.data / DATABASE_FILE).stat().st_size
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["away", "full"])
def test_a_webhook_is_503_while_the_database_fails_and_is_taken_afterwards(
    storefront: Storefront, fault: str
) -> None:
    shop, story = storefront.connect("shopify"), shopify(next(NUMBERS))
    storefront.map(shop, story.items)
    _, link = sell(storefront)
    order, headers = story.bought
    long = changed(order, note="x" * 500_000)  # no room for it is left in the file
    with storefront.database_away() if fault == "away" else database_full(storefront):
        assert storefront.deliver(shop, long, headers) == 503
        assert storefront.deliver(shop, long, headers) == 503
        assert storefront.probe(link) == 206, "downloads go on"
    storefront.deliver_until_taken(shop, long, headers)
    storefront.deliver_until_taken(shop, long, headers)
    storefront.becomes(story.email, status="active", quantity=3)
    wait_until(lambda: [each["state"] for each in storefront.events(shop)] == ["applied"], "it is applied")


@pytest.mark.slow
def test_connections_that_the_database_breaks_off_lose_nothing(storefront: Storefront) -> None:
    if storefront.postgres is None:
        pytest.skip("a file breaks off no connections")
    shop = storefront.connect("shopify")
    stories = [shopify(next(NUMBERS)) for _ in range(10)]
    storefront.map(shop, stories[0].items)
    for story in stories:
        storefront.postgres.terminate()
        storefront.deliver_until_taken(shop, *story.bought)
        storefront.postgres.terminate()
        storefront.deliver_until_taken(shop, *story.one_refunded)
    for story in stories:
        storefront.becomes(story.email, status="active", quantity=2)
    wait_until(lambda: {each["state"] for each in storefront.events(shop)} == {"applied"}, "all are applied")
    assert len(storefront.events(shop)) == 20


@pytest.mark.slow
def test_a_store_that_is_emptied_gets_its_catalogue_and_keys_back(storefront: Storefront) -> None:
    entitlement, link = sell(storefront)
    with storefront.downloading(link) as download:
        assert storefront.call_store("FLUSHALL").startswith(b"+OK")
        wait_until(lambda: storefront.admin("GET", "/products")[0] == 200, "the key is there again")
        wait_until(lambda: storefront.mint(entitlement)[0] == 200, "the product is there again")
        assert storefront.probe(link) == 403, "live tokens are what it costs"
        assert storefront.probe(storefront.minted(entitlement)) == 206
        assert download.read_rest() == len(DRUMS)


@pytest.mark.slow
def test_a_clock_that_is_an_hour_off_is_told(storefront: Storefront) -> None:
    """Times of signatures are compared with ours, and the connection says what is wrong."""
    shop, story = storefront.connect("stripe"), stripe(next(NUMBERS))
    try:
        for seconds, reason in ((3600, "more than 300 seconds ago"), (-3600, "300 seconds ahead")):
            storefront.faults.shift_clock(seconds)
            assert storefront.deliver(shop, *story.bought) == 401

            def told(text: str = reason) -> bool:
                _, answer = storefront.admin("GET", f"/connections/{shop['id']}")
                return text in (answer["connection"]["lastError"] or "")

            wait_until(told, "the connection says why")
        assert storefront.events(shop) == []
    finally:
        storefront.faults.shift_clock(0)
    assert storefront.deliver(shop, *story.bought) == 200


@pytest.mark.slow
def test_an_order_with_500_lines(storefront: Storefront) -> None:
    shop, story = storefront.connect("shopify"), shopify(next(NUMBERS))
    storefront.map(shop, story.items)
    order, headers = story.bought
    first = order["line_items"][0]
    order = {**order, "line_items": [{**first, "id": first["id"] + 10 * place} for place in range(500)]}
    assert storefront.deliver(shop, order, headers) == 200
    wait_until(
        lambda: len(storefront.order(shop, story.order_id).get("lines", [])) == 500, "all are there", 120
    )
    lines = storefront.order(shop, story.order_id)["lines"]
    assert len({identifier for line in lines for identifier in line["entitlementIds"]}) == 500
    refunded = {**order, "financial_status": "refunded", "updated_at": "2026-09-21T18:00:00+02:00"}
    assert storefront.deliver(shop, refunded, {**headers, "x-shopify-webhook-id": "all"}) == 200
    wait_until(
        lambda: (
            {each["status"] for each in storefront.listed("entitlements", email=story.email)} == {"revoked"}
        ),
        "all are revoked",
        120,
    )


@pytest.mark.slow
def test_events_that_are_sent_again_after_a_restore_converge(storefront: Storefront) -> None:
    shop = storefront.connect("shopify")
    before, after = shopify(next(NUMBERS)), shopify(next(NUMBERS))
    storefront.map(shop, before.items)
    storefront.deliver_until_taken(shop, *before.bought)
    storefront.becomes(before.email, status="active", quantity=3)
    database = storefront.variables.get("GATEWAY_DATABASE_URL")
    assert database or (storefront.data / DATABASE_FILE).exists()
    storefront.ask("backup", "yesterday.backup")
    for message in (before.one_refunded, after.bought):
        storefront.deliver_until_taken(shop, *message)
    storefront.becomes(before.email, status="active", quantity=2)
    storefront.becomes(after.email, status="active", quantity=3)
    storefront.ask("restore", "yesterday.backup", "--yes")
    storefront.becomes(before.email, status="active", quantity=3)
    assert storefront.entitlements(after.email) == {}
    for message in (before.one_refunded, after.bought, before.one_refunded, before.bought):
        storefront.deliver_until_taken(shop, *message)
    storefront.becomes(before.email, status="active", quantity=2)
    storefront.becomes(after.email, status="active", quantity=3)


@pytest.mark.slow
def test_20000_junk_webhooks_are_refused_and_stored_nowhere(storefront: Storefront) -> None:
    shop, story = storefront.connect("shopify"), shopify(next(NUMBERS))
    pid = storefront.web_pid()

    def memory() -> int:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    storefront.send_junk(shop, 1000)
    begin = memory()
    statuses = storefront.send_junk(shop, 19_000)
    assert statuses == {401: 19_000}
    assert memory() - begin < 8 << 20
    assert storefront.events(shop) == []
    assert storefront.deliver(shop, *story.bought) == 200

    def counted() -> bool:
        _, answer = storefront.admin("GET", f"/connections/{shop['id']}")
        return bool(answer["connection"]["refused"] == 20_000)

    wait_until(counted, "they are counted")


@pytest.mark.slow
def test_a_machine_whose_processes_are_all_killed_goes_on(storefront: Storefront) -> None:
    entitlement, link = sell(storefront)
    storefront.stop(signal.SIGKILL)
    storefront.open()
    assert storefront.probe(link) == 206
    assert storefront.mint(entitlement)[0] == 200
