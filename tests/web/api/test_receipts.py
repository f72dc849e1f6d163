"""Receipts by the admin API, on both engines: what they say, that they are signed, and that they forget."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from gateway.database.tables import ORDER
from gateway.database.types import now
from gateway.database.usage_tables import TOKEN
from gateway.secrets import token_id
from gateway.store.key_names import events_key, token_key
from gateway.store.scripts import ADD_EVENTS
from gateway.usage import jws
from gateway.usage.events import Event
from gateway.usage.retention import DAY, UsageDays, UsageRetention
from tests.support.control_plane import PUBLIC_URL, Api
from tests.support.sales import Sales
from tests.support.timing import patience
from tests.support.usage import FILE, batch, event

AT = 1_790_553_600_000_000
"""2026-09-28, in microseconds."""
SCRIPT = "<script>alert(1)</script>\r\n\x1b[31m\u202e"


def sent(number: int, token: str, seconds: int = 0, **values: Any) -> Event:
    started = AT + seconds * 1_000_000
    return event(number, token=token, started=started, ended=started + 1_000_000, **values)


async def tell(sales: Sales, *events: Event) -> None:
    """Put events into the store as a worker does, and wait until the process has applied them."""
    client = sales.api.store.client
    assert await client.run(ADD_EVENTS, [events_key(0)], 2**20, batch(events)) == 1
    async with asyncio.timeout(patience(10)):
        while await client.call("XLEN", events_key(0)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def buy(sales: Sales, order: str = "A-1", **values: Any) -> str:
    """An order of drums. Returns its entitlement's id."""
    _, told = await sales.put(order, **values)
    return str(told["order"]["lines"][0]["entitlementIds"][0])


async def mint(sales: Sales, entitlement: str) -> str:
    """A token from an entitlement. Returns its id."""
    _, minted = await sales.ask("POST", f"/entitlements/{entitlement}/download-url", {})
    return token_id(minted["downloadToken"])


async def receipt_of(sales: Sales, token: str) -> Any:
    """The receipt of a token. Its signature is verified with the published keys."""
    status, answer = await sales.ask("GET", f"/downloads/tokens/{token}/receipt")
    assert (status, answer["success"], set(answer)) == (200, True, {"success", "receipt", "jws"})
    _, published, _ = await sales.api.ask("GET", "/.well-known/jwks.json", key="")
    signed = jws.verify(answer["jws"], jws.read_keys(published))
    assert json.loads(signed) == answer["receipt"]
    return answer["receipt"]


async def page_of(sales: Sales, token: str, **fields: str) -> tuple[str, Any]:
    headers = {"Authorization": f"Bearer {sales.api.key}", "Accept": "text/html", **fields}
    url = f"{sales.api.url}/api/downloads/tokens/{token}/receipt"
    async with sales.api.session.get(url, headers=headers) as answer:
        assert answer.status == 200
        return await answer.text(), answer.headers


@pytest.mark.slow
async def test_the_receipt_of_a_download_in_two_parts(sales: Sales) -> None:
    entitlement = await buy(sales, number="#7", country="DE", placedAt="2026-09-27T10:00:00Z")
    one, other = await mint(sales, entitlement), await mint(sales, entitlement)
    await tell(
        sales,
        sent(0, one, spans=((0, 600),), client="203.0.113.7"),
        sent(1, one, 5, spans=((500, 700),), client="2001:db8::7", agent="Wget/1.21"),
        sent(2, other, 10, spans=((700, 1000),)),
    )
    receipt = await receipt_of(sales, one)
    assert receipt["issuer"] == PUBLIC_URL
    assert receipt["product"] == {"productId": "drums", "name": "drums", "version": "1.0.0", "files": 1}
    assert receipt["token"]["tokenId"] == one
    assert receipt["token"]["status"] == "active"
    customer = receipt["customer"]
    assert (customer["email"], customer["name"]) == ("ann@example.com", "Ann")
    order = receipt["order"]
    assert (order["source"], order["orderId"], order["number"]) == ("zapier", "A-1", "#7")
    assert (order["placedAt"], order["country"], order["customer"]) == (
        "2026-09-27T10:00:00.000Z", "DE", customer
    )  # fmt: skip
    [file] = receipt["files"]
    attempts = file.pop("attempts")
    assert file == {
        "name": "drums.zip",
        "productId": "drums",
        "version": "1.0.0",
        "size": 1000,
        "sha256": FILE.sha256,
        "bytes": 800,
        "coverage": [[0, 700]],
        "coveredBytes": 700,
        "complete": False,
        "started": 1,
        "completed": 0,
        "requests": 2,
        "firstAt": "2026-09-28T00:00:00.000Z",
        "completedAt": None,
        "lastAt": "2026-09-28T00:00:06.000Z",
    }
    assert attempts[1] == {
        "startedAt": "2026-09-28T00:00:05.000Z",
        "endedAt": "2026-09-28T00:00:06.000Z",
        "address": "2001:db8::7",
        "userAgent": "Wget/1.21",
        "bytes": 200,
        "spans": [[500, 700]],
        "requests": 1,
    }
    whole = receipt["entitlement"]
    assert (whole["id"], whole["tokens"], whole["customer"]) == (entitlement, 2, customer)
    [file] = whole["files"]
    assert (file["coverage"], file["complete"], file["completed"]) == ([[0, 1000]], True, 1)
    stripe = receipt["evidence"]["stripe"]
    assert len(stripe["access_activity_log"].split("\n")) == 3
    assert "203.0.113.7 received 600 bytes of drums.zip (drums 1.0.0)" in stripe["access_activity_log"]
    assert FILE.sha256 in stripe["product_description"]
    assert (stripe["service_date"], stripe["customer_email_address"]) == ("2026-09-28", "ann@example.com")


