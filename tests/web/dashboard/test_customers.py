"""*Customers* in the dashboard: found, shown whole, granted, revoked, moved, exported, erased."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import OUTBOX_MAIL
from gateway.secrets import token_id
from gateway.usage.known_tokens import KnownToken
from gateway.usage.repository import apply_events
from gateway.web.dashboard import customers
from tests.support.control_plane import PUBLIC_URL, Api
from tests.support.dashboard import Answer, Visitor, open_database_of
from tests.support.usage import FILE, event

NAUGHTY = "\"><script>alert(1)</script>'\u202e"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database_of(settings) as found:
        yield found


async def buy(api: Api, order: str = "A-1", email: str = "ann@example.com", **changes: Any) -> str:
    """An order of drums. Returns the customer's id."""
    body = {
        "customer": {"email": email, "name": NAUGHTY},
        "status": "paid",
        "number": f"#{order}",
        "lines": [{"id": "1", "productId": "drums"}],
        **changes,
    }
    status, answer, _ = await api.ask("PUT", f"/api/orders/zapier/{order}", body)
    assert status in (200, 201), answer
    return str(answer["order"]["customer"]["id"])


async def right_of(api: Api, email: str = "ann@example.com") -> dict[str, Any]:
    """The newest entitlement of an address."""
    _, answer, _ = await api.ask("GET", f"/api/entitlements?email={email}")
    return dict(answer["entitlements"][-1])


async def test_customers_are_found(api: Api, owner: Visitor) -> None:
    assert "come with the first order" in (await owner.get("/customers")).text
    ann = await buy(api)
    await buy(api, "B-1", "ben@example.com")
    page = await owner.get("/customers")
    assert "ann@example.com" in page.text
    assert "ben@example.com" in page.text
    assert "<script>" not in page.text
    page = await owner.get("/customers?q=ann")
    assert f"/customers/{ann}" in page.text
    assert "ben@example.com" not in page.text
    assert "ben@example.com" in (await owner.get("/customers?q=B-1")).text
    assert (
        "'\"" in (await owner.get("/customers.csv")).text
        or "script" in (await owner.get("/customers.csv")).text
    )


async def test_a_customer_is_shown_whole(api: Api, owner: Visitor, database: Database) -> None:
    customer = await buy(api)
    right = await right_of(api)
    minted = await api.ask("POST", f"/api/entitlements/{right['id']}/download-url", {})
    token = token_id(minted[1]["downloadToken"])
    file = FILE._replace(name=NAUGHTY)
    known = {token: KnownToken(right["id"], customer, test=False)}
    async with database.writing() as sql:
        await apply_events(sql, [event(0, token=token, file=file, agent=NAUGHTY)], known)
    page = await owner.get(f"/customers/{customer}")
    assert page.status == 200
    for text in ("ann@example.com", "#A-1", "drums", "all versions", "Active", token[:8], "Paid"):
        assert text in page.text
    assert "<script>" not in page.text
    assert "\u202e" not in page.text


async def test_a_product_is_granted_with_a_reason(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    given = {"productId": "drums", "scope": "version", "version": "2.0.0", "reason": NAUGHTY}
    page = await owner.send(f"/customers/{customer}/grant", **given)
    assert "granted" in page.notice
    right = await right_of(api)
    assert (right["scope"], right["version"], right["reason"]) == ("version", "2.0.0", NAUGHTY)
    assert "<script>" not in page.text
    given = {"productId": "drums", "scope": "until", "until": "2027-01-31", "reason": "x"}
    await owner.send(f"/customers/{customer}/grant", **given)
    right = await right_of(api)
    assert right["updatesUntil"] == "2027-02-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"productId": "none", "scope": "all", "reason": "x"}, "no such product"),
        ({"productId": "drums", "scope": "all", "reason": ""}, "reason"),
        ({"productId": "drums", "scope": "version", "version": "9", "reason": "x"}, "no such version"),
        ({"productId": "drums", "scope": "until", "until": "soon", "reason": "x"}, "until"),
        ({"productId": "drums", "scope": "all", "quantity": "-1", "reason": "x"}, "quantity"),
    ],
)
async def test_what_cannot_be_granted_is_said(
    api: Api, owner: Visitor, fields: dict[str, str], text: str
) -> None:
    customer = await buy(api)
    answer = await owner.post(f"/customers/{customer}/grant", **fields)
    assert answer.status == 422
    assert re.search(r'class="fault"|role="alert"', answer.text)
    assert text in answer.text


