"""Connections in the database. Their secrets are sealed, and leave only to check or to ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, delete, select, update

from gateway.connections.sealing import SealError, SecretBox
from gateway.database.engine import Database
from gateway.database.errors import Duplicate
from gateway.database.tables import CONNECTION
from gateway.database.types import new_id, now
from gateway.errors import Declined
from gateway.platforms.clients.api import Access
from gateway.platforms.clients.registry import CLIENTS

KEEP_SECONDS: Final = 1.0
"""How long connections are kept in memory: so long old secrets may be good after they were changed."""


@dataclass(frozen=True)
class Connection:
    """One shop account. Times are ms.

    secrets: of its signatures. api_key: of its API. shop: the shop's address. refused: deliveries with a
    bad signature, and `last_refused` the time of the last one. last_error: what was wrong with it.
    unreadable: why its secrets cannot be read, if they cannot; then it seems to have none, and no API key.
    mail: whether its buyers get a mail once there is something to download.
    """

    id: str
    kind: str
    name: str
    live: bool
    created: int
    secrets: tuple[str, ...] = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    shop: str | None = None
    cursor: Any = None
    last_event: int | None = None
    last_refused: int | None = None
    refused: int = 0
    last_error: str | None = None
    unreadable: SealError | None = None
    mail: bool = False

    def access(self, *, allow_loopback: bool) -> Access | None:
        """How to ask the platform's API; None without a key, or where it has no API. Raises ApiRefused."""
        client = CLIENTS.get(self.kind)
        if client is None or not self.api_key:
            return None
        return client.access(self.api_key, self.shop, self.live, allow_loopback)