@pytest.mark.slow
async def test_the_purchase_address_and_earlier_payments(sales: Sales) -> None:
    """Visa's rule: two earlier payments of the same customer and address, 120 to 365 days old."""
    entitlement = await buy(sales)
    token = await mint(sales, entitlement)
    ages = {"A-1": 3, "old-1": 130, "old-2": 360, "old-3": 370, "new": 100, "back": 200, "test": 200}
    for name in ages:
        values: dict[str, Any] = {"test": True} if name == "test" else {}
        await buy(sales, name, status="refunded" if name == "back" else "paid", **values)
    async with sales.database.writing() as sql:
        for name, days in ages.items():
            values = {"placed": now() - days * DAY, "details": {"ip": "203.0.113.7", "total": None}}
            await sql.execute(update(ORDER).where(ORDER.c.external_id == name).values(**values))
    receipt = await receipt_of(sales, token)
    assert receipt["order"]["purchaseIp"] == "203.0.113.7"
    assert receipt["evidence"]["stripe"]["customer_purchase_ip"] == "203.0.113.7"
    visa = receipt["evidence"]["visaCompellingEvidence3"]
    assert [each["orderId"] for each in visa["prior_undisputed_transactions"]] == ["old-1", "old-2"]
    assert visa["qualifies"] is True


async def test_a_token_without_an_order(sales: Sales) -> None:
    minted = await sales.api.store.tokens.create(
        "drums", "1.0.0", email="jo@example.com", name="Jo", metadata={"order": "4711"}
    )
    receipt = await receipt_of(sales, minted.record.id)
    assert (receipt["order"], receipt["entitlement"], receipt["files"]) == (None, None, [])
    assert receipt["customer"] == {"id": None, "email": "jo@example.com", "name": "Jo"}
    assert receipt["token"]["metadata"] == {"order": "4711"}
    assert receipt["evidence"]["stripe"]["access_activity_log"] is None
    assert receipt["summary"] == {
        "bytes": 0, "started": 0, "completed": 0, "attempts": 0, "firstAt": None, "lastAt": None,
        "completeFiles": 0,
    }  # fmt: skip


@pytest.mark.slow
async def test_a_token_that_has_expired_or_that_the_store_has_forgotten(sales: Sales) -> None:
    entitlement = await buy(sales)
    expired, revoked = await mint(sales, entitlement), await mint(sales, entitlement)
    await tell(sales, sent(0, expired), sent(1, revoked, 60))
    await sales.ask("DELETE", f"/downloads/tokens/{revoked}")
    assert (await receipt_of(sales, revoked))["token"]["status"] == "revoked"
    before = await receipt_of(sales, expired)
    await sales.api.store.client.call("DEL", token_key(expired))
    after = await receipt_of(sales, expired)
    assert after["token"] == before["token"] | {"status": "expired"}
    assert after["files"] == before["files"]
    assert after["files"][0]["complete"] is True


@pytest.mark.parametrize("token", ["0" * 32, "f" * 31, "x", "%00", "ct_" + "a" * 43])
async def test_what_never_was_has_no_receipt(api: Api, token: str) -> None:
    status, body, _ = await api.ask("GET", f"/api/downloads/tokens/{token}/receipt")
    assert (status, body["code"]) == (404, "token_unknown")


