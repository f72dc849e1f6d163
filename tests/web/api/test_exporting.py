"""The export of a customer has everything: every table that leads to the person is in it."""

from __future__ import annotations

import pytest
from sqlalchemy import Table, select

from gateway.database.tables import CUSTOMER, METADATA, OUTBOX_MAIL, SEAT
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.mail.news import choose
from gateway.web.api.customer_export import PARTS
from gateway.webhooks.outbox.announcements import customer_mark
from tests.support.sales import Sales


def tables_of_customers() -> set[str]:
    """The names of all tables whose rows belong to a customer, through any number of others."""
    found: set[Table] = {CUSTOMER}
    while True:
        more = {
            table
            for table in METADATA.tables.values()
            for key in table.foreign_keys
            if key.column.table in found
        }
        if more <= found:
            return {table.name for table in found}
        found |= more


def test_every_table_that_leads_to_a_customer_is_exported() -> None:
    assert set(PARTS) == tables_of_customers()


@pytest.mark.slow
async def test_each_part_has_what_its_tables_have(sales: Sales) -> None:
    _, told = await sales.put()
    order = told["order"]
    [entitlement] = order["lines"][0]["entitlementIds"]
    async with sales.database.writing() as sql:
        seat = {"entitlement_id": entitlement, "number": 1, "email": "bob@example.com", "created": 5}
        await sql.execute(SEAT.insert().values(**seat))
        mail = {"id": "0" * 26, "kind": "ready", "priority": 2, "state": "sent", "about": {}, "created": 5}
        mail |= {"customer_id": order["customer"]["id"], "recipient": "ann@example.com", "tried": 6}
        await sql.execute(OUTBOX_MAIL.insert().values(**mail))
        await choose(sql, order["customer"]["id"], wanted=False, moment=7)
    await sales.ask("POST", f"/entitlements/{entitlement}/download-url", {"metadata": {"note": "a"}})
    await sales.api.store.tokens.create("drums", email="ANN@example.com", name="Ann")
    path = f"/customers/{order['customer']['id']}"
    _, export = await sales.ask("GET", f"{path}/export")
    assert all(export[part] for part in PARTS.values())
    assert [each["email"] for each in export["addresses"]] == ["ann@example.com"]
    assert [each["orderId"] for each in export["orders"]] == ["A-1"]
    assert [each["id"] for each in export["entitlements"]] == [entitlement]
    assert [each["email"] for each in export["seats"]] == ["bob@example.com"]
    assert len(export["tokens"]) == 1
    assert [(each["kind"], each["recipient"], each["state"]) for each in export["mails"]] == [
        ("ready", "ann@example.com", "sent")
    ]
    assert [each["declinedAt"] for each in export["news"]] == ["1970-01-01T00:00:00.007Z"]
    assert sorted(str(each["metadata"]) for each in export["liveTokens"]) == ["{'note': 'a'}", "{}"]
    assert {each["kind"] for each in export["facts"]} == {"order", "lines", "paid"}
    assert "drums" in str(export["facts"])
    assert (await sales.ask("DELETE", path))[0] == 204
    _, export = await sales.ask("GET", f"{path}/export")
    assert "ann@" not in str(export).lower()
    assert (export["addresses"], export["liveTokens"], export["news"]) == ([], [], [])


@pytest.mark.slow
async def test_what_outgoing_webhooks_told_is_exported_and_erased(sales: Sales) -> None:
    """By the customer's id, or by the mark of an address, of whom no customer was known yet."""
    _, told = await sales.put()
    identifier = told["order"]["customer"]["id"]
    ended = {"state": "delivered", "attempts": 2, "tries": [[5, 500, 9, "x"], [6, 204, 9, None]]}
    named = {"a": identifier, "b": customer_mark("ANN@example.com"), "c": customer_mark("bob@example.com")}
    async with sales.database.writing() as sql:
        shop = {"id": "0" * 26, "url": "https://crm.example/hook?key=secret", "types": [], "secrets": b"x"}
        await sql.execute(WEBHOOK.insert().values(**shop, name="crm", created=1))
        for key, customer in named.items():
            event = {
                "id": key * 26,
                "type": "token.created",
                "happened": 4,
                "created": 4,
                "data": {"of": key},
            }
            await sql.execute(WEBHOOK_EVENT.insert().values(**event, customer=customer))
            for number, webhook in enumerate(("0" * 26, "1" * 26)):  # the second endpoint was removed
                row = {"id": f"{number}{key}".rjust(26, "0"), "webhook_id": webhook, "event_id": key * 26}
                await sql.execute(OUTBOX_WEBHOOK.insert().values(**row, **ended))
    _, export = await sales.ask("GET", f"/customers/{identifier}/export")
    messages = [each for each in export["webhookMessages"] if each["type"] == "token.created"]
    assert [(each["id"], each["data"]) for each in messages] == [
        ("msg_" + "a" * 26, {"of": "a"}),
        ("msg_" + "b" * 26, {"of": "b"}),
    ]
    first, removed = messages[0]["deliveries"]
    assert (first["webhook"], first["host"], first["state"]) == ("crm", "crm.example", "delivered")
    assert [each["status"] for each in first["tries"]] == [500, 204]
    assert (removed["webhook"], removed["host"]) == (None, None)
    assert "secret" not in str(export["webhookMessages"])
    assert (await sales.ask("DELETE", f"/customers/{identifier}"))[0] == 204
    async with sales.database.reading() as sql:
        left = (await sql.execute(select(WEBHOOK_EVENT.c.customer))).all()
        deliveries = (await sql.execute(select(OUTBOX_WEBHOOK.c.event_id))).all()
    assert [each for (each,) in left] == [named["c"]]
    assert {each for (each,) in deliveries} == {"c" * 26}
