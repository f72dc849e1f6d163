"""What a person may download, as the customers' pages show it: purchases, their versions, their files.

A *holder* is a person who has signed in: a customer, or somebody with a seat of another's purchase, by the
addresses that they have proved to be theirs. Everything here is found through the holder, so that an id of
another's purchase is as unknown as one that does not exist.

Not shown is what only explains the tables: entitlements of lines, mappings or orders that something newer has
replaced (HIDDEN).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Text, and_, func, not_, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import (
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    ORDER,
    ORDER_LINE,
    PRODUCT,
    SEAT,
    VERSION,
)
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.fact_store import chunks
from gateway.orders.mappings import Scope, Share

HIDDEN: Final = frozenset(("line_removed", "mapping_changed", "same_purchase"))
"""Reasons of entitlements that something else stands for: see `entitlement_rules`."""
MOST_SHOWN: Final = 10_000
"""The most purchases of one holder that are looked through."""
MOST_WAITING: Final = 20
"""What waits for a mapping is shown above all purchases, so only the latest of it."""
MOST_SEATS: Final = 1000
"""The most seats of one holder that are looked for: they go into one statement."""


@dataclass(frozen=True)
class Holder:
    """A person who has signed in. emails: their addresses in the normal form; the main one is the first."""

    customer_id: str
    emails: tuple[str, ...]
    name: str | None = None

    @property
    def email(self) -> str:
        """Where mails go."""
        return self.emails[0]


@dataclass(frozen=True)
class OrderOf:
    """The order that a purchase came from.

    external_id: what stands for a number where there is none. is_buyer: whether the holder has paid for it;
    else somebody has given it to them.
    """

    id: str
    external_id: str
    number: str | None
    placed: int
    is_buyer: bool

    @property
    def name(self) -> str:
        """What the customer knows it by."""
        return self.number or self.external_id


@dataclass(frozen=True)
class Version:
    """One version that a purchase opens. published: ms since 1970."""

    name: str
    notes: str | None
    published: int
    manifest: str
    is_active: bool


@dataclass(frozen=True)
class Purchase:
    """One entitlement of a holder.

    title: the product's name. order: None of what was granted without one, and of another's purchase. is_own:
    whether the holder bought it; else they have a seat of it. versions: what it opens now, the latest first.
    """

    id: str
    product_id: str
    title: str
    share: Share
    status: EntitlementStatus
    reasons: tuple[str, ...]
    quantity: int
    test: bool
    granted: int
    order: OrderOf | None
    is_own: bool
    versions: tuple[Version, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it can be downloaded."""
        return self.status is EntitlementStatus.ACTIVE

    @property
    def placed(self) -> int:
        """When it was bought, ms."""
        return self.order.placed if self.order else self.granted

    @property
    def offered(self) -> Version | None:
        """The version that is offered first: the active one where it is open, else the latest."""
        active = next((version for version in self.versions if version.is_active), None)
        return active or (self.versions[0] if self.versions else None)

    def version(self, name: str) -> Version | None:
        """The version of this name, if the purchase opens it."""
        return next((version for version in self.versions if version.name == name), None)


async def find_holder(sql: AsyncConnection, customer_id: str) -> Holder | None:
    """The customer with their addresses; None of one who has none, or is not there."""
    rows = await sql.execute(
        select(CUSTOMER_EMAIL.c.email)
        .where(CUSTOMER_EMAIL.c.customer_id == customer_id)
        .order_by(CUSTOMER_EMAIL.c.main.desc(), CUSTOMER_EMAIL.c.created, CUSTOMER_EMAIL.c.email)
    )
    emails = tuple(email for (email,) in rows)
    return Holder(customer_id, emails) if emails else None


