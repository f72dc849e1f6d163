"""What happens to one delivery, from its bytes to the answer that its platform wants.

verify → commit to the inbox → answer; applying comes afterwards. Deliveries with a bad signature are counted,
and logged with a bound on their lines, but not stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.connections.inbox import Inbox
from gateway.connections.repository import Connection, ConnectionRepository
from gateway.errors import DatabaseError
from gateway.platforms.interface import EXPLANATIONS, OK, Answer, Message, Reason
from gateway.platforms.registry import PLATFORMS
from gateway.runtime.line_budget import LineBudget

COUNT_SECONDS: Final = 2.0
"""How often what was counted is written down."""
UNKNOWN: Final = Answer(404)
REFUSED: Final = Answer(401)
TOO_LARGE: Final = Answer(413)

_log = logging.getLogger("gateway.connections")


@dataclass
class _Counted:
    event: int | None = None
    refused: int = 0
    reason: Reason | None = None


class Receiver:
    """Takes deliveries. Its coroutines are for one event loop."""

    def __init__(self, connections: ConnectionRepository, inbox: Inbox, taken: Callable[[], None]) -> None:
        """taken: called once events are in the inbox."""
        self._connections = connections
        self._inbox = inbox
        self._taken = taken
        self._counted: dict[str, _Counted] = {}
        self._budget = LineBudget()

    async def receive(self, connection_id: str, message: Message) -> Answer:
        """Take a delivery. Raises DatabaseError, SealError: the platform is to come again."""
        connection = await self._connections.find(connection_id)
        if connection is None:
            return UNKNOWN
        platform = PLATFORMS[connection.kind]
        if platform.is_ping(message):
            return OK
        verdict = platform.verify(message, connection.secrets, time.time())
        if verdict.reason is not None:
            return self._refuse(connection, verdict.reason)
        readings = platform.read(message, tells=False)
        keys = await self._inbox.take(connection, readings)
        self._counted.setdefault(connection.id, _Counted()).event = message.received_at
        self._taken()
        return platform.answer(readings, keys)

    def _refuse(self, connection: Connection, reason: Reason) -> Answer:
        counted = self._counted.setdefault(connection.id, _Counted())
        counted.refused += 1
        counted.reason = reason
        omitted = self._budget.take(time.monotonic())
        if omitted is not None:
            why = EXPLANATIONS[reason]
            _log.warning("a webhook of %s was refused: %s (%d lines left out)", connection.id, why, omitted)
        return TOO_LARGE if reason is Reason.BODY_TOO_LARGE else REFUSED

    async def run(self) -> None:
        """Write down what was counted, until cancelled."""
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            await self.write_counts()

    async def write_counts(self) -> None:
        """Write down what was counted since the last time. What cannot be written is counted on."""
        counted, self._counted = self._counted, {}
        for identifier, each in counted.items():
            reason = None if each.reason is None else EXPLANATIONS[each.reason]
            try:
                await self._connections.count(
                    identifier, events=each.event, refused=each.refused, reason=reason
                )
            except DatabaseError:
                there = self._counted.setdefault(identifier, _Counted())
                there.event = there.event or each.event
                there.refused += each.refused
                there.reason = there.reason or each.reason