async def test_it_is_for_admins(api: Api) -> None:
    key = (await api.store.keys.create("shop", role="mint")).key
    path = f"/api/downloads/tokens/{'0' * 32}/receipt"
    assert (await api.ask("GET", path, key=key))[0] == 403
    assert (await api.ask("GET", path, key=""))[0] == 401


@pytest.mark.slow
async def test_the_page_escapes_what_comes_from_outside(sales: Sales) -> None:
    entitlement = await buy(sales, customer={"email": "ann@example.com", "name": "<b>Ann</b>"}, number="<i>7")
    token = await mint(sales, entitlement)
    await tell(
        sales,
        sent(0, token, agent=SCRIPT, file=FILE._replace(name=SCRIPT), client="203.0.113.7"),
    )
    receipt = await receipt_of(sales, token)
    log = receipt["evidence"]["stripe"]["access_activity_log"]
    assert len(log.split("\n")) == 1
    assert not any(each in json.dumps(receipt) for each in ("\\u001b", "\\r", "\\u202e"))
    page, headers = await page_of(sales, token)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Accept" in headers["Vary"]
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;Ann" in page
    for part in ("<script>a", "<b>A", "<i>7", "\x1b", "\u202e"):
        assert part not in page
    assert (await sales.ask("GET", f"/downloads/tokens/{token}/receipt"))[1]["success"] is True
    german, _ = await page_of(sales, token, **{"Accept-Language": "de"})
    assert "Beleg über einen Download" in german


@pytest.mark.slow
async def test_after_an_erasure_it_has_no_person(sales: Sales) -> None:
    entitlement = await buy(sales, customer={"email": "ann@example.com", "name": "Ann Onym"})
    token = await mint(sales, entitlement)
    await tell(sales, sent(0, token, client="203.0.113.7", agent="Ann's browser"))
    async with sales.database.writing() as sql:
        await sql.execute(update(ORDER).values(details={"ip": "203.0.113.7", "total": None}))
    before = await receipt_of(sales, token)
    marks = ("ann@example.com", "Ann", "203.0.113")
    assert all(mark in json.dumps(before) for mark in marks)
    assert (await sales.ask("DELETE", f"/customers/{before['customer']['id']}"))[0] == 204
    for _ in range(2):
        after = await receipt_of(sales, token)
        page, _ = await page_of(sales, token)
        text = json.dumps(after) + page
        assert not [mark for mark in marks if mark in text]
        assert after["customer"] == {"id": before["customer"]["id"], "email": None, "name": None}
        [file] = after["files"]
        assert (file["complete"], file["attempts"][0]["address"]) == (True, None)
        await sales.put(customer={"email": "ann@example.com", "name": "Ann Onym"})  # told again


@pytest.mark.slow
async def test_addresses_become_networks(sales: Sales) -> None:
    token = await mint(sales, await buy(sales))
    started = (now() - 10 * DAY) * 1000
    await tell(sales, sent(0, token, client="203.0.113.77")._replace(started=started, ended=started + 5))
    await UsageRetention(sales.database, sales.api.store.client, UsageDays(9, 20)).run_once()
    receipt = await receipt_of(sales, token)
    assert receipt["files"][0]["attempts"][0]["address"] == "203.0.113.0/24"
    assert "203.0.113.77" not in json.dumps(receipt)


@pytest.mark.slow
async def test_a_large_receipt_stays_small(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many requests: the first and the last are listed, and all are counted."""
    monkeypatch.setattr("gateway.web.receipts.MOST_ATTEMPTS", 6)
    token = await mint(sales, await buy(sales))
    await tell(sales, *(sent(n, token, n, spans=((n * 50, n * 50 + 10),)) for n in range(20)))
    monkeypatch.setattr("gateway.web.receipts.MOST_SPANS", 5)
    [file] = (await receipt_of(sales, token))["files"]
    assert [each["spans"][0][0] // 50 for each in file["attempts"]] == [0, 1, 2, 17, 18, 19]
    assert (file["requests"], file["coveredBytes"], len(file["coverage"])) == (20, 200, 5)


@pytest.mark.slow
async def test_a_test_says_so(sales: Sales) -> None:
    minted = await sales.api.store.tokens.create("drums", "1.0.0", metadata={"test": True})
    await tell(sales, sent(0, minted.record.id))
    async with sales.database.reading() as sql:
        assert (await sql.execute(TOKEN.select().where(TOKEN.c.id == minted.record.id))).one().test
    assert (await receipt_of(sales, minted.record.id))["token"]["test"] is True
    assert "This was a test" in (await page_of(sales, minted.record.id))[0]
