"""The log of deliveries: which message went to which endpoint, what came of it, and sending it once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, select, update

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.errors import Declined
from gateway.webhooks.endpoints import unknown
from gateway.webhooks.signing import ID_PREFIX

STATES: Final = ("waiting", "delivered", "failed")
AT_ONCE: Final = 500
"""Messages that are removed in one transaction."""
DAY: Final = 86_400_000


@dataclass(frozen=True)
class Try:
    """One attempt. at: ms since 1970 UTC."""

    at: int
    status: int | None
    milliseconds: int
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """One message to one endpoint. Times are ms.

    message: the `webhook-id`. attempts: in all, the latest of them in `tries`. due: when it is sent next.
    """

    id: str
    message: str
    type: str
    state: str
    attempts: int
    due: int | None
    happened: int
    created: int
    data: dict[str, Any]
    tries: tuple[Try, ...]


class DeliveryLog:
    """Reads and replays deliveries. Every method raises DatabaseError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_page(
        self, webhook_id: str, limit: int, before: str | None, state: str | None = None
    ) -> list[Delivery]:
        """Read deliveries of an endpoint, the newest first. before: the id of a delivery."""
        query = (
            select(
                *(OUTBOX_WEBHOOK.c[name] for name in ("id", "state", "attempts", "due", "tries")),
                WEBHOOK_EVENT.c.id.label("message"),
                *(WEBHOOK_EVENT.c[name] for name in ("type", "happened", "created", "data")),
            )
            .select_from(OUTBOX_WEBHOOK.join(WEBHOOK_EVENT))
            .where(OUTBOX_WEBHOOK.c.webhook_id == webhook_id)
            .order_by(OUTBOX_WEBHOOK.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(OUTBOX_WEBHOOK.c.id < before)
        if state is not None:
            query = query.where(OUTBOX_WEBHOOK.c.state == state)
        async with self._database.reading() as sql:
            rows = (await sql.execute(query)).all()
        return [
            Delivery(
                row.id,
                ID_PREFIX + row.message,
                row.type,
                row.state,
                row.attempts,
                row.due,
                row.happened,
                row.created,
                row.data,
                tuple(Try(*each) for each in row.tries),
            )
            for row in rows
        ]

    async def replay(self, webhook_id: str, delivery_id: str) -> None:
        """Let a message be sent once more, with the same id. It gets all attempts anew.

        Raises Declined: webhook_unknown, delivery_unknown, webhook_disabled.
        """
        async with self._database.writing() as sql:
            disabled = (
                await sql.execute(select(WEBHOOK.c.disabled).where(WEBHOOK.c.id == webhook_id))
            ).first()
            if disabled is None:
                raise unknown()
            if disabled[0] is not None:
                raise Declined("webhook_disabled", "The webhook is disabled; enable it first.")
            this = (OUTBOX_WEBHOOK.c.id == delivery_id, OUTBOX_WEBHOOK.c.webhook_id == webhook_id)
            done = await sql.execute(
                update(OUTBOX_WEBHOOK).where(*this).values(state="waiting", due=now(), attempts=0, claim=None)
            )
        if not done.rowcount:
            raise Declined("delivery_unknown", "There is no such delivery of this webhook.")

    async def count_waiting(self, webhook_id: str | None = None) -> int:
        """How many deliveries wait, for one endpoint or for all."""
        query = select(func.count()).select_from(OUTBOX_WEBHOOK).where(OUTBOX_WEBHOOK.c.due.is_not(None))
        if webhook_id is None:
            query = query.where(OUTBOX_WEBHOOK.c.webhook_id.in_(select(WEBHOOK.c.id)))
        else:
            query = query.where(OUTBOX_WEBHOOK.c.webhook_id == webhook_id)
        async with self._database.reading() as sql:
            return int(await sql.scalar(query) or 0)

    async def remove_old(self, days: int) -> bool:
        """Remove messages that are older and wait for nothing. Returns whether there may be more."""
        waiting = select(OUTBOX_WEBHOOK.c.id).where(
            OUTBOX_WEBHOOK.c.event_id == WEBHOOK_EVENT.c.id,
            OUTBOX_WEBHOOK.c.due.is_not(None),
            OUTBOX_WEBHOOK.c.webhook_id.in_(select(WEBHOOK.c.id)),
        )
        old = (
            select(WEBHOOK_EVENT.c.id)
            .where(WEBHOOK_EVENT.c.created < now() - days * DAY, ~waiting.exists())
            .order_by(WEBHOOK_EVENT.c.created)
            .limit(AT_ONCE)
        )
        async with self._database.writing() as sql:
            done = await sql.execute(delete(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.id.in_(old)))
        return done.rowcount == AT_ONCE