async def is_known(sql: AsyncConnection, email: str) -> bool:
    """Whether an address, in its normal form, is a customer's, or has a seat."""
    customer = select(CUSTOMER_EMAIL.c.email).where(CUSTOMER_EMAIL.c.email == email)
    seat = select(SEAT.c.email).where(SEAT.c.email == email).limit(1)
    for query in (customer, seat):
        if (await sql.execute(query)).first() is not None:
            return True
    return False


_SELECT: Final = select(
    ENTITLEMENT,
    ORDER.c.id.label("order_id"),
    ORDER.c.external_id,
    ORDER.c.number,
    ORDER.c.placed,
    ORDER.c.customer_id.label("buyer_id"),
    ORDER_LINE.c.title,
    PRODUCT.c.name.label("product_name"),
).select_from(
    ENTITLEMENT.outerjoin(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id)
    .outerjoin(ORDER, ORDER.c.id == ORDER_LINE.c.order_id)
    .outerjoin(PRODUCT, PRODUCT.c.id == ENTITLEMENT.c.product_id)
)


_NAMES: Final = _SELECT.with_only_columns(
    ENTITLEMENT.c.id,
    ENTITLEMENT.c.customer_id,
    ENTITLEMENT.c.product_id,
    ORDER.c.external_id,
    ORDER.c.number,
    ORDER_LINE.c.title,
    PRODUCT.c.name.label("product_name"),
)


async def _theirs(sql: AsyncConnection, holder: Holder) -> ColumnElement[bool]:
    """The condition for the entitlements of a holder. Seats are looked up first, so that it uses indexes."""
    rows = await sql.execute(
        select(ENTITLEMENT.c.id)
        .select_from(SEAT.join(ENTITLEMENT))
        .where(SEAT.c.email.in_(holder.emails), SEAT.c.number <= ENTITLEMENT.c.quantity)
        .limit(MOST_SEATS)
    )
    seats = [identifier for (identifier,) in rows]
    own = ENTITLEMENT.c.customer_id == holder.customer_id
    return or_(own, ENTITLEMENT.c.id.in_(seats)) if seats else own


