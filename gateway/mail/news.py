"""Who wants no mails about new versions, and the links by which customers say so without signing in.

A link has a secret of 256 bits by chance, made when a customer is told of a version for the first time. It is
the same in every mail, names nobody, does not expire, and can do one thing only: to end these mails. To have
them again, the customer signs in.

    what comes to /my/news/SECRET        what happens
    GET, as scanners of mails do         nothing changes: a page with a button
    POST from that page                  ended
    POST by a mail program (RFC 8058)    ended: no cookie, no Origin, any body
    the same with another site's Origin  ended without cookies, as a mail program in a browser may send it
    the same with cookies                refused, as all that another site's page sends
    any of them again                    the same answer
    a secret that is not there           404, and nothing is told of anybody
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.mail_tables import NEWS
from gateway.database.statements import insert

SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


async def make_secrets(sql: AsyncConnection, customers: Iterable[str]) -> None:
    """See that each customer has the secret of a link."""
    rows = [{"customer_id": each, "secret": secrets.token_urlsafe(SECRET_BYTES)} for each in customers]
    if rows:
        await sql.execute(insert(sql, NEWS).on_conflict_do_nothing(), rows)


async def read_choice(sql: AsyncConnection, customer_id: str) -> tuple[str | None, bool]:
    """The secret of a customer's link, if there is one, and whether the customer wants news."""
    row = (await sql.execute(select(NEWS).where(NEWS.c.customer_id == customer_id))).first()
    return (None, True) if row is None else (row.secret, row.declined is None)


async def find_by_secret(sql: AsyncConnection, secret: str) -> tuple[str, bool] | None:
    """Whose link this is, and whether the customer wants news; None for nobody's."""
    if _SECRET.fullmatch(secret) is None:
        return None
    row = (await sql.execute(select(NEWS).where(NEWS.c.secret == secret))).first()
    return None if row is None else (row.customer_id, row.declined is None)


async def choose(sql: AsyncConnection, customer_id: str, *, wanted: bool, moment: int) -> None:
    """Note whether a customer wants news. moment: now, ms."""
    await make_secrets(sql, [customer_id])
    same = NEWS.c.declined.is_not(None) if wanted else NEWS.c.declined.is_(None)
    values = {"declined": None if wanted else moment}
    await sql.execute(update(NEWS).where(NEWS.c.customer_id == customer_id, same).values(**values))
