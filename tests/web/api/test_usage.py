"""Usage by the admin API, on both engines: tokens, the report, and sums over periods."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import pytest

from gateway.database.usage_tables import TOKEN
from gateway.secrets import token_id
from gateway.store.key_names import events_key
from gateway.store.scripts import ADD_EVENTS
from gateway.usage.events import Event
from gateway.web.api.usage import COLUMNS
from tests.support.control_plane import Api
from tests.support.sales import Sales
from tests.support.timing import patience
from tests.support.usage import FILE, batch, event

AT = 1_790_553_600_000_000
"""2026-09-28, a Monday, in microseconds."""
HOUR = 3_600_000_000
FROM, TO = "2026-09-28T00:00:00Z", "2026-10-12T00:00:00Z"


def sent(number: int, token: str, hours: float = 0, **values: Any) -> Event:
    """A download that takes a second, so many hours after AT."""
    started = int(AT + hours * HOUR)
    return event(number, token=token, started=started, ended=started + 1_000_000, **values)


async def tell(sales: Sales, *events: Event) -> None:
    """Put events into the store as a worker does, and wait until the process has applied them."""
    client = sales.api.store.client
    assert await client.run(ADD_EVENTS, [events_key(0)], 2**20, batch(events)) == 1
    async with asyncio.timeout(patience(10)):
        while await client.call("XLEN", events_key(0)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def buy(sales: Sales, **values: Any) -> str:
    """An order of drums. Returns its entitlement's id."""
    _, told = await sales.put(**values)
    return str(told["order"]["lines"][0]["entitlementIds"][0])


async def mint(sales: Sales, entitlement: str) -> str:
    """A token from an entitlement. Returns its id."""
    _, minted = await sales.ask("POST", f"/entitlements/{entitlement}/download-url", {})
    return token_id(minted["downloadToken"])


async def table(sales: Sales, query: str = "") -> list[dict[str, str]]:
    """The report."""
    api = sales.api
    async with api.session.get(
        f"{api.url}/api/reports/downloads{query}", headers={"Authorization": f"Bearer {api.key}"}
    ) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/csv"
        text = (await answer.read()).decode()
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows[1:]]


@pytest.mark.slow
async def test_a_token_shows_its_own_usage(sales: Sales) -> None:
    """A download goes on under another token of the same entitlement; each shows what it received itself."""
    entitlement = await buy(sales)
    one, other = await mint(sales, entitlement), await mint(sales, entitlement)
    _, shown = await sales.ask("GET", f"/downloads/tokens/{one}")
    assert shown["token"]["usage"] == {"bytes": 0, "files": []}
    await tell(
        sales,
        sent(0, one, spans=((0, 600),)),
        sent(1, other, 1, spans=((600, 1000),)),
        sent(2, other, 2),
        sent(3, other, 3, spans=((0, 10),)),
    )
    _, shown = await sales.ask("GET", f"/downloads/tokens/{one}")
    times = {"firstAt": "2026-09-28T00:00:00.000Z", "lastAt": "2026-09-28T00:00:01.000Z"}
    assert shown["token"]["usage"] == {
        "bytes": 600,
        "files": [{"name": "drums.zip", "bytes": 600, "started": 1, "completed": 0, "attempts": 1, **times}],
    }
    _, shown = await sales.ask("GET", f"/downloads/tokens/{other}")
    [file] = shown["token"]["usage"]["files"]
    assert (file["bytes"], file["started"], file["completed"], file["attempts"]) == (1410, 2, 1, 3)
    rows = await table(sales)
    assert [(row["attempts"], row["status"]) for row in rows] == [
        ("2", "completed"),
        ("1", "completed"),
        ("1", "started"),
    ]


async def test_a_token_that_the_store_has_forgotten_is_expired(sales: Sales) -> None:
    """Also one that nobody used. One that never was is unknown."""
    store = sales.api.store
    minted = await store.tokens.create("drums", "1.0.0", email="ann@example.com", expires_in=60)
    async with asyncio.timeout(patience(10)):
        while True:
            async with sales.database.reading() as sql:
                if (await sql.execute(TOKEN.select().where(TOKEN.c.id == minted.record.id))).first():
                    break
            await asyncio.sleep(0.02)
    _, before = await sales.ask("GET", f"/downloads/tokens/{minted.record.id}")
    await store.client.call("DEL", f"dg:token:{{{minted.record.id}}}")
    _, after = await sales.ask("GET", f"/downloads/tokens/{minted.record.id}")
    assert before["token"]["status"] == "active"
    assert after["token"] == before["token"] | {"status": "expired"}
    status, body = await sales.ask("GET", f"/downloads/tokens/{'0' * 32}")
    assert (status, body["code"]) == (404, "token_unknown")


