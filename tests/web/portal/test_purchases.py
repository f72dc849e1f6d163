"""The pages of purchases: what is bought is there, with versions and files, and what is not says why."""

from __future__ import annotations

import csv
import io

import pytest

from gateway.orders.states import OrderStatus
from gateway.web.portal.purchases import part_of
from tests.support.facts import line
from tests.support.portal import KIT, LIBRARY, Portal
from tests.support.rows import each_row

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_list_has_product_order_date_and_version(portal: Portal) -> None:
    visitor, email, purchase = await portal.buyer(number="#4711", placed_at=1_700_000_000_000)
    page = await visitor.get()
    assert page.status == 200
    for text in ("Epic Kit", "Order #4711", "Version 2.0"):
        assert text in page.words
    assert 'datetime="2023-11-14T22:13:20.000Z"' in page.text
    assert f'href="/my/purchases/{purchase}"' in page.text
    assert email in (await visitor.get("/account")).words


async def test_a_purchase_has_its_versions_notes_and_files(portal: Portal) -> None:
    visitor, _, purchase = await portal.buyer(number="#4712")
    page = await visitor.get(f"/purchases/{purchase}")
    for text in ("Epic Kit.zip", "2.0 KiB", "application/zip", "SHA-256", "Notes of 2.0.", "Notes of 1.0."):
        assert text in page.words
    assert page.words.index("Version 2.0") < page.words.index("Version 1.0")
    older = await visitor.get(f"/purchases/{purchase}?version=1.0")
    assert "1000 B" in older.words
    for query in (
        "version=9",
        "version=%00",
        "version=1.0%22%3E%3Cb%3E",
        "files=99999",
        "versions=-1",
        "files=x",
    ):
        assert (await visitor.get(f"/purchases/{purchase}?{query}")).status == 200


async def test_what_platforms_and_sellers_write_is_text(portal: Portal) -> None:
    bad = "<script>alert(1)</script>\u202e"
    visitor, _, purchase = await portal.buyer(LIBRARY, number=bad, name=f'"><img src=x>{bad}')
    visitor.agent = f"Firefox/1 Linux {bad}"
    page = await visitor.get(f"/purchases/{purchase}")
    order = page.text.partition("/my/orders/")[2].partition('"')[0]
    pages = [await visitor.get(), page, await visitor.get("/account"), await visitor.get(f"/orders/{order}")]
    sent = {"version": "1", "file": "1"}
    pages.append(await visitor.post(f"/purchases/{purchase}/continue", **sent))
    for each in pages:
        assert each.status == 200
        for text in ("<script>alert", "<img", "\u202e", "<b>&"):
            assert text not in each.text
    assert "Library <b>& more</b>" in page.words
    assert "[U+202E]" in page.words


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (OrderStatus.CANCELLED, "The order was cancelled"),
        (OrderStatus.REFUNDED, "The money was returned"),
        (OrderStatus.CHARGED_BACK, "The payment was charged back"),
        (OrderStatus.DISPUTED, "The payment is disputed"),
    ],
)
async def test_what_cannot_be_downloaded_says_why(portal: Portal, status: OrderStatus, text: str) -> None:
    visitor, email, purchase = await portal.buyer(order_id=f"why-{status}")
    await portal.buy(email, order_id=f"why-{status}", status=status, as_of=1_800_000_000_000)
    page = await visitor.get(f"/purchases/{purchase}")
    assert page.status == 200
    assert text in page.words
    assert page.values("file") == []
    refused = await visitor.post(f"/purchases/{purchase}/download", version="2.0", file="0")
    assert (refused.status, refused.location) == (303, f"/my/purchases/{purchase}")
    for path in ("continue", "list"):
        answer = await visitor.post(f"/purchases/{purchase}/{path}", version="2.0", file="0", list="aria2")
        assert (answer.status, answer.location) == (303, f"/my/purchases/{purchase}")
    assert (await visitor.get(f"/purchases/{purchase}/SHA256SUMS?version=2.0")).status == 404


async def test_an_item_that_nobody_has_mapped_is_announced(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email, line("1", "sku:unknown", title="Strings"), number="#77")
    page = await (await portal.signed_in(email)).get()
    assert "Strings" in page.words
    assert "has not said yet which download this is" in page.words


@pytest.mark.slow
async def test_many_purchases_are_searched_and_shown_in_pages(portal: Portal) -> None:
    email = portal.address()
    for number in range(23):
        await portal.buy(
            email, LIBRARY if number == 7 else KIT, number=f"N{number:03}", placed_at=1000 + number
        )
    visitor = await portal.signed_in(email)
    first, second = await visitor.get(), await visitor.get("/?page=2")
    assert "N022" in first.words
    assert "N002" not in first.words
    assert "N002" in second.words
    found = await visitor.get("/?q=LIBRARY")
    assert ("N007" in found.words, "N006" in found.words) == (True, False)
    assert "N013" in (await visitor.get("/?q=n013")).words
    nothing = await visitor.get("/?q=%3Cscript%3E")
    assert "Nothing that you have bought is called like that" in nothing.words
    assert "<script>" not in nothing.text.replace("<script src=", "")
    rows = list(csv.DictReader(io.StringIO((await visitor.get("/purchases.csv")).text)))
    assert len(rows) == 23
    assert (rows[0]["product"], rows[0]["order"], rows[0]["status"]) == ("Epic Kit", "N022", "active")
    assert len(first.text.encode()) < 60_000


async def test_the_first_visit_of_somebody_without_purchases(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email, status=OrderStatus.PENDING)
    page = await (await portal.signed_in(email)).get()
    assert "Nothing was bought with" in page.words


@each_row(
    ("count", "page", "items", "before", "after"),
    [
        (0, "", [], 0, 0),
        (3, "1", [0, 1, 2], 0, 0),
        (7, "", [0, 1, 2], 0, 2),
        (7, "2", [3, 4, 5], 1, 3),
        (7, "3", [6], 2, 0),
        (7, "9", [6], 2, 0),
        (7, "0", [0, 1, 2], 0, 2),
        (7, "-1", [0, 1, 2], 0, 2),
        (7, "²", [0, 1, 2], 0, 2),
        (7, "9" * 5000, [0, 1, 2], 0, 2),
    ],
)
async def test_a_page_of_a_list(count: int, page: str, items: list[int], before: int, after: int) -> None:
    assert tuple(part_of(range(count), page, 3)) == (range(count)[slice(*_span(items))], before, after, count)


def _span(items: list[int]) -> tuple[int, int]:
    return (items[0], items[-1] + 1) if items else (0, 0)


async def test_the_receipt_has_what_was_bought_and_paid(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(
        email, line("1", "product:kit", title="Kit, 3 places", quantity=3), number="#9", name="Ann B"
    )
    visitor = await portal.signed_in(email)
    [purchase] = await portal.purchases(email)
    page = await visitor.get(f"/purchases/{purchase}")
    order = page.text.partition("/my/orders/")[2].partition('"')[0]
    receipt = await visitor.get(f"/orders/{order}")
    for text in ("Receipt of order #9", "Kit, 3 places", "Ann B", email, "Paid"):
        assert text in receipt.words
