"""Sending what is in the outbox: some mails at a time, over one connection. For one event loop.

While the mail server takes nothing at all, all mails wait, and none of them counts as tried. The first of
such failures in a row is logged. When the process stops, the mail that is being handed over is finished.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Row

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.errors import DatabaseError
from gateway.mail.announcing import fill
from gateway.mail.composing import Composer, NoUse
from gateway.mail.faults import MailFault
from gateway.mail.kinds import RULES, Kind, State
from gateway.mail.outbox import AT_ONCE, BUSY_PAUSE, Outbox
from gateway.mail.smtp import MAIL_TIMEOUTS, Outgoing, Session, Transport
from gateway.mail.verdicts import Verdict, pause_after, server_pause
from gateway.runtime.background import finished_before_stop, repeat

CLEAN_SECONDS: Final = 3600.0
COUNT_SECONDS: Final = 5.0

_log = logging.getLogger("gateway.mail")


class Sender:
    """Sends mails when the outbox wakes it, and now and then."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        transport: Transport,
        composer: Composer,
        *,
        seconds: float,
        days: int,
        count: Callable[[str, str], None] = lambda _kind, _outcome: None,
        show_waiting: Callable[[int], None] = lambda _waiting: None,
    ) -> None:
        """seconds: of the setting `mail.timeout`. days: of `retention.mails`.

        count: is told the kind and the outcome of each mail. show_waiting: how many wait.
        """
        self._database: Final = database
        self._outbox: Final = outbox
        self._transport: Final = transport
        self._composer: Final = composer
        self._lease: Final = int(1000 * (MAIL_TIMEOUTS * seconds * (AT_ONCE + 1) + 60))
        self._days: Final = days
        self._count: Final = count
        self._show_waiting: Final = show_waiting
        self._failures = 0
        self._paused_until = 0.0
        self._next_clean = 0.0
        self._next_count = 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        message = "mails cannot be sent now: %s"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(repeat(self.send_due, self._outbox.wakes, (DatabaseError,), _log, message))
            tasks.create_task(repeat(self._fill, asyncio.Event(), (DatabaseError,), _log, message))
            tasks.create_task(repeat(self._tend, asyncio.Event(), (DatabaseError,), _log, message))

    def forget_pause(self) -> None:
        """Try the mail server at once."""
        self._paused_until = 0.0

    async def _fill(self) -> bool:
        if not await fill(self._database):
            return False
        self._outbox.wakes.set()
        return True

    async def _tend(self) -> bool:
        """Count what waits, and remove what is old."""
        if time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + COUNT_SECONDS
            self._show_waiting(await self._outbox.count_waiting())
        if time.monotonic() >= self._next_clean:
            while await self._outbox.remove_old(self._days):  # noqa: ASYNC110 - it is no waiting
                await asyncio.sleep(0.2)
            self._next_clean = time.monotonic() + CLEAN_SECONDS
        return False

    async def send_due(self) -> bool:
        """Send some mails. Returns whether there may be more. Raises DatabaseError."""
        if time.monotonic() < self._paused_until:
            return False
        rows = await self._outbox.claim(self._lease)
        if not rows:
            return False
        left = list(rows)
        try:
            async with self._transport.session() as session:
                while left:
                    async with finished_before_stop():
                        is_open = await self._send_one(session, left[0])
                    left.pop(0)
                    if not is_open:
                        break
        except MailFault as fault:
            self._failures += 1
            pause = server_pause(self._failures)
            self._paused_until = time.monotonic() + pause / 1000
            if self._failures == 1:
                _log.warning("mails cannot be sent now, and wait: %s", fault.log_text)
            await self._outbox.give_back(left, pause, str(fault))
            return False
        await self._outbox.give_back(left, 0, None)
        self._failures = 0
        return True

    async def _send_one(self, session: Session, row: Row[Any]) -> bool:
        """Send a mail. Returns whether the session can be used further. Raises MailFault, of all mails."""
        kind = Kind(row.kind)
        mail = await self._compose(row)
        if mail is None:
            return True
        if not RULES[kind].urgent and await self._outbox.is_busy(mail.recipient):
            await self._outbox.give_back([row], BUSY_PAUSE, "the address has had many mails in this hour")
            return True
        try:
            await session.send(mail)
        except MailFault as fault:
            if fault.verdict is Verdict.ALL_WAIT:
                raise
            await self._note_fault(row, mail, fault)
            return fault.code is not None
        self._count(kind, "sent")
        values = {"recipient": mail.recipient, "code": 250, "error": None, "tried": now()}
        if not await self._outbox.settle(row, State.SENT, **values):
            await session.withdraw(mail)
        return True

    async def _compose(self, row: Row[Any]) -> Outgoing | None:
        try:
            async with self._database.reading() as sql:
                return await self._composer.compose(sql, row, now())
        except NoUse as reason:
            await self._outbox.settle(row, State.DROPPED, error=str(reason))
            self._count(row.kind, "dropped")
        except DatabaseError:
            raise
        except Exception:
            _log.exception("the mail %s cannot be written; this is a defect of the gateway", row.id)
            await self._outbox.settle(row, State.FAILED, error="it cannot be written (the log says more)")
            self._count(row.kind, "failed")
        return None

    async def _note_fault(self, row: Row[Any], mail: Outgoing, fault: MailFault) -> None:
        """Write down that a mail was not taken, and when it is tried again."""
        values: dict[str, Any] = {"code": fault.code, "error": fault.advice, "recipient": mail.recipient}
        if fault.verdict is Verdict.FAILED:
            self._count(mail.kind, "failed")
            await self._outbox.settle(row, State.FAILED, **values)
            _log.warning("the mail %s (%s) has failed for ever: %s", row.id, mail.kind, fault.log_text)
            return
        self._count(mail.kind, "retried")
        due = now() + pause_after(row.attempts, urgent=RULES[Kind(row.kind)].urgent)
        await self._outbox.settle(row, State.WAITING, due=due, **values)
