"""What a receipt is made of, read from the tables: a token, its purchase, and what it received."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import (
    CUSTOMER,
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    FACT,
    LINK,
    MANIFEST,
    ORDER,
    ORDER_LINE,
    ORDER_REFERENCE,
    PRODUCT,
    VERSION,
)
from gateway.database.usage_tables import DOWNLOAD, SERIES, TOKEN_SERIES, USAGE_FILE
from gateway.usage.coverage import Spans, unite
from gateway.usage.downloads import Attempt, Download, add_up
from gateway.usage.queries import get_token
from gateway.usage.repository import read_download

FILES_READ: Final = 1_000
"""Files of one receipt, those that were downloaded first."""
DOWNLOADS_READ: Final = 100
"""Downloads of one file, the latest ones."""
EARLIER_READ: Final = 10
"""Earlier orders of the same customer that are looked at, the latest first. Visa asks for two."""
OF_PERSONS: Final = "@"
"""What kinds of references begin with that lead to a customer, and not to an order (`orders.fact_store`)."""
DAY_MS: Final = 86_400_000
EARLIEST_DAYS: Final = 365
LATEST_DAYS: Final = 120
"""How old an earlier payment must be to count (Visa, Compelling Evidence 3.0)."""


@dataclass(frozen=True)
class FileFacts:
    """What was received of one file. downloads: in their order, as `usage.downloads` counts them."""

    name: str
    size: int
    sha256: str
    product: str
    version: str
    downloads: tuple[Download, ...]

    @property
    def attempts(self) -> list[Attempt]:
        """All requests that sent bytes of it, in the order in which they began."""
        return sorted(attempt for each in self.downloads for attempt in each.attempts)

    @property
    def coverage(self) -> Spans:
        """Which of its bytes were sent."""
        return unite(span for each in self.downloads for span in each.covered)


@dataclass(frozen=True)
class OrderFacts:
    """An order, the person who bought, its lines, and what the platform calls the payment."""

    row: Row[Any]
    buyer: Row[Any] | None
    lines: Sequence[Row[Any]]
    payments: Sequence[tuple[str, str]]

    @property
    def ip(self) -> str | None:
        """The address from which it was bought, where the platform tells it."""
        found = self.row.details.get("ip")
        return found if isinstance(found, str) else None


@dataclass(frozen=True)
class ReceiptFacts:
    """Everything for one receipt. token: None where only the store knows it.

    files: what the token itself received. all_files: what all tokens of its entitlement did, this one
    included. earlier: other orders of the same customer, by which Visa's rule may be met.
    """

    token: Row[Any] | None
    link: Row[Any] | None
    product_name: str | None
    files_of_version: int | None
    entitlement: Row[Any] | None
    holder: Row[Any] | None
    line: Row[Any] | None
    order: OrderFacts | None
    files: tuple[FileFacts, ...]
    all_files: tuple[FileFacts, ...]
    earlier: tuple[OrderFacts, ...]


async def read_receipt_facts(
    sql: AsyncConnection, identifier: str, product: str, version: str, moment: int
) -> ReceiptFacts:
    """Read it for a token. product, version: as the store knows them, if it does. moment: now, in ms."""
    token = await get_token(sql, identifier)
    link = (await sql.execute(select(LINK).where(LINK.c.token_id == identifier))).first()
    if token is not None:
        product, version = token.product or product, token.version or version
    name = await sql.scalar(select(PRODUCT.c.name).where(PRODUCT.c.id == product))
    entitlement_id = (token.entitlement_id if token is not None else None) or (link and link.entitlement_id)
    entitlement, line, order = None, None, None
    if entitlement_id:
        query = select(ENTITLEMENT).where(ENTITLEMENT.c.id == entitlement_id)
        entitlement = (await sql.execute(query)).first()
    if entitlement is not None and entitlement.line_id is not None:
        query = select(ORDER_LINE).where(ORDER_LINE.c.id == entitlement.line_id)
        line = (await sql.execute(query)).first()
    if line is not None:
        row = (await sql.execute(select(ORDER).where(ORDER.c.id == line.order_id))).first()
        order = None if row is None else await _order(sql, row)
    own = await _files(sql, identifier, await _series_of_token(sql, identifier))
    everything = own
    if entitlement_id:
        everything = await _files(sql, None, await _series_of_holder(sql, entitlement_id))
    return ReceiptFacts(
        token,
        link,
        name,
        await _files_of_version(sql, product, version),
        entitlement,
        None if entitlement is None else await _person(sql, entitlement.customer_id),
        line,
        order,
        own,
        everything,
        () if order is None else await _earlier(sql, order.row, moment),
    )


async def _person(sql: AsyncConnection, identifier: str | None) -> Row[Any] | None:
    main = and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id, CUSTOMER_EMAIL.c.main)
    query = select(CUSTOMER.c.id, CUSTOMER.c.name, CUSTOMER_EMAIL.c.email)
    query = query.outerjoin(CUSTOMER_EMAIL, main).where(CUSTOMER.c.id == identifier)
    found: Any = (await sql.execute(query)).first()
    return found  # type: ignore[no-any-return]


async def _order(sql: AsyncConnection, row: Row[Any]) -> OrderFacts:
    lines = await sql.execute(
        select(ORDER_LINE)
        .where(ORDER_LINE.c.order_id == row.id, ORDER_LINE.c.gone.is_(False))
        .order_by(ORDER_LINE.c.position, ORDER_LINE.c.id)
    )
    references = await sql.execute(
        select(ORDER_REFERENCE.c.kind, ORDER_REFERENCE.c.value)
        .where(
            ORDER_REFERENCE.c.source == row.source,
            ORDER_REFERENCE.c.external_id == row.external_id,
            ~ORDER_REFERENCE.c.kind.startswith(OF_PERSONS),
        )
        .order_by(ORDER_REFERENCE.c.kind, ORDER_REFERENCE.c.value)
    )
    return OrderFacts(
        row,
        await _person(sql, row.customer_id),
        lines.all(),
        [(kind, value) for kind, value in references],
    )


async def _earlier(sql: AsyncConnection, order: Row[Any], moment: int) -> tuple[OrderFacts, ...]:
    """Other orders of the buyer that are old enough, paid, and were never disputed."""
    if order.customer_id is None or order.erased is not None:
        return ()
    rows = await sql.execute(
        select(ORDER)
        .where(
            ORDER.c.customer_id == order.customer_id,
            ORDER.c.id != order.id,
            ORDER.c.status == "paid",
            ORDER.c.test.is_(False),
            ORDER.c.placed >= max(0, moment - EARLIEST_DAYS * DAY_MS),
            ORDER.c.placed <= max(0, moment - LATEST_DAYS * DAY_MS),
        )
        .order_by(ORDER.c.placed.desc(), ORDER.c.id)
        .limit(EARLIER_READ)
    )
    found = [await _order(sql, row) for row in rows.all()]
    return tuple([each for each in found if not await _was_disputed(sql, each)])


async def _was_disputed(sql: AsyncConnection, order: OrderFacts) -> bool:
    leads = [("order", order.row.external_id), *order.payments]
    rows = await sql.execute(
        select(FACT.c.body).where(
            FACT.c.source == order.row.source,
            tuple_(FACT.c.reference_kind, FACT.c.reference_value).in_(leads),
        )
    )
    return any(body.get("kind") == "dispute" for (body,) in rows)


async def _files_of_version(sql: AsyncConnection, product: str, version: str) -> int | None:
    query = (
        select(MANIFEST.c.text)
        .join(VERSION, VERSION.c.manifest == MANIFEST.c.digest)
        .where(VERSION.c.product == product, VERSION.c.version == version)
    )
    text = await sql.scalar(query)
    return None if text is None else len(json.loads(text)["files"])


async def _series_of_token(sql: AsyncConnection, identifier: str) -> list[Row[Any]]:
    joined = TOKEN_SERIES.join(SERIES, SERIES.c.id == TOKEN_SERIES.c.series_id)
    return await _series(sql, joined, TOKEN_SERIES.c.token_id == identifier)


async def _series_of_holder(sql: AsyncConnection, holder: str) -> list[Row[Any]]:
    return await _series(sql, SERIES, SERIES.c.holder == holder)


async def _series(sql: AsyncConnection, source: Any, where: Any) -> list[Row[Any]]:
    query = select(SERIES.c.id.label("series"), USAGE_FILE).select_from(
        source.join(USAGE_FILE, USAGE_FILE.c.id == SERIES.c.file_id)
    )
    return list(await sql.execute(query.where(where).order_by(SERIES.c.id).limit(FILES_READ)))


async def _files(
    sql: AsyncConnection, token: str | None, series: Iterable[Row[Any]]
) -> tuple[FileFacts, ...]:
    """What was received of some files, in the order in which it began. token: only by this one."""
    found = []
    for each in series:
        rows = await sql.execute(
            select(DOWNLOAD)
            .where(DOWNLOAD.c.series_id == each.series)
            .order_by(DOWNLOAD.c.number.desc())
            .limit(DOWNLOADS_READ)
        )
        downloads = [read_download(row) for row in rows][::-1]
        if token is not None:
            own = [attempt for one in downloads for attempt in one.attempts if attempt.token == token]
            downloads = (
                downloads
                if len(own) == sum(len(one.attempts) for one in downloads)
                else add_up(own, each.size)
            )
        if downloads:
            facts = (each.name, each.size, each.sha256, each.product, each.version)
            found.append(FileFacts(*facts, tuple(downloads)))
    return tuple(sorted(found, key=lambda file: (file.downloads[0].first_at, file.name)))
