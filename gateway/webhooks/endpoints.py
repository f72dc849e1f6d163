"""Endpoints in the database. Their secrets are sealed; they leave to sign, and once when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Row, delete, func, select, update

from gateway.connections.sealing import SealError, SecretBox
from gateway.database.engine import Database
from gateway.database.types import new_id, now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK
from gateway.errors import Declined
from gateway.webhooks.signing import new_secret

MOST_ENDPOINTS: Final = 50
"""More are no use, and each of them costs a row for every event."""
MOST_SECRETS: Final = 4
"""With which a message is signed during rotations: the newest ones."""
OVERLAP_SECONDS: Final = 24 * 3600
"""How long the secret before a new one still signs, unless something else is asked for."""


@dataclass(frozen=True)
class Secret:
    """A secret. until: when it ends, ms; None: it does not."""

    text: str = field(repr=False)
    until: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where events are sent. Times are ms.

    types: of events that it gets; none: all. secrets: the newest first. paused_until: until then it asked for
    nothing. failures: attempts in a row, the first of them at failing_since. disabled: since when it gets
    nothing, and why. unreadable: why its secrets cannot be read, if they cannot; then it seems to have none.
    """

    id: str
    url: str
    name: str | None
    types: tuple[str, ...]
    created: int
    secrets: tuple[Secret, ...] = field(repr=False)
    paused_until: int | None = None
    failures: int = 0
    failing_since: int | None = None
    last_success: int | None = None
    last_failure: int | None = None
    last_error: str | None = None
    disabled: int | None = None
    disabled_reason: str | None = None
    unreadable: SealError | None = None

    def signing(self, moment: int) -> list[str]:
        """The secrets that sign now."""
        return [each.text for each in self.secrets if each.until is None or each.until > moment]


