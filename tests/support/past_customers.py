"""Files of past customers, read and imported by tests."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.database.engine import Database
from gateway.orders.importing.columns import Column
from gateway.orders.importing.importing import write_all
from gateway.orders.importing.reading import Content, Terms, groups, read_file
from gateway.orders.importing.spool import Spool
from gateway.orders.importing.writer import Written

PRODUCTS = {"drums": frozenset(("1.0", "2.0")), "bass": frozenset(("1.0",))}
SECRET = b"0" * 32


@dataclass
class Read:
    """What a file has. faults: place and text of each."""

    content: Content
    faults: list[tuple[str, str]]
    orders: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    """Of each order, the id, quantity and refunded of its lines."""


def terms(renamed: Mapping[Column, str] | None = None, product: str | None = None) -> Terms:
    return Terms(PRODUCTS, SECRET, renamed or {}, product)


def read(text: str | bytes, how: Terms | None = None) -> Read:
    """Read a file."""
    content = text.encode() if isinstance(text, str) else text
    with Spool() as spool:
        found = read_file(io.BytesIO(content), spool, how or terms())
        faults = [(each.place, each.text) for each in spool.list_faults()]
        snapshots = [group.snapshot for group in groups(spool, found.header)] if found.orders else []
    orders = {
        each.order_id: [(line.id, line.quantity, line.refunded) for line in each.lines or ()]
        for each in snapshots
        if each is not None
    }
    return Read(found, faults, orders)


async def import_text(
    database: Database, text: str, progress: Callable[[int], None] = lambda _: None
) -> Written:
    """Import a file without faults."""
    with Spool() as spool:
        content = read_file(io.BytesIO(text.encode()), spool, terms())
        assert not spool.faults, list(spool.list_faults())
        found = (group.snapshot for group in groups(spool, content.header) if group.snapshot)
        return await write_all(database, "import", found, progress)
