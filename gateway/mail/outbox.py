"""The outbox: mails wait in the database until a mail server has taken them, or never will.

Rules:

1. A mail is taken by one process at a time: it gets a time until which others leave it alone, in a short
   transaction (`SKIP LOCKED` on PostgreSQL; on SQLite a transaction that writes is alone anyway). When the
   process dies, another one takes the mail after that time. So a mail is sent at least once, with the same
   Message-ID each time.
2. What was erased meanwhile has no row any more: whoever has sent it learns so from `settle`.
3. Mails that somebody waits for go first, and a fifth of the speed is kept for them.
4. What is secret of a mail is encrypted until it is sent, and removed then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.tables import OUTBOX_MAIL
from gateway.database.types import new_id, now
from gateway.errors import Declined
from gateway.mail.kinds import GIVE_UP_DAYS, RULES, URGENT_PRIORITY, Kind, State

MINUTE: Final = 60_000
HOUR: Final = 3_600_000
DAY: Final = 86_400_000
AT_ONCE: Final = 5
"""Mails that a process takes together: few, because a mail to sign in waits for them to be sent."""
REMOVED_AT_ONCE: Final = 500
BUSY_PAUSE: Final = 10 * MINUTE
"""After which a mail is looked at again whose address has had enough of them."""


class Pace(NamedTuple):
    """The settings `mail.per_minute` and `mail.per_recipient`."""

    per_minute: int
    per_recipient: int


@dataclass(frozen=True)
class NewMail:
    """A mail for the outbox.

    about: ids of what it tells of. sealed: what is secret, encrypted for its id. expires: ms since 1970, when
    it is of no use any more. dedupe_key: of what is told once only.
    """

    id: str
    kind: Kind
    about: Mapping[str, Any]
    recipient: str | None = None
    customer_id: str | None = None
    language: str | None = None
    sealed: bytes | None = None
    expires: int | None = None
    dedupe_key: str | None = None


class Outbox:
    """The table `outbox_mail`. Every method raises DatabaseError."""

    def __init__(self, database: Database, pace: Pace) -> None:
        self._database: Final = database
        self._pace: Final = pace
        self._wakes = asyncio.Event()

    @property
    def wakes(self) -> asyncio.Event:
        """Set when something was put into the outbox by this process."""
        return self._wakes

    async def put(self, mail: NewMail, *, replaces: bool = False) -> bool:
        """Put a mail into the outbox. Returns whether that was done.

        It is not where strangers can cause such mails and the address has had enough of them in this hour.
        replaces: a mail of this kind to the address that still waits is of no use any more.
        """
        moment = now()
        async with self._database.writing() as sql:
            if RULES[mail.kind].capped:
                there = await _sent_to(sql, mail.recipient, moment, State.SENT, State.WAITING, State.DROPPED)
                if there >= self._pace.per_recipient:
                    return False
            if replaces:
                same = OUTBOX_MAIL.c.kind == mail.kind, OUTBOX_MAIL.c.recipient == mail.recipient
                await sql.execute(
                    update(OUTBOX_MAIL)
                    .where(OUTBOX_MAIL.c.state == State.WAITING, *same)
                    .values(state=State.DROPPED, due=None, sealed=None, error="a newer one was asked for")
                )
            await add_mails(sql, [mail], moment)
        self._wakes.set()
        return True

    async def claim(self, lease: int) -> list[Row[Any]]:
        """Take the mails that go next. lease: how long others leave them alone, ms.

        A row's `due` is the end of that time then. Mails that are of no use any more are dropped.
        """
        moment = now()
        waiting = OUTBOX_MAIL.c.state == State.WAITING
        async with self._database.reading() as sql:
            if not (
                await sql.execute(select(exists().where(waiting, OUTBOX_MAIL.c.due <= moment)))
            ).scalar_one():
                return []
        async with self._database.writing() as sql:
            await _drop_old(sql, moment)
            which = await self._next(sql, moment)
            if which is None:
                return []
            rows = (await sql.execute(which)).all()
            if not rows:
                return []
            until = moment + lease
            ids = [row.id for row in rows]
            await sql.execute(
                update(OUTBOX_MAIL)
                .where(OUTBOX_MAIL.c.id.in_(ids))
                .values(due=until, attempts=OUTBOX_MAIL.c.attempts + 1, tried=moment)
            )
            taken = await sql.execute(select(OUTBOX_MAIL).where(OUTBOX_MAIL.c.id.in_(ids)))
            found = {row.id: row for row in taken}
        return [found[each] for each in ids]

    async def _next(self, sql: AsyncConnection, moment: int) -> Select[Any] | None:
        """The mails that may go now; None where the speed is used up."""
        used = (
            await sql.execute(
                select(func.count()).select_from(OUTBOX_MAIL).where(OUTBOX_MAIL.c.tried > moment - MINUTE)
            )
        ).scalar_one()
        left = self._pace.per_minute - used
        if left <= 0:
            return None
        for_all = max(1, self._pace.per_minute * 4 // 5) - used
        query = (
            select(OUTBOX_MAIL.c.id)
            .where(OUTBOX_MAIL.c.state == State.WAITING, OUTBOX_MAIL.c.due <= moment)
            .order_by(OUTBOX_MAIL.c.priority, OUTBOX_MAIL.c.due, OUTBOX_MAIL.c.id)
            .limit(min(AT_ONCE, left if for_all <= 0 else for_all))
            .with_for_update(skip_locked=True)
        )
        return query.where(OUTBOX_MAIL.c.priority <= URGENT_PRIORITY) if for_all <= 0 else query

    async def is_busy(self, recipient: str) -> bool:
        """Whether an address has had as many mails in this hour as the settings allow."""
        async with self._database.reading() as sql:
            return await _sent_to(sql, recipient, now(), State.SENT) >= self._pace.per_recipient

    async def settle(self, row: Row[Any], state: State, **values: Any) -> bool:
        """Write down what became of a mail. Returns whether it was still there, and this process' to send."""
        done = {"state": state, "due": None, "sealed": None} if state is not State.WAITING else {}
        async with self._database.writing() as sql:
            changed = await sql.execute(
                update(OUTBOX_MAIL).where(_same(row)).values(**{"state": state, **done, **values})
            )
        return bool(changed.rowcount)

    async def give_back(self, rows: Sequence[Row[Any]], pause: int, error: str | None) -> None:
        """Leave mails for later that could not be tried. pause: ms. error: why."""
        if not rows:
            return
        values: dict[str, Any] = {"due": now() + pause, "attempts": OUTBOX_MAIL.c.attempts - 1, "tried": None}
        if error is not None:
            values["error"] = error
        async with self._database.writing() as sql:
            await sql.execute(update(OUTBOX_MAIL).where(or_(*(_same(row) for row in rows))).values(**values))

    async def count_waiting(self) -> int:
        """How many mails wait."""
        async with self._database.reading() as sql:
            found = await sql.execute(
                select(func.count()).select_from(OUTBOX_MAIL).where(OUTBOX_MAIL.c.state == State.WAITING)
            )
            return int(found.scalar_one())

    async def remove_old(self, days: int) -> bool:
        """Remove some mails that were settled so long ago. Returns whether there may be more."""
        old = (
            select(OUTBOX_MAIL.c.id)
            .where(OUTBOX_MAIL.c.created < now() - days * DAY, OUTBOX_MAIL.c.state != State.WAITING)
            .limit(REMOVED_AT_ONCE)
        )
        async with self._database.writing() as sql:
            done = await sql.execute(delete(OUTBOX_MAIL).where(OUTBOX_MAIL.c.id.in_(old)))
        return done.rowcount == REMOVED_AT_ONCE


