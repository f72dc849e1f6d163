"""Telling customers of a new version: one mail to each, once, however often it is asked for.

That a version is announced is a row of its own. From it the outbox is filled, some customers after others in
the order of their ids, together with how far that is: so it goes on after a crash, and in another process,
and nobody is told twice. It is only filled while few such mails wait, so that the rows of a product with many
customers do not all lie there at once. How fast they leave is for the outbox to say.

Told are customers whose entitlement is active, was there when the version was announced, and opens the
version, and who have not said that they want no such mails (`news.py`). Test orders tell nobody.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.mail_tables import ANNOUNCEMENT, NEWS
from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, OUTBOX_MAIL, VERSION
from gateway.database.types import new_id, now
from gateway.mail.kinds import Kind, State
from gateway.mail.news import make_secrets
from gateway.mail.outbox import NewMail, add_mails
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.mappings import Scope

AT_ONCE: Final = 200
"""Customers of one transaction."""
MOST_WAITING: Final = 500
"""While so many mails about versions wait, no more are put into the outbox: some minutes of sending."""


def includes(product: str, version: str, published: int) -> Any:
    """The condition of entitlements that open a version (`gateway.orders.mappings.Share.opens`)."""
    opens = or_(
        ENTITLEMENT.c.scope == Scope.ALL,
        (ENTITLEMENT.c.scope == Scope.VERSION) & (ENTITLEMENT.c.version == version),
        (ENTITLEMENT.c.scope == Scope.UNTIL) & (ENTITLEMENT.c.updates_until >= published),
    )
    return (
        (ENTITLEMENT.c.product_id == product)
        & (ENTITLEMENT.c.status == EntitlementStatus.ACTIVE)
        & ENTITLEMENT.c.test.is_(False)
        & opens
    )


async def announce(database: Database, product: str, version: str) -> bool:
    """Have customers told of a version. Returns whether they were not told before. Raises DatabaseError."""
    values = {"product": product, "version": version, "created": now(), "last_customer": "", "mails": 0}
    async with database.writing() as sql:
        done = await sql.execute(insert(sql, ANNOUNCEMENT).values(**values).on_conflict_do_nothing())
    return bool(done.rowcount)


async def has_readers(database: Database, product: str, version: str) -> bool:
    """Whether anybody would be told if a version was announced now. Raises DatabaseError."""
    published = select(VERSION.c.published).where(VERSION.c.product == product, VERSION.c.version == version)
    async with database.reading() as sql:
        moment = (await sql.execute(published)).scalar_one_or_none()
        if moment is None:
            return False
        query = _readers(product, version, moment, now())
        return (await sql.execute(query.limit(1))).first() is not None


async def fill(database: Database) -> bool:
    """Put mails of one announcement into the outbox. Returns whether there may be more to do.

    Raises DatabaseError.
    """
    unfinished = ANNOUNCEMENT.c.finished.is_(None)
    async with database.reading() as sql:
        if (await sql.execute(select(ANNOUNCEMENT.c.product).where(unfinished).limit(1))).first() is None:
            return False
        if await _waiting(sql) >= MOST_WAITING:
            return False
    async with database.writing() as sql:
        query = select(ANNOUNCEMENT).where(unfinished).order_by(ANNOUNCEMENT.c.created).limit(1)
        row = (await sql.execute(query.with_for_update(skip_locked=True))).first()
        if row is None:
            return False
        await _fill_one(sql, row)
    return True


async def _waiting(sql: AsyncConnection) -> int:
    found = await sql.execute(
        select(func.count())
        .select_from(OUTBOX_MAIL)
        .where(OUTBOX_MAIL.c.kind == Kind.VERSION, OUTBOX_MAIL.c.state == State.WAITING)
    )
    return int(found.scalar_one())


def _readers(product: str, version: str, published: int, announced: int, after: str = "") -> Select[Any]:
    """The customers who are told of a version, in the order of their ids. after: from this id on."""
    return (
        select(ENTITLEMENT.c.customer_id)
        .distinct()
        .join(
            CUSTOMER_EMAIL,
            (CUSTOMER_EMAIL.c.customer_id == ENTITLEMENT.c.customer_id) & CUSTOMER_EMAIL.c.main,
        )
        .outerjoin(NEWS, NEWS.c.customer_id == ENTITLEMENT.c.customer_id)
        .where(
            includes(product, version, published),
            NEWS.c.declined.is_(None),
            ENTITLEMENT.c.created <= announced,
            ENTITLEMENT.c.customer_id > after,
        )
        .order_by(ENTITLEMENT.c.customer_id)
    )


async def _fill_one(sql: AsyncConnection, row: Row[Any]) -> None:
    published = (
        await sql.execute(
            select(VERSION.c.published).where(
                VERSION.c.product == row.product, VERSION.c.version == row.version
            )
        )
    ).scalar_one_or_none()
    customers: list[str] = []
    if published is not None:  # it was removed meanwhile
        query = _readers(row.product, row.version, published, row.created, row.last_customer)
        found = await sql.execute(query.limit(AT_ONCE))
        customers = [each for (each,) in found]
    about = {"product": row.product, "version": row.version}
    mails = [NewMail(new_id(), Kind.VERSION, about, customer_id=each) for each in customers]
    moment = now()
    await make_secrets(sql, customers)
    await add_mails(sql, mails, moment)
    values: dict[str, Any] = {"mails": row.mails + len(customers)}
    if customers:
        values["last_customer"] = customers[-1]
    if len(customers) < AT_ONCE:
        values["finished"] = moment
    same = (ANNOUNCEMENT.c.product == row.product) & (ANNOUNCEMENT.c.version == row.version)
    await sql.execute(update(ANNOUNCEMENT).where(same).values(**values))
