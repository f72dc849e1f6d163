"""Opens a shop: what a seller makes by hand, by the gateway's own functions; then a past in the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.pages.asking import ENTITLED, Names
from bench.pages.filling import fill
from bench.pages.shop import (
    DAY_MS,
    DAYS,
    KINDS,
    VERSIONS,
    Shop,
    ShopPlan,
    address_of,
    identifier,
    manifest_of,
    product_id,
)
from bench.pages.traffic import count_tokens
from gateway.catalogue import records
from gateway.catalogue.filling import synchronise
from gateway.catalogue.rules import ProductRecord, VersionRecord
from gateway.config.settings import Settings
from gateway.connections.repository import ConnectionRepository
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.database.migrating import open_database
from gateway.database.tables import CONNECTION, CUSTOMER, ENTITLEMENT, INBOX, ORDER
from gateway.database.types import now
from gateway.database.webhook_tables import WEBHOOK
from gateway.tokens.repositories import Repositories
from gateway.usage.token_copies import TokenCopies
from gateway.users.links import Purpose, make_link, make_setup_link
from gateway.users.roles import Role
from gateway.web.dashboard.answers import write_day
from gateway.web.portal.visitors import hash_of_address, subject_of
from gateway.web.sessions import Sessions
from gateway.webhooks.endpoints import EndpointRepository

MOST_LIVE: Final = 20_000
"""Tokens in Redis, of which the list of tokens shows the latest."""
AT_ONCE: Final = 100
PRODUCTS: Final = 200


@dataclass(frozen=True)
class Prepared:
    """What pages can be opened with. link: by which a user joins. seconds: that filling took."""

    names: Names
    link: str
    seconds: float
    rows: dict[str, int]


async def prepare_shop(
    settings: Settings, customers: int, downloads: int, report: Callable[[str], None]
) -> Prepared:
    """Fill the database of the settings, unless it is full, and its Redis. Raises DatabaseError."""
    assert settings.redis_url is not None
    plan = ShopPlan(customers, downloads, now(), min(PRODUCTS, max(3, customers // 10)))
    async with open_database(settings) as database, Repositories.connect(settings.redis_url, 10.0) as store:
        async with database.reading() as sql:
            is_full = await sql.scalar(select(CUSTOMER.c.id).limit(1)) is not None
        begun, rows = time.monotonic(), {}
        if not is_full:
            connections, webhook = await _make_by_hand(database, SecretBox.of(settings), plan)
            rows = await fill(database, Shop(plan, connections, webhook), report)
        seconds = 0.0 if is_full else time.monotonic() - begun
        await synchronise(database, store)
        report("making tokens that live")
        live = await _make_live(store, plan, min(MOST_LIVE, count_tokens(downloads)))
        copies = TokenCopies(database, store.client)
        while await copies.copy_some():
            pass
        secret = await make_setup_link(database)
        if secret is None:
            secret = await make_link(database, Purpose.INVITE, Role.OWNER, "maria")
        return Prepared(await _names(database, store, plan, live), secret, seconds, rows)


async def _make_by_hand(database: Database, box: SecretBox, plan: ShopPlan) -> tuple[list[str], str]:
    """Products with their versions, connections and an endpoint. Returns the ids of the latter."""
    async with database.writing() as sql:
        await _make_products(sql, plan)
    desk = ConnectionRepository(database, box)
    made = [await desk.create(kind, f"Shop {kind}", ("whsec_12345678",)) for kind in KINDS]
    endpoint = await EndpointRepository(database, box).create("https://example.com/hook", None, ())
    return [each.id for each in made], endpoint.id


async def _make_products(sql: AsyncConnection, plan: ShopPlan) -> None:
    head = await records.lock_head(sql)
    for product in range(plan.products):
        versions = {}
        for place, version in enumerate(VERSIONS):
            manifest = manifest_of(product, version)
            await records.save_manifests(sql, [manifest])
            published = plan.start + place * 200 * DAY_MS
            notes = f"What is new in {version}: everything is a little better, and some faults are mended."
            versions[version] = VersionRecord(version, manifest.digest, published, published, False, notes)
        name = f"Product {product}"
        record = ProductRecord(product_id(product), name, "active", VERSIONS[-1], plan.start, versions)
        await records.save_product(sql, record, head.revision + 1)
    await records.set_head(sql, records.Head(head.database, head.revision + 1))


async def _make_live(store: Repositories, plan: ShopPlan, count: int) -> str:
    """Tokens in Redis. Returns the id of the last one."""
    made = ""
    for first in range(0, count, AT_ONCE):
        tokens = await asyncio.gather(
            *(
                store.tokens.create(
                    product_id(number * number % plan.products),
                    max_downloads=5,
                    email=address_of(number % plan.customers),
                )
                for number in range(first, min(first + AT_ONCE, count))
            )
        )
        made = tokens[-1].record.id
    return made


async def _names(database: Database, store: Repositories, plan: ShopPlan, live: str) -> Names:
    """Names for paths: of the most popular product, of a failed event, and so on."""
    async with database.reading() as sql:
        connection = await sql.scalar(select(CONNECTION.c.id).order_by(CONNECTION.c.id).limit(1))
        failed = select(INBOX.c.id).where(INBOX.c.connection_id == connection, INBOX.c.state == "failed")
        event = await sql.scalar(failed.order_by(INBOX.c.id.desc()).limit(1))
        webhook = await sql.scalar(select(WEBHOOK.c.id).limit(1))
        ordinary, reseller = identifier("c", plan.customers // 2), identifier("c", 0)
        customers = {
            "ordinary": await _names_of(sql, ordinary),
            "reseller": await _names_of(sql, reseller),
        }
    sessions = Sessions(store.client, "customer")
    cookies = {}
    for each, number in zip(ENTITLED, (plan.customers // 2, 0), strict=True):
        subject = subject_of(identifier("c", number), hash_of_address(address_of(number)))
        cookies[each] = f"customer={await sessions.make(subject, 'bench')}"
    shared = {
        "product": product_id(0),
        "rare": product_id(plan.products - 1),
        "email": address_of(plan.customers // 2),
        "token": live,
        "middle": str(plan.end - DAYS * DAY_MS // 2),
        "year": write_day(plan.end // DAY_MS - 364),
        "yesterday": f"{write_day(plan.end // DAY_MS - 1)}T00:00:00Z",
        "job": "x",
        "kind": KINDS[0],
        "connection": str(connection),
        "event": str(event),
        "webhook": str(webhook),
        "secret": "x" * 43,
    }
    return Names(shared, customers, cookies)


async def _names_of(sql: AsyncConnection, customer: str) -> dict[str, str]:
    bought = select(ORDER.c.id, ORDER.c.number).where(ORDER.c.customer_id == customer)
    rights = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == customer)
    order = (await sql.execute(bought.limit(1))).one()
    right = (await sql.execute(rights.order_by(ENTITLEMENT.c.id.desc()).limit(1))).scalar_one_or_none()
    return {
        "customer": customer,
        "order": order.id,
        "number": order.number.removeprefix("#"),
        "purchase": str(right),
        "right": str(right),
    }