async def add_mails(sql: AsyncConnection, mails: Sequence[NewMail], moment: int) -> None:
    """Put mails into the outbox, within the caller's transaction. What was told once already is left out."""
    rows = [
        {
            **vars(mail),
            "about": dict(mail.about),
            "priority": RULES[mail.kind].priority,
            "state": State.WAITING.value,
            "kind": mail.kind.value,
            "created": moment,
            "due": moment,
            "attempts": 0,
        }
        for mail in mails
    ]
    if rows:
        await sql.execute(insert(sql, OUTBOX_MAIL).on_conflict_do_nothing(), rows)


async def _sent_to(sql: AsyncConnection, recipient: str | None, moment: int, *states: State) -> int:
    """How many mails of this hour there are to an address, in these states."""
    lately = and_(OUTBOX_MAIL.c.recipient == recipient, OUTBOX_MAIL.c.created > moment - HOUR)
    counted = lately & OUTBOX_MAIL.c.state.in_(states)
    return int((await sql.execute(select(func.count()).select_from(OUTBOX_MAIL).where(counted))).scalar_one())


async def _drop_old(sql: AsyncConnection, moment: int) -> None:
    """Drop what is of no use any more, and give up what nobody has taken for days."""
    due = (OUTBOX_MAIL.c.state == State.WAITING) & (OUTBOX_MAIL.c.due <= moment)
    await sql.execute(
        update(OUTBOX_MAIL)
        .where(due, OUTBOX_MAIL.c.expires <= moment)
        .values(state=State.DROPPED, due=None, sealed=None, error="its time was over before it could be sent")
    )
    await sql.execute(
        update(OUTBOX_MAIL)
        .where(due, OUTBOX_MAIL.c.created < moment - GIVE_UP_DAYS * DAY)
        .values(state=State.FAILED, due=None, sealed=None)
    )


