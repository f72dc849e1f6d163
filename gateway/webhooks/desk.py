"""Everything that works for outgoing webhooks in the `web` process, made and run together."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final, NoReturn

from gateway.config.settings import Settings
from gateway.connections.rotating import seal_anew
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.database.types import new_id, now
from gateway.errors import DatabaseError
from gateway.runtime.metrics import WEBHOOKS_DISABLED, WEBHOOKS_WAITING, Counters
from gateway.webhooks.deliveries import DeliveryLog
from gateway.webhooks.delivering import Deliverer, disable
from gateway.webhooks.endpoints import Endpoint, EndpointRepository
from gateway.webhooks.outbox.announcements import TEST
from gateway.webhooks.outcomes import Answer
from gateway.webhooks.sending import Sender, encode_body
from gateway.webhooks.signing import ID_PREFIX

_log = logging.getLogger("gateway.webhooks")

COUNT_SECONDS: Final = 15.0
"""How often it is counted what waits."""
CLEAN_SECONDS: Final = 3600.0
CLEAN_PAUSE: Final = 0.2
MOST_WAITING: Final = 100_000
"""Deliveries that may wait for an endpoint that fails, some 100 MB. Beyond, it is disabled."""


class WebhookDesk:
    """The parts. For one event loop."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        counters: Counters,
        *,
        allow_loopback: bool,
        keep_days: int,
    ) -> None:
        """box: seals the secrets. allow_loopback: whether endpoints may be on this machine.

        keep_days: how long the log of deliveries is kept.
        """
        self.allow_loopback = allow_loopback
        self.endpoints = EndpointRepository(database, box)
        self.log = DeliveryLog(database)
        self.deliverer = Deliverer(database, self.endpoints, Sender(allow_loopback=allow_loopback), counters)
        self._database = database
        self._counters = counters
        self._keep_days = keep_days
        self._shown = (0, 0)

    @classmethod
    def of(cls, settings: Settings, database: Database, counters: Counters | None) -> WebhookDesk:
        """The parts of the settings. counters: of this process."""
        return cls(
            database,
            SecretBox.of(settings),
            counters or Counters(),
            allow_loopback=settings.loopback_webhooks,
            keep_days=settings.retention_webhooks,
        )

    async def run(self) -> None:
        """Deliver, count and clean until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(seal_anew(self.endpoints, "webhooks"))
            tasks.create_task(self.deliverer.run())
            tasks.create_task(self._keep())

    async def _keep(self) -> NoReturn:
        clean_at = time.monotonic() + random.uniform(60, 300)  # noqa: S311 - processes at different moments
        while True:
            try:
                await self.count()
                if time.monotonic() >= clean_at:
                    while await self.log.remove_old(self._keep_days):  # noqa: ASYNC110 - it is no waiting
                        await asyncio.sleep(CLEAN_PAUSE)
                    clean_at = time.monotonic() + CLEAN_SECONDS
            except DatabaseError as error:
                _log.debug("webhooks are not counted now: %s", error)  # others tell of it
            await asyncio.sleep(COUNT_SECONDS)

    async def count(self) -> None:
        """Show how much waits, and disable endpoints for which too much does. Raises DatabaseError."""
        waiting, disabled = 0, 0
        for endpoint in await self.endpoints.list_all():
            if endpoint.disabled is not None:
                disabled += 1
                continue
            number = await self.log.count_waiting(endpoint.id)
            waiting += number
            if number > MOST_WAITING and endpoint.failing_since is not None:
                async with self._database.writing() as sql:
                    await disable(sql, endpoint.id, f"it fails, and more than {MOST_WAITING} messages wait")
        self._counters.add(WEBHOOKS_WAITING, waiting - self._shown[0])
        self._counters.add(WEBHOOKS_DISABLED, disabled - self._shown[1])
        self._shown = (waiting, disabled)


async def try_endpoint(endpoint: Endpoint, *, allow_loopback: bool) -> Answer:
    """Send a message of the type `webhook.test`, once, which is not in the log. Raises SealError."""
    if endpoint.unreadable is not None:
        raise endpoint.unreadable
    moment = now()
    body = encode_body(TEST, moment, {"webhookId": endpoint.id})
    async with Sender(allow_loopback=allow_loopback) as sender:
        return await sender.send(endpoint.url, endpoint.signing(moment), ID_PREFIX + new_id(), body)