@pytest.mark.slow
async def test_a_right_is_revoked_and_the_decision_taken_back(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    right = await right_of(api)
    page = await owner.send(f"/rights/{right['id']}", override="revoke", reason="Shared it")
    assert "You revoked it." in page.text
    assert "Shared it" in page.text
    assert (await right_of(api))["status"] == "revoked"
    page = await owner.send(f"/rights/{right['id']}", override="none")
    assert (await right_of(api))["status"] == "active"
    await buy(api, status="refunded")
    page = await owner.get(f"/customers/{customer}")
    assert "The order was refunded." in page.text
    page = await owner.send(f"/rights/{right['id']}", override="grant", reason="Goodwill")
    assert "You granted it." in page.text
    assert (await right_of(api))["status"] == "active"
    page = await owner.send(f"/rights/{right['id']}", override="burn")
    assert "override" in page.notice
    assert (await owner.post("/rights/none", override="grant")).status == 404
    actions = [(each.by, each.action) for each in await api.store.audit.latest(9) if each.by == "maria"]
    assert actions[:3] == [("maria", "entitlement.override")] * 3


async def test_a_link_is_made_for_the_customer(api: Api, owner: Visitor) -> None:
    await buy(api)
    right = await right_of(api)
    answer = await owner.post(f"/rights/{right['id']}/link")
    [token] = set(re.findall(rf"{PUBLIC_URL}/download/(ct_[\w-]+)/", answer.text))
    record = await api.store.tokens.get(token_id(token))
    assert record is not None
    assert record.email == "ann@example.com"
    await owner.send(f"/rights/{right['id']}", override="revoke")
    page = await owner.send(f"/rights/{right['id']}/link")
    assert "revoked" in page.notice
    assert (await owner.post("/rights/none/link")).status == 404


async def test_a_customer_moves_to_another_address(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    page = await owner.send(f"/customers/{customer}/email", email="ann@new.example")
    assert "ann@new.example" in page.text
    assert (await right_of(api, "ann@new.example"))["customerId"] == customer
    answer = await owner.post(f"/customers/{customer}/email", email="nobody")
    assert answer.status == 422
    assert 'id="e-email"' in answer.text
    assert (await owner.post("/customers/none/email", email="a@b.example")).status == 404


async def test_an_export_is_a_file_with_everything(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    answer = await owner.post(f"/customers/{customer}/export")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="customer-{customer}.json"'
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.text)["customer"]["email"] == "ann@example.com"
    assert (await api.store.audit.latest(1))[0].action == "customer.export"
    assert (await owner.get(f"/customers/{customer}/export")).status == 405, "no other site can fetch it"


async def over(visitor: Visitor, answer: Answer) -> Answer:
    assert answer.status == 303, answer.text
    while True:
        page = await visitor.get(answer.location)
        if "hx-get" not in page.text:
            return page
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_customer_is_erased_after_a_confirmation(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    page = await owner.get(f"/customers/{customer}/erase")
    assert "cannot be undone" in page.text
    answer = await owner.post(f"/customers/{customer}/erase")
    assert answer.status == 422
    assert "Tick the box" in answer.text
    done = await over(owner, await owner.post(f"/customers/{customer}/erase", sure="yes"))
    assert "The customer is erased." in done.text
    page = await owner.get(f"/customers/{customer}")
    assert page.status == 200
    assert "Erased customer" in page.text
    assert "ann@example.com" not in page.text
    assert (await owner.post(f"/customers/{customer}/erase", sure="yes")).status == 404
    assert (await owner.post(f"/customers/{customer}/grant", productId="drums", reason="x")).status == 422
    assert "ann@example.com" not in (await owner.get("/customers")).text


@pytest.mark.parametrize("path", ["none", "%00", "%ff", "..%2f"])
async def test_an_unknown_customer_is_not_found(api: Api, owner: Visitor, path: str) -> None:
    assert (await owner.get(f"/customers/{path}")).status == 404
    assert (await owner.post(f"/customers/{path}/export")).status == 404


async def mails(database: Database) -> list[str]:
    """The kinds of the mails in the outbox."""
    async with database.reading() as sql:
        return [kind for (kind,) in await sql.execute(select(OUTBOX_MAIL.c.kind))]


async def test_a_customer_is_told_again(api: Api, owner: Visitor, database: Database) -> None:
    customer = await buy(api)
    before = len(await mails(database))
    page = await owner.send(f"/customers/{customer}/tell")
    assert "leaves in a moment" in page.notice
    assert len(await mails(database)) == before + 1
    await owner.send(f"/customers/{customer}/email", email="ann@new.example", tell="yes")
    assert len(await mails(database)) == before + 2
    await owner.send(f"/customers/{customer}/email", email="ann@newer.example")
    assert len(await mails(database)) == before + 2
    await buy(api, status="refunded", email="ann@newer.example")
    page = await owner.send(f"/customers/{customer}/tell")
    assert "no order" in page.notice
    assert (await owner.post("/customers/none/tell")).status == 404


async def test_a_seller_sees_what_a_customer_sees_and_can_do_nothing(api: Api, owner: Visitor) -> None:
    customer = await buy(api)
    await owner.send("/products/drums/versions/1.0.0", notes=NAUGHTY)
    page = await owner.get(f"/customers/{customer}/as")
    assert page.status == 200
    for text in ("You only look", "drums", "file 0.bin", "Version 1.0.0"):
        assert text in page.text
    main = page.text.partition('<main id="content">')[2]
    assert "<form" not in main
    assert "<script>" not in main
    assert "ct_" not in main
    await buy(api, status="disputed")
    assert "The payment is disputed." in (await owner.get(f"/customers/{customer}/as")).text
    await buy(api, "A-2", lines=[{"id": "2", "sku": NAUGHTY, "title": NAUGHTY}])
    page = await owner.get(f"/customers/{customer}/as")
    assert "waits until the item is mapped." in page.text
    assert "<script>" not in page.text
    assert (await owner.get("/customers/none/as")).status == 404


@pytest.mark.slow
async def test_rights_come_in_pages_and_earlier_ones_are_a_link_away(
    api: Api, owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "RIGHTS_SHOWN", 2)
    for number in range(5):
        customer = await buy(api, f"E-{number}")
    path, pages = f"/customers/{customer}", []
    while path:
        page = await owner.get(path)
        pages.append(re.findall(r"From order #(E-[0-9])\.", page.text))
        further = re.search(r'href="/dashboard(/customers/[^"#]+)#rights">Earlier ones<', page.text)
        path = further[1] if further else ""
    assert pages == [["E-4", "E-3"], ["E-2", "E-1"], ["E-0"]]
