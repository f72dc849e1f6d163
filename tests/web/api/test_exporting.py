"""The export of a customer has everything: every table that leads to the person is in it."""

from __future__ import annotations

from sqlalchemy import Table

from gateway.database.tables import CUSTOMER, METADATA, OUTBOX_MAIL, SEAT
from gateway.web.api.customer_export import PARTS
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
    assert sorted(str(each["metadata"]) for each in export["liveTokens"]) == ["{'note': 'a'}", "{}"]
    assert {each["kind"] for each in export["facts"]} == {"order", "lines", "paid"}
    assert "drums" in str(export["facts"])
    assert (await sales.ask("DELETE", path))[0] == 204
    _, export = await sales.ask("GET", f"{path}/export")
    assert "ann@" not in str(export).lower()
    assert (export["addresses"], export["liveTokens"]) == ([], [])
