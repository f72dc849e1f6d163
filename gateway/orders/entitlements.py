"""Entitlements in the database: read, granted by hand, overridden, and the tokens made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, LINK, ORDER, ORDER_LINE, VERSION
from gateway.database.types import new_id
from gateway.orders.customer_store import keep_customer
from gateway.orders.entitlement_rules import EntitlementStatus, Override, Standing, by_hand
from gateway.orders.fact_store import lock_orders
from gateway.orders.mappings import Scope, Share
from gateway.orders.order_writer import standing_values, update_entitlement

_EMAIL: Final = CUSTOMER_EMAIL.alias("main_email")
SELECT: Final = select(
    ENTITLEMENT, _EMAIL.c.email, ORDER.c.source, ORDER.c.external_id, ORDER.c.number
).select_from(
    ENTITLEMENT.outerjoin(_EMAIL, and_(_EMAIL.c.customer_id == ENTITLEMENT.c.customer_id, _EMAIL.c.main))
    .outerjoin(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id)
    .outerjoin(ORDER, ORDER.c.id == ORDER_LINE.c.order_id)
)
"""Entitlements, each with its customer's address and its order, if it has one."""
LINKS_FROM: Final = 500
"""The latest entitlements of a customer whose links are looked for. A reseller may have ten links of each;
all of them are in the list of tokens."""


@dataclass(frozen=True)
class EntitlementFilter:
    """Which entitlements a list has; None means any. email: in its normal form."""

    email: str | None = None
    product_id: str | None = None
    status: str | None = None
    customer_id: str | None = None


