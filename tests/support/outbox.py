"""An outbox of webhooks with what works on it, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.runtime.metrics import METRICS, Counters
from gateway.webhooks.deliveries import Delivery, DeliveryLog
from gateway.webhooks.delivering import Deliverer
from gateway.webhooks.endpoints import Endpoint, EndpointRepository
from gateway.webhooks.outbox.announcements import Announcement, EventType, announce_as
from gateway.webhooks.outbox.writing import announce
from gateway.webhooks.sending import Sender


def announcement(
    kind: EventType = EventType.PRODUCT_UPLOADED, happened: int | None = None, **options: Any
) -> Announcement:
    """Something that happened now."""
    return announce_as(kind, now() if happened is None else happened, {}, **options)


@dataclass
class Outbox:
    """endpoints, log: of the database. counters: what was counted."""

    database: Database
    folder: Path

    def __post_init__(self) -> None:
        self.endpoints = EndpointRepository(self.database, SecretBox(self.folder))
        self.log = DeliveryLog(self.database)
        self.counters = Counters()

    async def add(self, url: str = "https://shop.example/hook", *types: EventType) -> Endpoint:
        """Make an endpoint."""
        return await self.endpoints.create(url, None, [each.value for each in types])

    async def announce(self, *told: Announcement) -> int:
        """Write announcements; without any, one."""
        async with self.database.writing() as sql:
            return await announce(sql, told or [announcement()])

    async def deliver(self, *, loopback: bool = True) -> None:
        """Send what is due, as a web process does."""
        sender = Sender(allow_loopback=loopback)
        deliverer = Deliverer(self.database, self.endpoints, sender, self.counters)
        async with sender:
            await deliverer.drain()

    async def make_due(self) -> None:
        """Let time pass until everything that waits is due, and no receiver asks for less."""
        async with self.database.writing() as sql:
            waiting = OUTBOX_WEBHOOK.c.due.is_not(None)
            await sql.execute(update(OUTBOX_WEBHOOK).where(waiting).values(due=now()))
            await sql.execute(update(WEBHOOK).values(paused_until=None))

    async def deliveries(self, endpoint: Endpoint) -> list[Delivery]:
        """The log of an endpoint, the oldest first."""
        return (await self.log.list_page(endpoint.id, 200, None))[::-1]

    async def states(self, endpoint: Endpoint) -> list[tuple[str, int]]:
        """State and number of attempts of each delivery."""
        return [(each.state, each.attempts) for each in await self.deliveries(endpoint)]

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Types and data of what was announced, in the order in which it was."""
        query = select(WEBHOOK_EVENT.c.type, WEBHOOK_EVENT.c.data).order_by(WEBHOOK_EVENT.c.id)
        async with self.database.reading() as sql:
            return [(row.type, row.data) for row in await sql.execute(query)]

    def counted(self) -> dict[str, int]:
        """Attempts by their outcome."""
        values = zip(METRICS, self.counters.values(), strict=True)
        return {
            metric.label.partition('"')[2].rstrip('"'): value
            for metric, value in values
            if metric.name == "gateway_webhook_attempts_total" and value
        }
