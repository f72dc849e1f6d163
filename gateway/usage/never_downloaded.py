"""What was paid for and never downloaded: a reason for refunds and disputes, and for a friendly mail.

Listed are entitlements that are active and no tests, of orders that were placed long enough ago (or that
were granted by hand so long ago), for which nothing has begun, or nothing was completed. Counted is what any
token of the entitlement received, and what the same customer received of the same product by a token that
came from no entitlement, such as one that the shop has minted itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, any_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.database.usage_tables import DOWNLOAD, SERIES, USAGE_FILE

Missing = Literal["started", "completed"]
"""What there is none of: a download that began, or one that was completed."""
DEFAULT_DAYS: Final = 3
MOST_DAYS: Final = 36_500
LOOKED_AT: Final = 1_000
"""Entitlements of one look: some 50 ms on PostgreSQL with 135,000 entitlements, half of that on SQLite."""
LOOKS: Final = 20
"""Transactions of one answer of the API, about a second; then the reader goes on with the next page."""


class NeverFilter(NamedTuple):
    """Which are listed. before: ms since 1970 UTC by which the order was placed."""

    before: int
    missing: Missing = "started"
    product: str | None = None


class NeverPage(NamedTuple):
    """Some entitlements, and after which id to go on looking; None: all were looked at."""

    rows: Sequence[Row[Any]]
    after: str | None


async def search_never_downloaded(
    database: Database,
    only: NeverFilter,
    limit: int,
    after: str | None = None,
    looks: int | None = LOOKS,
) -> NeverPage:
    """Look in at most so many transactions (None: as many as it takes), or until `limit` were found.

    A page may be short, even empty, and have a next one. Raises DatabaseError.
    """
    found: list[Row[Any]] = []
    done = 0
    while looks is None or done < looks:
        async with database.reading() as sql:
            page = await look_for_never_downloaded(sql, only, limit - len(found), after)
        found += page.rows
        after = page.after
        done += 1
        if after is None or len(found) >= limit:
            break
    return NeverPage(found, after)


async def look_for_never_downloaded(
    sql: AsyncConnection, only: NeverFilter, limit: int, after: str | None = None
) -> NeverPage:
    """The same as `list_never_downloaded` among the next LOOKED_AT entitlements. A page may be empty.

    Where nearly everything was downloaded, a full page would take a look at all that was ever bought.
    """
    window = (
        select(ENTITLEMENT.c.id)
        .where(ENTITLEMENT.c.status == "active", ENTITLEMENT.c.test.is_(False))
        .order_by(ENTITLEMENT.c.id)
        .offset(LOOKED_AT - 1)
        .limit(1)
    )
    if only.product is not None:
        window = window.where(ENTITLEMENT.c.product_id == only.product)
    if after is not None:
        window = window.where(ENTITLEMENT.c.id > after)
    last = await sql.scalar(window)
    rows = await list_never_downloaded(sql, only, limit, after, last)
    return NeverPage(rows, str(rows[-1].id) if len(rows) == limit else last)


async def list_never_downloaded(
    sql: AsyncConnection, only: NeverFilter, limit: int, after: str | None = None, last: str | None = None
) -> Sequence[Row[Any]]:
    """Entitlements with their customers and orders, in the order of their ids. after, last: an id.

    `started` of a row: when the first download began, in ms; None: none did.
    """
    placed = func.coalesce(ORDER.c.placed, ENTITLEMENT.c.created)
    main = and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id, CUSTOMER_EMAIL.c.main)
    columns = [
        ENTITLEMENT.c.id,
        ENTITLEMENT.c.customer_id,
        ENTITLEMENT.c.product_id,
        ENTITLEMENT.c.quantity,
        CUSTOMER.c.name,
        CUSTOMER_EMAIL.c.email,
        ORDER.c.source,
        ORDER.c.external_id,
        ORDER.c.number,
        placed.label("placed"),
    ]
    if only.missing == "completed":
        first = select(func.min(DOWNLOAD.c.first)).join(SERIES, SERIES.c.id == DOWNLOAD.c.series_id)
        columns.append(first.where(_of_entitlement(), _counts("started")).scalar_subquery().label("started"))
    query = (
        select(*columns)
        .select_from(ENTITLEMENT)
        .join(CUSTOMER, CUSTOMER.c.id == ENTITLEMENT.c.customer_id)
        .outerjoin(CUSTOMER_EMAIL, main)
        .outerjoin(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id)
        .outerjoin(ORDER, ORDER.c.id == ORDER_LINE.c.order_id)
        .where(
            ENTITLEMENT.c.status == "active",
            ENTITLEMENT.c.test.is_(False),
            placed <= only.before,
            ~exists(
                select(DOWNLOAD.c.number)
                .join(SERIES, SERIES.c.id == DOWNLOAD.c.series_id)
                .where(_of_entitlement(), _counts(only.missing))
            ),
            ~exists(
                select(DOWNLOAD.c.number).where(
                    DOWNLOAD.c.direct,
                    DOWNLOAD.c.customer == ENTITLEMENT.c.customer_id,
                    _of_product(sql.dialect.name),
                    _counts(only.missing),
                )
            ),
        )
        .order_by(ENTITLEMENT.c.id)
        .limit(limit)
    )
    if only.product is not None:
        query = query.where(ENTITLEMENT.c.product_id == only.product)
    if after is not None:
        query = query.where(ENTITLEMENT.c.id > after)
    if last is not None:
        query = query.where(ENTITLEMENT.c.id <= last)
    return (await sql.execute(query)).all()


def _of_entitlement() -> ColumnElement[bool]:
    return SERIES.c.holder == ENTITLEMENT.c.id


def _of_product(dialect: str) -> ColumnElement[bool]:
    """That a download is of the product of an entitlement.

    It is written so that each engine finds it by customer and file: a reseller has very many downloads, and
    few of one product. From a join, both engines would read all downloads of the reseller.
    """
    files = select(USAGE_FILE.c.id).where(USAGE_FILE.c.product == ENTITLEMENT.c.product_id)
    files = files.correlate(ENTITLEMENT)
    if dialect == "sqlite":
        return DOWNLOAD.c.file_id.in_(files)
    return DOWNLOAD.c.file_id == any_(func.array(files.scalar_subquery()))


def _counts(missing: Missing) -> ColumnElement[bool]:
    real = DOWNLOAD.c.test.is_(False)
    return and_(real, DOWNLOAD.c.completed.is_not(None)) if missing == "completed" else real
