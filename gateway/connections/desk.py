"""Everything that works for connections in the `web` process, made and run together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.connections.applying import Applier
from gateway.connections.inbox import Inbox
from gateway.connections.receiving import Receiver
from gateway.connections.reconciling import Reconciler
from gateway.connections.repository import ConnectionRepository
from gateway.connections.rotating import seal_anew
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database


class ConnectionDesk:
    """The parts. For one event loop."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        applied: Callable[[], None],
        *,
        allow_loopback: bool = False,
    ) -> None:
        """box: seals the secrets. applied: called when orders may have changed.

        allow_loopback: whether a shop's address may be plain http to this machine.
        """
        self.connections = ConnectionRepository(database, box)
        self.inbox = Inbox(database)
        self.applier = Applier(
            database,
            self.connections,
            applied,
            is_pressed=lambda: self.inbox.is_pressed,
            allow_loopback=allow_loopback,
        )
        self.receiver = Receiver(self.connections, self.inbox, self.applier.wake)
        self._reconciler = Reconciler(
            self.connections, self.inbox, self.applier.wake, allow_loopback=allow_loopback
        )
        self.allow_loopback = allow_loopback

    async def run(self) -> None:
        """Apply events, look for lost ones, and write down what was counted, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(seal_anew(self.connections))
                for work in (self.applier.run(), self._reconciler.run(), self.receiver.run()):
                    tasks.create_task(work)
        finally:
            await self.receiver.write_counts()