def _shown(theirs: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition for those that a holder sees: see HIDDEN."""
    reasons = type_coerce(ENTITLEMENT.c.reasons, Text)
    hidden = or_(*(reasons.contains(f'"{word}"', autoescape=True) for word in sorted(HIDDEN)))
    return and_(theirs, or_(ENTITLEMENT.c.status == EntitlementStatus.ACTIVE.value, not_(hidden)))


_LATEST: Final = (func.coalesce(ORDER.c.placed, ENTITLEMENT.c.created).desc(), ENTITLEMENT.c.id.desc())


async def count_purchases(sql: AsyncConnection, holder: Holder) -> int:
    """How many purchases `list_purchases` has of a holder."""
    query = select(func.count()).select_from(ENTITLEMENT).where(_shown(await _theirs(sql, holder)))
    return min(MOST_SHOWN, int((await sql.execute(query)).scalar_one()))


async def list_purchases(
    sql: AsyncConnection, holder: Holder, limit: int = MOST_SHOWN, offset: int = 0
) -> list[Purchase]:
    """What a holder has bought, or has a seat of; the latest first. Without versions."""
    query = _SELECT.with_only_columns(ENTITLEMENT.c.id).where(_shown(await _theirs(sql, holder)))
    query = query.order_by(*_LATEST).limit(min(limit, MOST_SHOWN)).offset(offset)
    return await read_purchases(sql, holder, list(await sql.scalars(query)))


async def search_purchases(sql: AsyncConnection, holder: Holder, text: str) -> list[str]:
    """The ids of purchases whose product or order number has a text in it, in any case; the latest first.

    The databases do not agree on what is the same letter in another case, so it is looked for here, in the
    few columns that tell.
    """
    wanted = text.casefold()
    query = _NAMES.where(_shown(await _theirs(sql, holder))).order_by(*_LATEST).limit(MOST_SHOWN)
    rows: Sequence[Any] = (await sql.execute(query)).all()
    return [row.id for row in rows if any(wanted in name.casefold() for name in _names(row, holder))]


async def read_purchases(sql: AsyncConnection, holder: Holder, ids: Sequence[str]) -> list[Purchase]:
    """The purchases of these ids, which are a holder's, in their order. Without versions."""
    found: dict[str, Purchase] = {}
    for some in chunks(ids):
        for row in await sql.execute(_SELECT.where(ENTITLEMENT.c.id.in_(some))):
            found[row.id] = _purchase(row, holder)
    return [found[each] for each in ids if each in found]


async def get_purchase(sql: AsyncConnection, holder: Holder, identifier: str) -> Purchase | None:
    """One purchase of a holder with its versions; None for one that is not theirs."""
    wanted = ENTITLEMENT.c.id == identifier.replace("\0", "")
    row = (await sql.execute(_SELECT.where(wanted, _shown(await _theirs(sql, holder))))).first()
    if row is None:
        return None
    [purchase] = await with_versions(sql, [_purchase(row, holder)])
    return purchase


async def list_waiting(sql: AsyncConnection, holder: Holder) -> list[Any]:
    """What a holder has bought and nobody has mapped to a product yet: title, number, external_id, placed."""
    query: Select[Any] = (
        select(ORDER_LINE.c.title, ORDER.c.number, ORDER.c.external_id, ORDER.c.placed)
        .select_from(ORDER_LINE.join(ORDER))
        .where(ORDER.c.recipient_id == holder.customer_id, ORDER_LINE.c.waits)
        .order_by(ORDER.c.placed.desc(), ORDER_LINE.c.id)
        .limit(MOST_WAITING)
    )
    return list(await sql.execute(query))


async def with_versions(sql: AsyncConnection, purchases: Sequence[Purchase]) -> list[Purchase]:
    """The same purchases with the versions that each opens."""
    by_product = await _versions(sql, {each.product_id for each in purchases})
    return [
        Purchase(**{**vars(each), "versions": opened(each.share, by_product.get(each.product_id, ()))})
        for each in purchases
    ]


def opened(share: Share, versions: Sequence[Version]) -> tuple[Version, ...]:
    """The versions that a share opens, in their order."""
    return tuple(version for version in versions if share.opens(version.name, version.published))


async def _versions(sql: AsyncConnection, products: Collection[str]) -> Mapping[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for ids in chunks(products):
        rows = await sql.execute(
            select(VERSION, PRODUCT.c.active)
            .select_from(VERSION.join(PRODUCT, PRODUCT.c.id == VERSION.c.product))
            .where(VERSION.c.product.in_(ids))
            .order_by(VERSION.c.published.desc(), VERSION.c.created.desc(), VERSION.c.version.desc())
        )
        for row in rows:
            version = Version(row.version, row.notes, row.published, row.manifest, row.version == row.active)
            found.setdefault(row.product, []).append(version)
    return found


def _names(row: Any, holder: Holder) -> Iterator[str]:
    """By what a holder knows a purchase: what it is called, and the number of their own order."""
    yield _title(row)
    if row.customer_id == holder.customer_id:
        yield row.number or row.external_id or ""


def _title(row: Any) -> str:
    """What a purchase is called: as its product, or as what was ordered."""
    return str(row.product_name or row.title or row.product_id)


def _purchase(row: Row[Any], holder: Holder) -> Purchase:
    is_own = row.customer_id == holder.customer_id
    order = None
    if is_own and row.order_id is not None:
        order = OrderOf(
            row.order_id, row.external_id, row.number, row.placed, row.buyer_id == holder.customer_id
        )
    return Purchase(
        row.id,
        row.product_id,
        _title(row),
        Share(row.product_id, Scope(row.scope), row.version, row.updates_until),
        EntitlementStatus(row.status),
        tuple(row.reasons),
        row.quantity,
        row.test,
        row.created,
        order,
        is_own,
    )
