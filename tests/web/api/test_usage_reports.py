"""Reports of the admin API, on both engines: never downloaded, and links that look shared."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.database.types import now
from gateway.usage import sharing_report
from gateway.usage.events import Event
from gateway.usage.known_tokens import FoundToken, KnownToken, record_tokens
from gateway.usage.repository import apply_events
from gateway.usage.sharing import SharingLimits
from gateway.web.times import format_time
from tests.support.control_plane import Api
from tests.support.plans import noted_statements, whole_tables
from tests.support.sales import Sales
from tests.support.usage import FILE, event

DAY = 86_400_000


async def count(
    sales: Sales, *events: Event, entitlement: str | None = None, customer: str | None = None
) -> None:
    known = {each.token: KnownToken(entitlement, customer, test=False) for each in events}
    async with sales.database.writing() as sql:
        await apply_events(sql, events, known)


async def record(sales: Sales, number: int, *, days: int = 0, test: bool = False, **fields: Any) -> str:
    """A token that expires in a day, or expired so many days before that. Returns its id."""
    token, moment = f"{number:032x}", now() - days * DAY
    metadata = '{"test": true}' if test else None
    values = [
        "drums",
        "1.0.0",
        str(moment),
        str(moment + DAY),
        fields.get("email"),
        None,
        None,
        None,
        metadata,
    ]
    async with sales.database.writing() as sql:
        await record_tokens(sql, [FoundToken(token, values, 1, 2)])
    return token


def from_many(token: str, networks: int) -> list[Event]:
    first = int(token, 16) * 1000
    return [event(first + n, token=token, client=f"198.51.{n}.7") for n in range(networks)]


@pytest.mark.slow
async def test_never_downloaded(sales: Sales) -> None:
    old = format_time(now() - 10 * DAY)
    ids = []
    for name in ("A-1", "A-2", "A-3"):
        _, told = await sales.put(
            name, placedAt=old, number=f"#{name}", customer={"email": f"{name}@example.com", "name": name}
        )
        ids.append(told["order"]["lines"][0]["entitlementIds"][0])
    await sales.put("new", customer={"email": "new@example.com"})
    await count(sales, event(0, token="a" * 32), entitlement=ids[0])
    await count(sales, event(1, token="b" * 32, spans=((0, 9),)), entitlement=ids[1])
    _, answer = await sales.ask("GET", "/reports/never-downloaded")
    [row] = answer["neverDownloaded"]
    assert answer["nextCursor"] is None
    assert row == {
        "entitlementId": ids[2],
        "productId": "drums",
        "quantity": 3,
        "customer": row["customer"],
        "source": "zapier",
        "orderId": "A-3",
        "number": "#A-3",
        "placedAt": old,
        "startedAt": None,
    }
    assert (row["customer"]["email"], row["customer"]["name"]) == ("A-3@example.com", "A-3")
    _, answer = await sales.ask("GET", "/reports/never-downloaded?missing=completed&limit=1")
    first, second = sorted(ids[1:])  # they may be of one millisecond
    [row] = answer["neverDownloaded"]
    assert (row["entitlementId"], row["startedAt"] is not None) == (first, first == ids[1])
    _, rest = await sales.ask(
        "GET", f"/reports/never-downloaded?missing=completed&cursor={answer['nextCursor']}"
    )
    assert [each["entitlementId"] for each in rest["neverDownloaded"]] == [second]
    for query, found in (("days=0", 2), ("days=11", 0), ("productId=kit", 0)):
        _, answer = await sales.ask("GET", f"/reports/never-downloaded?{query}")
        assert len(answer["neverDownloaded"]) == found, query
    row = next(each for each in (row, *rest["neverDownloaded"]) if each["entitlementId"] == ids[1])
    customer = row["customer"]["id"]
    assert (await sales.ask("DELETE", f"/customers/{customer}"))[0] == 204
    _, answer = await sales.ask("GET", "/reports/never-downloaded?missing=completed")
    row = next(each for each in answer["neverDownloaded"] if each["entitlementId"] == ids[1])
    assert row["customer"] == {"id": customer, "email": None, "name": None}


async def test_links_that_look_shared(sales: Sales) -> None:
    shared = await record(sales, 1, email="jo@example.com")
    await count(sales, *from_many(shared, 8))
    honest = await record(sales, 2)
    await count(sales, *from_many(honest, 3))
    test = await record(sales, 3, test=True)
    await count(sales, *from_many(test, 9))
    old = await record(sales, 4, days=60)
    await count(sales, *from_many(old, 9))
    _, answer = await sales.ask("GET", "/reports/shared-links")
    [link] = answer["sharedLinks"]
    assert (link["tokenId"], link["customer"]["email"], answer["nextCursor"]) == (
        shared,
        "jo@example.com",
        None,
    )
    assert {"reason": "networks", "value": 8, "limit": 4} in link["reasons"]
    assert (link["bytes"], link["requests"], link["programs"]) == (8000, 8, ["curl"])
    assert link["networks"] == [f"198.51.{n}.0/24" for n in range(8)]
    start = format_time(now() - 90 * DAY)
    _, answer = await sales.ask("GET", f"/reports/shared-links?from={start}")
    assert [each["tokenId"] for each in answer["sharedLinks"]] == [shared, old]
    for query, found in ((f"to={start}", 0), ("productId=kit", 0), ("productId=drums", 1)):
        _, answer = await sales.ask("GET", f"/reports/shared-links?{query}")
        assert len(answer["sharedLinks"]) == found, query


@pytest.mark.slow
async def test_pages_of_shared_links(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is looked at in one go, each link comes once, and the last page says that it is the last."""
    monkeypatch.setattr(sharing_report, "AT_ONCE", 2)
    tokens = [await record(sales, number, days=number % 3) for number in range(1, 24)]
    await count(sales, *(each for token in tokens[::4] for each in from_many(token, 8)))
    for limit in (1, 2, 50):
        found: list[str] = []
        cursor = ""
        for _ in range(60):
            _, answer = await sales.ask("GET", f"/reports/shared-links?limit={limit}{cursor}")
            found += [each["tokenId"] for each in answer["sharedLinks"]]
            if answer["nextCursor"] is None:
                break
            cursor = f"&cursor={answer['nextCursor']}"
        assert sorted(found) == sorted(tokens[::4])


async def test_tokens_are_found_by_indexes(sales: Sales) -> None:
    token = await record(sales, 1)
    await count(sales, *from_many(token, 2), event(99, token=token, file=FILE._replace(name="b.zip")))
    async with sales.database.reading() as sql:
        with noted_statements(sales.database) as statements:
            await sharing_report.look_for_shared(sql, sharing_report.SharingFilter(1, now()), SharingLimits())
    assert len(statements) >= 3
    assert await whole_tables(sales.database, statements) == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("never-downloaded", "days=-1"),
        ("never-downloaded", "days=x"),
        ("never-downloaded", "missing=none"),
        ("never-downloaded", "cursor=%00"),
        ("shared-links", "cursor=1-x"),
        ("shared-links", f"cursor={'9' * 16}-{'0' * 32}"),
        ("shared-links", "from=yesterday"),
        ("shared-links", "limit=0"),
    ],
)
async def test_a_wrong_filter_is_refused(api: Api, path: str, query: str) -> None:
    status, body, _ = await api.ask("GET", f"/api/reports/{path}?{query}")
    assert (status, body["code"]) == (400, "invalid_request")