class EndpointRepository:
    """Keeps endpoints. Every method raises DatabaseError."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self.database = database
        self._box = box

    async def get(self, identifier: str) -> Endpoint:
        """Read an endpoint. Raises Declined: webhook_unknown."""
        async with self.database.reading() as sql:
            row = (await sql.execute(select(WEBHOOK).where(WEBHOOK.c.id == identifier))).first()
        if row is None:
            raise unknown()
        return self.read(row)

    async def list_all(self) -> list[Endpoint]:
        """Read all endpoints, in the order in which they were made."""
        async with self.database.reading() as sql:
            return [self.read(row) for row in await sql.execute(select(WEBHOOK).order_by(WEBHOOK.c.id))]

    async def create(self, url: str, name: str | None, types: Sequence[str]) -> Endpoint:
        """Make an endpoint, with a new secret. Raises Declined: webhook_limit."""
        secret = Secret(new_secret())
        made = Endpoint(new_id(), url, name, tuple(dict.fromkeys(types)), now(), (secret,))
        async with self.database.writing() as sql:
            count = await sql.scalar(select(func.count()).select_from(WEBHOOK))
            if (count or 0) >= MOST_ENDPOINTS:
                raise Declined(
                    "webhook_limit", f"There are {MOST_ENDPOINTS} webhooks already; remove one of them."
                )
            await sql.execute(
                WEBHOOK.insert().values(
                    id=made.id,
                    url=url,
                    name=name,
                    types=list(made.types),
                    secrets=self._seal(made),
                    created=made.created,
                )
            )
        return made

    async def change(self, identifier: str, changes: Mapping[str, Any]) -> Endpoint:
        """Change url, name, types or enabled. Raises Declined: webhook_unknown.

        An endpoint that is enabled, or gets another URL, begins anew: what failed before does not count.
        """
        before = await self.get(identifier)
        values: dict[str, Any] = {}
        for name in ("url", "name"):
            if name in changes:
                values[name] = changes[name]
        if "types" in changes:
            values["types"] = list(dict.fromkeys(changes["types"] or ()))
        enabled = changes.get("enabled")
        if enabled or ("url" in changes and changes["url"] != before.url):
            values |= {"failures": 0, "failing_since": None, "paused_until": None}
        if enabled:
            values |= {"disabled": None, "disabled_reason": None}
        elif enabled is False and before.disabled is None:
            values |= {"disabled": now(), "disabled_reason": "it was switched off"}
        if not values:  # what is switched off is switched off once more
            return before
        async with self.database.writing() as sql:
            done = await sql.execute(update(WEBHOOK).where(WEBHOOK.c.id == identifier).values(**values))
            if not done.rowcount:
                raise unknown()
            if values.get("disabled"):
                await give_up(sql, identifier)
        return await self.get(identifier)

    async def rotate(self, identifier: str, overlap: int = OVERLAP_SECONDS) -> Endpoint:
        """Give an endpoint a new secret. overlap: seconds for which the others still sign, too.

        Raises Declined: webhook_unknown. Secrets that cannot be read are replaced.
        """
        async with self.database.writing() as sql:
            query = select(WEBHOOK).where(WEBHOOK.c.id == identifier).with_for_update()
            row = (await sql.execute(query)).first()
            if row is None:
                raise unknown()
            before = self.read(row)
            moment = now()
            end = moment + 1000 * overlap
            old = [replace(each, until=min(each.until or end, end)) for each in before.secrets]
            alive = [each for each in old if each.until is not None and each.until > moment]
            kept = (Secret(new_secret()), *alive)[:MOST_SECRETS]
            after = replace(before, secrets=kept, unreadable=None)
            await sql.execute(
                update(WEBHOOK).where(WEBHOOK.c.id == identifier).values(secrets=self._seal(after))
            )
        return after

    async def remove(self, identifier: str) -> None:
        """Remove an endpoint with its deliveries. Raises Declined: webhook_unknown."""
        async with self.database.writing() as sql:
            done = await sql.execute(delete(WEBHOOK).where(WEBHOOK.c.id == identifier))
            await sql.execute(delete(OUTBOX_WEBHOOK).where(OUTBOX_WEBHOOK.c.webhook_id == identifier))
        if not done.rowcount:
            raise unknown()

    async def seal_anew(self) -> tuple[int, dict[str, SealError]]:
        """Seal with the key of now what has an older one.

        Returns how many endpoints it was, and why others cannot be opened, by their names.
        """
        async with self.database.reading() as sql:
            rows = (await sql.execute(select(WEBHOOK.c.id, WEBHOOK.c.name, WEBHOOK.c.secrets))).all()
        sealed, failed = 0, dict[str, SealError]()
        for row in rows:
            try:
                if self._box.is_current(row.secrets, row.id):
                    continue
                new = self._box.seal(self._box.open(row.secrets, row.id), row.id)
            except SealError as failure:
                failed[row.name or row.id] = failure
                continue
            async with self.database.writing() as sql:
                same = (WEBHOOK.c.id == row.id, WEBHOOK.c.secrets == row.secrets)
                done = await sql.execute(update(WEBHOOK).where(*same).values(secrets=new))
            sealed += done.rowcount
        return sealed, failed

    def read(self, row: Row[Any]) -> Endpoint:
        """The endpoint of a row."""
        values = dict(row._mapping)
        sealed = values.pop("secrets")
        unreadable: SealError | None = None
        secrets: tuple[Secret, ...] = ()
        try:
            opened = self._box.open(sealed, row.id)
            secrets = tuple(Secret(text, until) for text, until in opened["secrets"])
        except SealError as failure:
            unreadable = failure
        return Endpoint(**{**values, "types": tuple(row.types)}, secrets=secrets, unreadable=unreadable)

    def _seal(self, endpoint: Endpoint) -> bytes:
        value = {"secrets": [[each.text, each.until] for each in endpoint.secrets]}
        return self._box.seal(value, endpoint.id)


async def give_up(sql: Any, identifier: str) -> None:
    """End what waits for an endpoint that gets nothing any more. It stays in the log, and may be replayed."""
    await sql.execute(
        update(OUTBOX_WEBHOOK)
        .where(OUTBOX_WEBHOOK.c.webhook_id == identifier, OUTBOX_WEBHOOK.c.due.is_not(None))
        .values(state="failed", due=None, claim=None)
    )


def unknown() -> Declined:
    """The refusal for an id that no endpoint has."""
    return Declined("webhook_unknown", "There is no such webhook.")