async def list_entitlements(
    sql: AsyncConnection, only: EntitlementFilter, limit: int, after: str | None
) -> list[Row[Any]]:
    """Read entitlements in the order of their ids. after: an id."""
    query = SELECT.order_by(ENTITLEMENT.c.id).limit(limit)
    if only.email is not None:
        query = query.where(
            ENTITLEMENT.c.customer_id.in_(
                select(CUSTOMER_EMAIL.c.customer_id).where(CUSTOMER_EMAIL.c.email == only.email)
            )
        )
    for column, value in (
        (ENTITLEMENT.c.product_id, only.product_id),
        (ENTITLEMENT.c.status, only.status),
        (ENTITLEMENT.c.customer_id, only.customer_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(ENTITLEMENT.c.id > after)
    return list(await sql.execute(query))


async def latest_entitlements(
    sql: AsyncConnection, customer_id: str, limit: int, before: str | None
) -> list[Row[Any]]:
    """Read a customer's entitlements, the latest first. before: an id, as somebody has given it."""
    query = SELECT.where(ENTITLEMENT.c.customer_id == customer_id)
    if before is not None:
        query = query.where(ENTITLEMENT.c.id < before.encode("utf-8", "replace").decode().replace("\0", ""))
    return list(await sql.execute(query.order_by(ENTITLEMENT.c.id.desc()).limit(limit)))


async def latest_ids(sql: AsyncConnection, customer_id: str, limit: int) -> list[str]:
    """The ids of a customer's entitlements, the latest first."""
    query = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == customer_id)
    return list(await sql.scalars(query.order_by(ENTITLEMENT.c.id.desc()).limit(limit)))


async def entitlements_of_order(sql: AsyncConnection, order_id: str) -> list[Row[Any]]:
    """Read what the lines of an order granted. order_id: our own."""
    lines = select(ORDER_LINE.c.id).where(ORDER_LINE.c.order_id == order_id)
    return list(await sql.execute(SELECT.where(ENTITLEMENT.c.line_id.in_(lines)).order_by(ENTITLEMENT.c.id)))


async def get_entitlement(sql: AsyncConnection, identifier: str) -> Row[Any] | None:
    """Read one entitlement."""
    return (await sql.execute(SELECT.where(ENTITLEMENT.c.id == identifier))).first()


@dataclass(frozen=True)
class HandGrant:
    """What a seller grants without an order. email: in its normal form; written: as it was given."""

    email: str
    written: str
    share: Share
    name: str | None = None
    quantity: int = 1
    reason: str | None = None


async def grant_by_hand(sql: AsyncConnection, given: HandGrant, moment: int) -> str:
    """Grant a product. Returns the entitlement's id."""
    await lock_orders(sql)
    customer = await keep_customer(sql, given.email, given.written, given.name, moment)
    values = standing_values(by_hand(given.quantity), None, given.quantity)
    identifier = new_id()
    await sql.execute(
        insert(sql, ENTITLEMENT).values(
            id=identifier,
            customer_id=customer,
            line_id=None,
            product_id=given.share.product_id,
            scope=given.share.scope.value,
            version=given.share.version,
            updates_until=given.share.until,
            bought=given.quantity,
            reason=given.reason,
            enforced=values["status"],
            created=moment,
            updated=moment,
            **values,
        )
    )
    return identifier


async def override_entitlement(
    sql: AsyncConnection, identifier: str, override: Override | None, reason: str | None, moment: int
) -> bool:
    """Write the seller's decision about an entitlement. Returns whether there is such a one."""
    await lock_orders(sql)
    row = (await sql.execute(select(ENTITLEMENT).where(ENTITLEMENT.c.id == identifier))).first()
    if row is None:
        return False
    status, reasons, quantity = row.base
    standing = Standing(EntitlementStatus(status), tuple(reasons), quantity)
    word = None if override is None else override.value
    values = {"override": word, "reason": reason, **standing_values(standing, word, row.bought)}
    await update_entitlement(sql, row, values, moment)
    return True


def share_of(row: Row[Any]) -> Share:
    """What an entitlement opens."""
    return Share(row.product_id, Scope(row.scope), row.version, row.updates_until)


async def links_of_customer(sql: AsyncConnection, customer_id: str, limit: int) -> list[Row[Any]]:
    """The tokens made from a customer's latest entitlements, the latest first: each with its product.

    Looked through are LINKS_FROM entitlements. They are found first (MATERIALIZED), because PostgreSQL would
    read all links of everybody for a customer with many of them.
    """
    rights = (
        select(ENTITLEMENT.c.id, ENTITLEMENT.c.product_id)
        .where(ENTITLEMENT.c.customer_id == customer_id)
        .order_by(ENTITLEMENT.c.id.desc())
        .limit(LINKS_FROM)
        .cte("rights")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    query = (
        select(LINK, rights.c.product_id)
        .join(rights, rights.c.id == LINK.c.entitlement_id)
        .order_by(LINK.c.created.desc(), LINK.c.token_id)
        .limit(limit)
    )
    return list(await sql.execute(query))


async def published_versions(sql: AsyncConnection, product_id: str) -> dict[str, int]:
    """When each version of a product was published (ms since 1970), the latest first."""
    rows = await sql.execute(
        select(VERSION.c.version, VERSION.c.published)
        .where(VERSION.c.product == product_id)
        .order_by(VERSION.c.published.desc(), VERSION.c.created.desc())
    )
    return {row.version: row.published for row in rows}


async def add_link(
    sql: AsyncConnection, entitlement_id: str, token_id: str, version: str, expires: int, moment: int
) -> bool:
    """Note that a token is made from an entitlement, if that is active now. Returns whether it is."""
    await lock_orders(sql)
    status = await sql.execute(select(ENTITLEMENT.c.status).where(ENTITLEMENT.c.id == entitlement_id))
    if status.scalar_one_or_none() != EntitlementStatus.ACTIVE:
        return False
    await sql.execute(
        insert(sql, LINK)
        .values(
            token_id=token_id, entitlement_id=entitlement_id, version=version, created=moment, expires=expires
        )
        .on_conflict_do_nothing(index_elements=["token_id"])  # the same request again
    )
    return True


async def set_link_expiry(sql: AsyncConnection, token_id: str, expires: int) -> None:
    """Note when a token really expires, by the store's clock."""
    await sql.execute(update(LINK).where(LINK.c.token_id == token_id).values(expires=expires))


async def is_active(sql: AsyncConnection, entitlement_id: str) -> bool:
    """Whether tokens may be made from an entitlement now."""
    status = await sql.execute(select(ENTITLEMENT.c.status).where(ENTITLEMENT.c.id == entitlement_id))
    return status.scalar_one_or_none() == EntitlementStatus.ACTIVE
