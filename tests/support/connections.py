"""Connections with their inbox: deliveries are signed, taken and applied in the loop of the test."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from gateway.connections.applying import Applier
from gateway.connections.inbox import Inbox
from gateway.connections.receiving import Receiver
from gateway.connections.repository import Connection, ConnectionRepository
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.database.tables import INBOX
from gateway.platforms.clients.api import new_session
from gateway.platforms.interface import Answer, Message
from tests.support.webhooks import SECRETS, signature


class Shops:
    """The parts that work behind /hooks."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.connections = ConnectionRepository(database, SecretBox(folder))
        self.inbox = Inbox(database)
        self.receiver = Receiver(self.connections, self.inbox, lambda: None)
        self.commits = 0
        self.applier = Applier(database, self.connections, self._applied, allow_loopback=True)

    def _applied(self) -> None:
        self.commits += 1

    async def connect(self, kind: str, **options: Any) -> Connection:
        """Make a connection with the secret of the tests."""
        name = options.pop("name", kind)
        return await self.connections.create(kind, name, [SECRETS[kind]], **options)

    async def deliver(
        self, shop: Connection, payload: Any, headers: dict[str, str] | None = None, **options: Any
    ) -> Answer:
        """Sign and deliver. payload: a value of JSON, or bytes. options: secret, now, identity, received."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        received = options.pop("received", 1_790_000_000_000)
        secret = options.pop("secret", SECRETS[shop.kind])
        options.setdefault("now", int(time.time()))
        signed = {**signature(shop.kind, body, secret, **options), **(headers or {})}
        return await self.receiver.receive(
            shop.id,
            Message(tuple(signed.items()), body, received, secret if shop.kind == "gumroad" else None),
        )

    async def apply(self) -> None:
        """Apply everything that is due."""
        while await self.applier.apply_due():
            pass

    async def look_up(self) -> None:
        """Ask the APIs about everything that is due."""
        async with new_session() as session:
            await self.applier.look_up_due(session)

    async def states(self) -> list[tuple[str, str, str | None]]:
        """Type, state and error of everything in the inbox."""
        async with self.database.reading() as sql:
            query = select(INBOX.c.type, INBOX.c.state, INBOX.c.error).order_by(INBOX.c.id)
            return [tuple(row) for row in await sql.execute(query)]
