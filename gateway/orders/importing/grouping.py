"""The rows of one order become a snapshot of it, or faults. Pure.

Rules:

1. Rows with the same `orderId` are the lines of one order, wherever in the file they are; without one, the
   `number` is the order's id. A row without both is an order of its own, whose id is made from the customer
   and the product, so that the same row imported again is the same order.
2. What a row leaves empty of the order as a whole is as another row of the order says. Two rows that say
   different things are a fault.
3. A row that is the same as an earlier one of its order is told, and counts once.
4. A line without an id has the product's and its place among the rows of that product: `drums#1`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gateway.orders.email_addresses import normalise
from gateway.orders.facts import Identifier, ItemKey, Line, OrderSnapshot, Person
from gateway.orders.importing.cells import Row
from gateway.orders.importing.columns import Column, Fault, Header
from gateway.orders.limits import MAX_LINES
from gateway.orders.states import OrderStatus

ROW_PREFIX: Final = "row-"
"""What the id of an order begins with that is made from a row."""
_OF_THE_ORDER: Final = (
    Column.EMAIL,
    Column.NAME,
    Column.NUMBER,
    Column.PLACED,
    Column.COUNTRY,
    Column.STATUS,
    Column.TEST,
)


@dataclass(frozen=True)
class Group:
    """The rows of one order. snapshot: None where there are faults. twice: the lines that are repeated."""

    order_id: str
    lines: tuple[int, ...]
    snapshot: OrderSnapshot | None
    faults: tuple[Fault, ...] = ()
    twice: tuple[tuple[int, int], ...] = ()


def order_key(row: Row, secret: bytes) -> str:
    """The id of a row's order. secret: what hides the customer in an id that is made from the row."""
    given: str | None = row.get(Column.ORDER) or row.get(Column.NUMBER)
    if given:
        return given
    parts = (
        normalise(row.get(Column.EMAIL)),
        row.get(Column.PRODUCT) or "",
        row.get(Column.SKU) or "",
        row.get(Column.VERSION) or "",
    )
    digest = hmac.new(secret, "\0".join(parts).encode(), hashlib.sha256)
    return ROW_PREFIX + digest.hexdigest()[:32]


def group_rows(header: Header, order_id: str, rows: Iterable[Row]) -> Group:
    """Make the order of some rows, which are in the order of the file."""
    known: dict[tuple[tuple[str, Any], ...], int] = {}
    kept: list[Row] = []
    lines: list[int] = []
    twice: list[tuple[int, int]] = []
    too_many: Fault | None = None
    for row in rows:
        lines.append(row.line)
        content = tuple(sorted(row.values.items()))
        if content in known:
            twice.append((row.line, known[content]))
        elif len(kept) == MAX_LINES:
            text = f"the order has more than {MAX_LINES} lines"
            too_many = too_many or header.fault(row.line, Column.ORDER, text)
        else:
            known[content] = row.line
            kept.append(row)
    whole, faults = _join(header, kept)
    faults += _line_faults(header, kept)
    if too_many is not None:
        faults.append(too_many)
    snapshot = None if faults else _snapshot(order_id, whole, kept)
    return Group(order_id, tuple(lines), snapshot, tuple(faults), tuple(twice))


def _join(header: Header, rows: list[Row]) -> tuple[dict[Column, Any], list[Fault]]:
    """What the rows say of the order as a whole."""
    whole: dict[Column, Any] = {}
    said: dict[Column, int] = {}
    faults: list[Fault] = []
    for row in rows:
        for column in _OF_THE_ORDER:
            value = row.get(column)
            if value is None:
                continue
            if column not in whole:
                whole[column], said[column] = value, row.line
            elif value != whole[column] and _compared(column, value) != _compared(column, whole[column]):
                text = f"says something else than line {said[column]} of the same order"
                faults.append(header.fault(row.line, column, text))
    return whole, faults


def _compared(column: Column, value: Any) -> Any:
    return normalise(value) if column is Column.EMAIL else value


def _line_faults(header: Header, rows: list[Row]) -> list[Fault]:
    faults: list[Fault] = []
    ids: dict[str, int] = {}
    for row in rows:
        name = row.get(Column.LINE)
        if name is None:
            continue
        if name in ids:
            text = f"is the id of line {ids[name]} of the same order, too"
            faults.append(header.fault(row.line, Column.LINE, text))
        ids.setdefault(name, row.line)
    if len(rows) > 1 and not (rows[0].get(Column.ORDER) or rows[0].get(Column.NUMBER)):
        text = (
            f"the same customer and product are in line {rows[0].line}, with other values: give both rows an "
            "orderId, or make one of them"
        )
        faults += [header.fault(row.line, Column.EMAIL, text) for row in rows[1:]]
    return faults


def _snapshot(order_id: str, whole: dict[Column, Any], rows: list[Row]) -> OrderSnapshot:
    counted: Counter[str] = Counter()
    taken = {row.get(Column.LINE) for row in rows}
    lines: list[Line] = []
    for row in rows:
        item = _item(row)
        name = row.get(Column.LINE)
        while name is None or (row.get(Column.LINE) is None and name in taken):
            counted[item.value] += 1
            name = f"{item.value[:200]}#{counted[item.value]}"
        lines.append(_line(row, item, name))
    return OrderSnapshot(
        order_id,
        0,
        OrderStatus(whole.get(Column.STATUS, "paid")),
        Person(email=whole[Column.EMAIL], name=whole.get(Column.NAME)),
        test=whole.get(Column.TEST, False),
        number=whole.get(Column.NUMBER),
        placed_at=whole.get(Column.PLACED),
        country=whole.get(Column.COUNTRY),
        lines=tuple(lines),
    )


def _item(row: Row) -> Identifier:
    product = row.get(Column.PRODUCT)
    if product is not None:
        return Identifier(ItemKey.PRODUCT, product)
    return Identifier(ItemKey.SKU, row.get(Column.SKU))


def _line(row: Row, item: Identifier, name: str) -> Line:
    quantity = row.get(Column.QUANTITY) or 1
    refunded = row.get(Column.REFUNDED) or 0
    version, until = row.get(Column.VERSION), row.get(Column.UNTIL)
    return Line(
        name,
        (item,),
        row.get(Column.TITLE),
        quantity,
        quantity if refunded is True else refunded,
        scope="version" if version else "until" if until else None,
        version=version,
        until=until,
    )