def _same(row: Row[Any]) -> Any:
    """The mail, while it is this process' to send."""
    return and_(
        OUTBOX_MAIL.c.id == row.id, OUTBOX_MAIL.c.state == State.WAITING, OUTBOX_MAIL.c.due == row.due
    )


async def list_mails(
    sql: AsyncConnection,
    *,
    state: str | None = None,
    kind: str | None = None,
    recipient: str | None = None,
    before: str | None = None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Read mails, the newest first. before: the id of one."""
    query = select(OUTBOX_MAIL).order_by(OUTBOX_MAIL.c.id.desc()).limit(limit)
    for column, value in (("state", state), ("kind", kind), ("recipient", recipient)):
        if value is not None:
            query = query.where(OUTBOX_MAIL.c[column] == value)
    if before is not None:
        query = query.where(OUTBOX_MAIL.c.id < before)
    return (await sql.execute(query)).all()


async def get_mail(sql: AsyncConnection, identifier: str) -> Row[Any] | None:
    """Read a mail."""
    return (await sql.execute(select(OUTBOX_MAIL).where(OUTBOX_MAIL.c.id == identifier))).first()


RESENT: Final = (Kind.READY, Kind.VERSION)
"""The kinds that can be written again. The others have a link or a code, which is gone once they are sent."""


async def resend(sql: AsyncConnection, identifier: str) -> str:
    """Send a mail once more, as a new one, or try one that waits at once. Returns the id of the mail.

    Raises Declined: mail_unknown, mail_gone.
    """
    row = await get_mail(sql, identifier)
    if row is None:
        raise Declined("mail_unknown", "There is no such mail.")
    moment = now()
    if row.state == State.WAITING:
        await sql.execute(
            update(OUTBOX_MAIL)
            .where(OUTBOX_MAIL.c.id == identifier, OUTBOX_MAIL.c.state == State.WAITING)
            .where(or_(OUTBOX_MAIL.c.tried.is_(None), OUTBOX_MAIL.c.tried < moment - MINUTE))
            .values(due=moment)
        )
        return identifier
    if row.kind not in RESENT:
        text = "Its link is gone; whoever needs it asks for another mail."
        raise Declined("mail_gone", text)
    again = NewMail(new_id(), Kind(row.kind), row.about, customer_id=row.customer_id, language=row.language)
    await add_mails(sql, [again], moment)
    return again.id