async def test_the_report(sales: Sales) -> None:
    entitlement = await buy(sales, number="#7", country="DE")
    token = await mint(sales, entitlement)
    agent = '=HYPERLINK("http://evil.example")'
    file = FILE._replace(name="+kit.zip")
    await tell(sales, sent(0, token, client="203.0.113.7", agent=agent, file=file), sent(1, "f" * 32, 30))
    first, second = await table(sales)
    assert first == {
        "startedAt": "2026-09-28T00:00:00.000Z",
        "lastAt": "2026-09-28T00:00:01.000Z",
        "productId": "drums",
        "version": "1.0.0",
        "file": "'+kit.zip",
        "size": "1000",
        "bytes": "1000",
        "attempts": "1",
        "status": "completed",
        "tokenId": token,
        "orderNumber": "#7",
        "customerEmail": "ann@example.com",
        "clientAddress": "203.0.113.7",
        "userAgent": "'" + agent,
        "country": "DE",
    }
    assert (second["tokenId"], second["orderNumber"], second["customerEmail"]) == ("f" * 32, "", "")
    assert await table(sales, "?limit=1") == [first]
    assert await table(sales, f"?from={FROM}&to=2026-09-28T00:00:00.001Z") == [first]
    assert await table(sales, "?status=started") == []
    assert await table(sales, "?productId=other") == []


@pytest.mark.parametrize(
    "query",
    [
        "status=x",
        "limit=0",
        "limit=10000001",
        "limit=99999999999999999999",
        "from=yesterday",
        "productId=%00",
        "page=2",
        "limit=1&limit=2",
    ],
)
async def test_a_wrong_filter_is_refused(api: Api, query: str) -> None:
    for path in ("reports/downloads", "analytics/downloads"):
        status, body, _ = await api.ask("GET", f"/api/{path}?{query}")
        assert (status, body["code"]) == (400, "invalid_request")


async def test_many_rows_come_page_after_page(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.api.usage.PAGE", 3)
    await tell(sales, *(sent(number, f"{number:032x}", number) for number in range(10)))
    rows = await table(sales)
    assert [int(row["tokenId"], 16) for row in rows] == list(range(10))
    assert len(await table(sales, "?limit=7")) == 7


async def test_sums(sales: Sales) -> None:
    """Customers are counted once in each period; tests are left out; bots are classed."""
    entitlement = await buy(sales)
    ann = await mint(sales, entitlement)
    test = (await sales.api.store.tokens.create("drums", "1.0.0", metadata={"test": True})).record.id
    await tell(
        sales,
        sent(0, ann),
        sent(1, ann, 24, spans=((0, 500),)),
        sent(2, "e" * 32, 24, agent="Googlebot/2.1"),
        sent(3, ann, 8 * 24, file=FILE._replace(version="2.0.0")),
        sent(4, test, 24),
    )
    query = f"from={FROM}&to={TO}"
    _, found = await sales.ask("GET", f"/analytics/downloads?{query}")
    row = {"started": 1, "completed": 1, "bytes": 1000, "customers": 1}
    assert found == {
        "success": True,
        "rows": [
            {"from": "2026-09-28T00:00:00.000Z", **row},
            {"from": "2026-09-29T00:00:00.000Z", **row, "started": 2, "bytes": 1500, "customers": 2},
            {"from": "2026-10-06T00:00:00.000Z", **row},
        ],
    }
    _, found = await sales.ask("GET", f"/analytics/bandwidth?{query}&period=week&groupBy=version")
    first = {"from": "2026-09-28T00:00:00.000Z", "productId": "drums", "version": "1.0.0"}
    assert found["rows"] == [
        {**first, "started": 3, "completed": 2, "bytes": 2500, "customers": 2},
        {"from": "2026-10-05T00:00:00.000Z", "productId": "drums", "version": "2.0.0", **row},
    ]
    _, found = await sales.ask("GET", f"/analytics/downloads?{query}&period=month&groupBy=client")
    assert [(each["from"][:10], each["client"], each["customers"]) for each in found["rows"]] == [
        ("2026-09-01", "bot", 1),
        ("2026-09-01", "curl", 1),
        ("2026-10-01", "curl", 1),
    ]
    _, found = await sales.ask("GET", f"/analytics/downloads?{query}&groupBy=product&productId=none")
    assert found["rows"] == []


@pytest.mark.parametrize(
    "query", ["from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=1970-01-01T00:00:00Z"]
)
async def test_periods_that_make_no_sense_are_refused(api: Api, query: str) -> None:
    status, body, _ = await api.ask("GET", f"/api/analytics/downloads?{query}")
    assert (status, body["errors"][0]["field"]) == (400, "from")
