"""Sends what is in the outbox: work in the background of each web process.

1. A delivery that is due is *claimed*: a transaction gives it a claim and moves its due time LEASE_SECONDS
   ahead. Several processes share the work by `SKIP LOCKED`, or by SQLite's lock. When a process dies, what it
   had claimed is due again after that, so a message may come twice, with the same id, and is never lost.
2. Each endpoint has SLOTS of its own in a process. One that is slow holds up its own messages only.
3. What attempts brought is written in the transaction that claims the next ones, so a busy outbox takes one
   commit for many messages. Until it is committed it is kept, and written again.
4. Results lock their endpoint before the outbox, as do all who change both, so nobody waits in a circle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.types import new_id, now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.errors import DatabaseError
from gateway.runtime.background import repeat
from gateway.runtime.metrics import WEBHOOK_ATTEMPTS, Counters
from gateway.webhooks.endpoints import Endpoint, EndpointRepository, give_up
from gateway.webhooks.outcomes import Answer, Next, Outcome, decide, is_hopeless
from gateway.webhooks.sending import Sender, encode_body
from gateway.webhooks.signing import ID_PREFIX

_log = logging.getLogger("gateway.webhooks")

SLOTS: Final = 4
"""Requests to one endpoint at once, of one process: 40 messages a second where an answer takes 0.1 s."""
LEASE_SECONDS: Final = 60
"""An attempt takes 15 s at the most, and its result is written at once."""
TRIES_KEPT: Final = 12
"""More than one delivery gets by itself."""
SEEN_SECONDS: Final = 10
"""How old the time of an endpoint's last success may be: it is not written for each message."""


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process sends now. attempts: with this one."""

    id: str
    claim: str
    endpoint: Endpoint
    message: str
    body: bytes
    attempts: int
    tries: list[Any]


@dataclass(frozen=True)
class Done:
    """What an attempt brought. at: when it ended, ms."""

    sent: Claimed
    answer: Answer
    next: Next
    at: int


class Deliverer:
    """Delivers, when `wake` is called and now and then. For one event loop."""

    def __init__(
        self,
        database: Database,
        endpoints: EndpointRepository,
        sender: Sender,
        counters: Counters,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._sender = sender
        self._counters = counters
        self._wakes = asyncio.Event()
        self._running: dict[asyncio.Task[None], str] = {}
        self._done: list[Done] = []

    def wake(self) -> None:
        """Look at the outbox now."""
        self._wakes.set()

    async def run(self) -> None:
        """Work until cancelled. What was sent by then is written down."""
        try:
            async with self._sender:
                message = "webhooks are not delivered now: %s"
                await repeat(self.turn, self._wakes, (DatabaseError,), _log, message)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            with contextlib.suppress(DatabaseError):
                if self._done:
                    await self._write_and_claim([])

    async def turn(self) -> bool:
        """Write what was brought, and begin new attempts. Returns whether there may be more at once."""
        endpoints = await self._look()
        has_ended = bool(self._done)  # an endpoint may have had no free slot until now
        if not endpoints and not has_ended:
            return False
        claimed = await self._write_and_claim(endpoints)
        for each in claimed:
            task = asyncio.create_task(self._send(each))
            self._running[task] = each.endpoint.id
            task.add_done_callback(self._finished)
        return has_ended or bool(claimed)

    async def drain(self) -> None:
        """Work until nothing is due, and everything that was begun has ended. For commands and tests."""
        while await self.turn() or self._running or self._done:
            if self._running:
                await asyncio.wait(list(self._running), return_when=asyncio.FIRST_COMPLETED)

    def _free(self, endpoint_id: str) -> int:
        return SLOTS - Counter(self._running.values())[endpoint_id]

    async def _look(self) -> list[Endpoint]:
        """The endpoints that may be sent something that is due."""
        moment = now()
        asks = or_(WEBHOOK.c.paused_until.is_(None), WEBHOOK.c.paused_until <= moment)
        found = []
        async with self._database.reading() as sql:
            rows = (await sql.execute(select(WEBHOOK).where(WEBHOOK.c.disabled.is_(None), asks))).all()
            for row in rows:
                due = select(OUTBOX_WEBHOOK.c.id).where(*_is_due(row.id, moment)).limit(1)
                if self._free(row.id) > 0 and (await sql.execute(due)).first() is not None:
                    found.append(row)
        endpoints = [self._endpoints.read(row) for row in found]
        return [each for each in endpoints if each.unreadable is None]  # the start of the process tells of it

    async def _write_and_claim(self, endpoints: Sequence[Endpoint]) -> list[Claimed]:
        done = self._done[:]
        claimed: list[Claimed] = []
        async with self._database.writing() as sql:
            disabled = await _write(sql, done)
            for endpoint in endpoints:
                if endpoint.id not in disabled:
                    claimed += await _claim(sql, endpoint, self._free(endpoint.id))
        del self._done[: len(done)]
        return claimed

    async def _send(self, claimed: Claimed) -> None:
        secrets = claimed.endpoint.signing(now())
        answer = await self._sender.send(claimed.endpoint.url, secrets, claimed.message, claimed.body)
        follows = decide(answer, claimed.attempts, random.random())  # noqa: S311 - jitter
        self._counters.add(WEBHOOK_ATTEMPTS[follows.outcome])
        self._done.append(Done(claimed, answer, follows, now()))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wakes.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a webhook could not be sent: %s", type(error).__name__, exc_info=error)


def _is_due(webhook_id: str, moment: int) -> tuple[Any, ...]:
    return OUTBOX_WEBHOOK.c.webhook_id == webhook_id, OUTBOX_WEBHOOK.c.due <= moment


async def _claim(sql: AsyncConnection, endpoint: Endpoint, most: int) -> list[Claimed]:
    """Claim deliveries that are due."""
    moment = now()
    query = (
        select(
            *(OUTBOX_WEBHOOK.c[name] for name in ("id", "attempts", "tries")),
            WEBHOOK_EVENT.c.id.label("message"),
            *(WEBHOOK_EVENT.c[name] for name in ("type", "happened", "data")),
        )
        .select_from(OUTBOX_WEBHOOK.join(WEBHOOK_EVENT))
        .where(*_is_due(endpoint.id, moment))
        .order_by(OUTBOX_WEBHOOK.c.due, OUTBOX_WEBHOOK.c.id)
        .limit(most)
        .with_for_update(skip_locked=True, of=OUTBOX_WEBHOOK)
    )
    rows = (await sql.execute(query)).all()
    if not rows:
        return []
    claim = new_id()
    await sql.execute(
        update(OUTBOX_WEBHOOK)
        .where(OUTBOX_WEBHOOK.c.id.in_([row.id for row in rows]))
        .values(claim=claim, due=moment + 1000 * LEASE_SECONDS, attempts=OUTBOX_WEBHOOK.c.attempts + 1)
    )
    return [_claimed(row, claim, endpoint) for row in rows]


def _claimed(row: Any, claim: str, endpoint: Endpoint) -> Claimed:
    body = encode_body(row.type, row.happened, row.data)
    return Claimed(row.id, claim, endpoint, ID_PREFIX + row.message, body, row.attempts + 1, row.tries)


async def _write(sql: AsyncConnection, done: Sequence[Done]) -> set[str]:
    """Write what attempts brought. Returns the endpoints that are disabled because of it."""
    by_endpoint: dict[str, list[Done]] = {}
    for each in done:
        by_endpoint.setdefault(each.sent.endpoint.id, []).append(each)
    if not by_endpoint:
        return set()
    locked = select(WEBHOOK).where(WEBHOOK.c.id.in_(by_endpoint)).order_by(WEBHOOK.c.id).with_for_update()
    rows = (await sql.execute(locked)).all()
    for each in done:
        await _write_delivery(sql, each)
    return {row.id for row in rows if await _write_health(sql, row, by_endpoint[row.id])}


async def _write_delivery(sql: AsyncConnection, done: Done) -> None:
    """Write one result, unless the delivery was claimed by another process or replayed meanwhile."""
    answer, follows = done.answer, done.next
    tries = [*done.sent.tries, [done.at, answer.status, answer.milliseconds, answer.error]][-TRIES_KEPT:]
    values: dict[str, Any] = {"claim": None, "tries": tries, "due": None}
    if follows.again is not None:
        values["due"] = done.at + int(1000 * follows.again)
    else:
        values["state"] = "delivered" if follows.outcome is Outcome.DELIVERED else "failed"
    mine = (OUTBOX_WEBHOOK.c.id == done.sent.id, OUTBOX_WEBHOOK.c.claim == done.sent.claim)
    await sql.execute(update(OUTBOX_WEBHOOK).where(*mine).values(**values))


async def _write_health(sql: AsyncConnection, row: Row[Any], done: Iterable[Done]) -> bool:
    """Write how an endpoint does. Returns whether it is disabled because of it."""
    before = {name: row._mapping[name] for name in _HEALTH}
    after = dict(before)
    gone = False
    for each in sorted(done, key=lambda one: one.at):
        if each.answer.is_good:
            if after["failures"] or (after["last_success"] or 0) < each.at - 1000 * SEEN_SECONDS:
                after["last_success"] = each.at
            after |= {"failures": 0, "failing_since": None, "paused_until": None}
            continue
        after["failures"] += 1
        after["failing_since"] = after["failing_since"] or each.at
        after |= {"last_failure": each.at, "last_error": each.answer.error}
        if each.next.pause:
            paused = each.at + int(1000 * each.next.pause)
            after["paused_until"] = max(after["paused_until"] or 0, paused)
        gone = gone or each.next.is_gone
    why = None
    if gone:
        why = "it answered 410: its receiver is gone"
    elif after["failing_since"] and is_hopeless(after["failing_since"], after["failures"], now()):
        why = f"all attempts of five days have failed; the last: {after['last_error']}"
    if after != before:
        await sql.execute(update(WEBHOOK).where(WEBHOOK.c.id == row.id).values(**after))
    if why is None or row.disabled is not None:
        return False
    await disable(sql, row.id, why)
    return True


_HEALTH: Final = ("failures", "failing_since", "last_success", "last_failure", "last_error", "paused_until")


async def disable(sql: AsyncConnection, identifier: str, why: str) -> None:
    """Disable an endpoint, within the caller's transaction. why: a text for people."""
    this = (WEBHOOK.c.id == identifier, WEBHOOK.c.disabled.is_(None))
    await sql.execute(update(WEBHOOK).where(*this).values(disabled=now(), disabled_reason=why))
    await give_up(sql, identifier)
    _log.error(
        "webhook %s is disabled: %s. Mend it, then: download-gateway webhook enable %s",
        identifier,
        why,
        identifier,
    )
