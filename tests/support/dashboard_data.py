"""What a seller's dashboard shows on an ordinary day: products, orders, customers, links, and usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.config.settings import Settings
from gateway.database.statements import insert
from gateway.database.types import now
from gateway.database.usage_tables import USAGE_DAY
from gateway.secrets import token_id
from gateway.usage.known_tokens import FoundToken, KnownToken, record_tokens
from gateway.usage.queries import DAY_MS
from gateway.usage.repository import apply_events
from tests.support.control_plane import Api
from tests.support.dashboard import open_database_of
from tests.support.usage import FILE, event

GIB = 2**30
NAUGHTY = "\"><script>alert(1)</script>'\u202e"


@dataclass(frozen=True)
class OrdinaryDay:
    """Ids of what was made."""

    customer: str
    token: str
    order: str
    right: str


async def make_ordinary_day(api: Api, settings: Settings) -> OrdinaryDay:
    """Fill a dashboard."""
    for number in range(6):
        await _tell(
            api,
            f"A-{number}",
            number=f"#100{number}",
            customer={"email": f"customer{number}@example.com", "name": f"Customer {number}"},
            status="refunded" if number == 4 else "disputed" if number == 3 else "paid",
            placedAt=f"2026-11-{20 + number}T12:00:00Z",
        )
    lines = [{"id": "1", "sku": "BASS-9", "title": "Deep Bass"}]
    await _tell(api, "B-1", number="#2001", customer={"email": "kim@example.com"}, lines=lines)
    _, answer, _ = await api.ask("GET", "/api/entitlements?email=customer0@example.com")
    right = answer["entitlements"][0]
    _, minted, _ = await api.ask("POST", f"/api/entitlements/{right['id']}/download-url", {})
    token = token_id(minted["downloadToken"])
    async with open_database_of(settings) as database:
        async with database.writing() as sql:
            file = FILE._replace(name="epic drums.zip", size=GIB, product="drums", version="1.0.0")
            spans = [((0, GIB // 3),), ((GIB // 2, GIB * 3 // 4),)]
            events = [event(number, token=token, file=file, spans=each) for number, each in enumerate(spans)]
            known = {token: KnownToken(right["id"], right["customerId"], test=False)}
            await apply_events(sql, events, known)
            await sql.execute(insert(sql, USAGE_DAY), list(_days()))
        async with database.reading() as sql:
            rows = await sql.exec_driver_sql("SELECT id FROM \"order\" WHERE number = '#1000'")
            order = str(rows.scalar_one())
    return OrdinaryDay(right["customerId"], token, order, right["id"])


async def record_shared_link(settings: Settings, number: int = 1, networks: int = 8) -> str:
    """A link that was used from so many networks. Returns the id of its token."""
    token, moment = f"{number:032x}", now()
    values = ["drums", "1.0.0", str(moment), str(moment + DAY_MS), "jo@example.com", NAUGHTY, *[None] * 3]
    events = [event(100 * number + n, token=token, client=f"198.51.{n}.7") for n in range(networks)]
    async with open_database_of(settings) as database, database.writing() as sql:
        await record_tokens(sql, [FoundToken(token, values, 1, 2)])
        await apply_events(sql, events, {token: KnownToken(None, None, test=False)})
    return token


async def _tell(api: Api, order: str, **changes: Any) -> None:
    body = {"status": "paid", "lines": [{"id": "1", "productId": "drums", "title": "Epic Drums"}], **changes}
    status, answer, _ = await api.ask("PUT", f"/api/orders/zapier/{order}", body)
    assert status == 201, answer


def _days() -> Any:
    today = now() // DAY_MS
    for back in range(60):
        for client, part in (("browser", 3), ("aria2", 1)):
            started = (37 * back + 11) % 23 * part + 2
            yield {
                "day": today - back,
                "product": "drums",
                "version": "1.0.0" if back % 3 else "2.0.0",
                "client": client,
                "outcome": "completed",
                "started": started,
                "completed": started * 4 // 5,
                "bytes": started * GIB // 7,
            }