class ConnectionRepository:
    """Keeps connections. Every method raises DatabaseError.

    Where the secrets of a connection cannot be read, `find` raises SealError, because a delivery needs them.
    It is still listed, shown, given new secrets and removed.
    """

    def __init__(self, database: Database, box: SecretBox) -> None:
        self.database = database
        self._box = box
        self._kept: dict[str, Connection] | None = None
        self._read_at = 0.0
        self._changes = 0
        self._reading: asyncio.Task[dict[str, Connection]] | None = None

    async def find(self, identifier: str) -> Connection | None:
        """Read a connection for a delivery. It may be as old as KEEP_SECONDS.

        All connections are read together, so strangers who try ids cause no work of the database. Everyone
        who asks during a read is answered by it, however long it takes.
        """
        kept = self._kept
        if kept is None or time.monotonic() - self._read_at >= KEEP_SECONDS:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
                self._reading.add_done_callback(_take_notice)
            kept = await asyncio.shield(self._reading)  # whoever began it may be cancelled before the others
        found = kept.get(identifier)
        if found is not None and found.unreadable is not None:
            raise found.unreadable
        return found

    async def _read_all(self) -> dict[str, Connection]:
        """Read all connections, and once more where this process has changed one meanwhile."""
        try:
            while True:
                begin, changes = time.monotonic(), self._changes
                async with self.database.reading() as sql:
                    rows = (await sql.execute(select(CONNECTION))).all()
                if changes == self._changes:
                    self._kept, self._read_at = {row.id: self._read(row) for row in rows}, begin
                    return self._kept
        finally:
            self._reading = None

    async def get(self, identifier: str) -> Connection | None:
        """Read a connection as it is now."""
        async with self.database.reading() as sql:
            row = (await sql.execute(select(CONNECTION).where(CONNECTION.c.id == identifier))).first()
        return None if row is None else self._read(row)

    async def list_all(self) -> list[Connection]:
        """Read all connections, in the order in which they were made."""
        async with self.database.reading() as sql:
            rows = await sql.execute(select(CONNECTION).order_by(CONNECTION.c.id))
            return [self._read(row) for row in rows]

    async def list_ids(self) -> list[str]:
        """The ids of all connections, also of those whose secrets cannot be read."""
        async with self.database.reading() as sql:
            return list(await sql.scalars(select(CONNECTION.c.id).order_by(CONNECTION.c.id)))

    async def create(
        self,
        kind: str,
        name: str,
        secrets: Sequence[str],
        *,
        live: bool = True,
        api_key: str | None = None,
        shop: str | None = None,
        mail: bool = False,
    ) -> Connection:
        """Make a connection. Raises Declined: connection_exists."""
        made = Connection(new_id(), kind, name, live, now(), tuple(secrets), api_key, shop, mail=mail)
        try:
            async with self.database.writing() as sql:
                await sql.execute(
                    CONNECTION.insert().values(
                        id=made.id,
                        kind=kind,
                        name=name,
                        live=live,
                        secrets=self._seal(made),
                        options={"shop": shop},
                        created=made.created,
                        mail=mail,
                    )
                )
        except Duplicate:
            raise Declined("connection_exists", "There is another connection of this name.") from None
        self._forget()
        return made

    async def change(self, identifier: str, **changes: Any) -> Connection:
        """Change name, live, secrets, api_key, shop or mail.

        Raises Declined, or SealError if nothing can be kept.

        Where the present secrets cannot be read, new ones have to be given; the API key is gone, too.
        """
        before = await self.get(identifier)
        if before is None:
            raise _unknown()
        if before.unreadable is not None and not changes.get("secrets"):
            raise before.unreadable
        after = Connection(**{**vars(before), "unreadable": None, **changes})
        try:
            async with self.database.writing() as sql:
                await sql.execute(
                    update(CONNECTION)
                    .where(CONNECTION.c.id == identifier)
                    .values(
                        name=after.name,
                        live=after.live,
                        secrets=self._seal(after),
                        options={"shop": after.shop},
                        mail=after.mail,
                    )
                )
        except Duplicate:
            raise Declined("connection_exists", "There is another connection of this name.") from None
        self._forget()
        return after

    async def remove(self, identifier: str) -> None:
        """Remove a connection with its inbox and mappings. Orders stay. Raises Declined."""
        async with self.database.writing() as sql:
            done = await sql.execute(delete(CONNECTION).where(CONNECTION.c.id == identifier))
        self._forget()
        if not done.rowcount:
            raise _unknown()

    async def seal_anew(self) -> tuple[int, dict[str, SealError]]:
        """Seal with the key of now what has an older one. Raises DatabaseError.

        Returns how many connections it was, and why others cannot be opened, by their names.
        """
        async with self.database.reading() as sql:
            rows = (await sql.execute(select(CONNECTION.c.id, CONNECTION.c.name, CONNECTION.c.secrets))).all()
        sealed, failed = 0, dict[str, SealError]()
        for row in rows:
            try:
                if self._box.is_current(row.secrets, row.id):
                    continue
                new = self._box.seal(self._box.open(row.secrets, row.id), row.id)
            except SealError as failure:
                failed[row.name] = failure
                continue
            async with self.database.writing() as sql:
                done = await sql.execute(
                    update(CONNECTION)
                    .where(CONNECTION.c.id == row.id, CONNECTION.c.secrets == row.secrets)
                    .values(secrets=new)
                )
            sealed += done.rowcount
        self._forget()
        return sealed, failed

    async def keep_cursor(self, identifier: str, cursor: dict[str, Any], before: Any) -> bool:
        """Write down how far the connection was looked through. Returns whether that was done.

        before: what was written there. Where it is something else now, another process goes on.
        """
        same = CONNECTION.c.cursor.is_(None) if before is None else CONNECTION.c.cursor == before
        async with self.database.writing() as sql:
            done = await sql.execute(
                update(CONNECTION).where(CONNECTION.c.id == identifier, same).values(cursor=cursor)
            )
        return bool(done.rowcount)

    async def count(self, identifier: str, *, events: int | None, refused: int, reason: str | None) -> None:
        """Add what was counted: the last event, and refused deliveries with the last reason."""
        values: dict[str, Any] = {} if events is None else {"last_event": events}
        if refused:
            values |= {
                "refused": CONNECTION.c.refused + refused,
                "last_refused": now(),
                "last_error": reason,
            }
        async with self.database.writing() as sql:
            await sql.execute(update(CONNECTION).where(CONNECTION.c.id == identifier).values(**values))

    def _forget(self) -> None:
        self._kept = None
        self._changes += 1

    def _seal(self, connection: Connection) -> bytes:
        value = {"secrets": list(connection.secrets), "api_key": connection.api_key}
        return self._box.seal(value, connection.id)

    def _read(self, row: Row[Any]) -> Connection:
        opened: dict[str, Any] = {"secrets": (), "api_key": None}
        unreadable: SealError | None = None
        try:
            opened = self._box.open(row.secrets, row.id)
        except SealError as failure:
            unreadable = failure
        return Connection(
            row.id,
            row.kind,
            row.name,
            row.live,
            row.created,
            tuple(opened["secrets"]),
            opened["api_key"],
            row.options.get("shop"),
            row.cursor,
            row.last_event,
            row.last_refused,
            row.refused,
            row.last_error,
            unreadable,
            row.mail,
        )


def _take_notice(task: asyncio.Task[dict[str, Connection]]) -> None:
    """Fetch the error of a failed read, which whoever waits for it has: else asyncio would log it."""
    if not task.cancelled():
        task.exception()


def _unknown() -> Declined:
    return Declined("connection_unknown", "There is no such connection.")
