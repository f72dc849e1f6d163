"""The columns of a file of past customers, and how its header names them. Pure.

Rules:

1. A name in the header is compared without its case, spaces and signs: `Order ID` is `orderId`. What other
   programs write for the same is in the table below.
2. The caller may say that another name stands for a column (`renamed`). Then only that name does; without a
   name the file has no such column, whatever it calls its own.
3. A name that is nobody's is left out, and told. One that is nearly that of a column which the file lacks is
   a fault: it is more likely mistyped, and leaving it out would give the customer something else.
4. The separator is the one of comma, semicolon and TAB with which most names are known.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SEPARATORS: Final = ",;\t"
NEARLY: Final = 0.8
"""From this likeness on, a name counts as mistyped (difflib's ratio): `quantitty`, `emial`."""


class Column(StrEnum):
    """What a column has. The values are the names that our own files have."""

    EMAIL = "email"
    NAME = "name"
    PRODUCT = "productId"
    SKU = "sku"
    QUANTITY = "quantity"
    ORDER = "orderId"
    NUMBER = "number"
    PLACED = "placedAt"
    COUNTRY = "country"
    STATUS = "status"
    REFUNDED = "refunded"
    SCOPE = "scope"
    VERSION = "version"
    UNTIL = "until"
    LINE = "lineId"
    TITLE = "title"
    TEST = "test"


OTHER_NAMES: Final = {
    Column.EMAIL: ("emailaddress", "customeremail", "purchaseemail", "billingemail", "emailbilling"),
    Column.NAME: ("customername", "fullname", "buyername", "billingname"),
    Column.PRODUCT: ("product",),
    Column.SKU: ("lineitemsku", "itemsku", "productsku"),
    Column.QUANTITY: ("qty", "lineitemquantity", "itemquantity"),
    Column.ORDER: ("purchaseid", "saleid"),
    Column.NUMBER: ("ordernumber",),
    Column.PLACED: ("orderdate", "purchasedate", "createdat", "createddateutc", "createdutc", "date"),
    Column.COUNTRY: ("countrycode", "billingcountry", "countrycodebilling"),
    Column.STATUS: ("financialstatus", "orderstatus"),
    Column.REFUNDED: ("refundedquantity",),
    Column.UNTIL: ("updatesuntil",),
    Column.TITLE: ("lineitemname", "itemname", "productname"),
}
"""What Shopify, WooCommerce's exporters, Stripe and Gumroad call a column, in the form of `plain`."""


@dataclass(frozen=True)
class Fault:
    """What is wrong in a file. line, column: the place, both from 1. name: what the column is called."""

    line: int
    text: str
    column: int | None = None
    name: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        column = "" if self.column is None else f", column {self.column}"
        return f"line {self.line}{column}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True)
class Header:
    """Which place of a row is which column.

    line: of the file, from 1. width: how many cells a row has. ignored: names that are nobody's.
    """

    line: int
    width: int
    places: Mapping[Column, int] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def fault(self, line: int, column: Column, text: str) -> Fault:
        """A fault in a column of a row."""
        place = self.places.get(column)
        return Fault(line, text, None if place is None else place + 1, column.value)


def plain(name: str) -> str:
    """A name as it is compared: `Order ID`, `order_id` and `orderId` are the same."""
    return "".join(each for each in name.casefold() if each.isalnum())


def _known(renamed: Mapping[Column, str]) -> dict[str, Column]:
    known: dict[str, Column] = {}
    for column in Column:
        if column not in renamed:
            known |= dict.fromkeys((plain(column.value), *OTHER_NAMES.get(column, ())), column)
    for column, name in renamed.items():
        if name.strip():
            known[plain(name)] = column
    return known


def choose_separator(line: str, renamed: Mapping[Column, str]) -> str:
    """The separator of a file, by its header."""
    known = _known(renamed)

    def count(separator: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([line], delimiter=separator))
        except (csv.Error, StopIteration):
            return (0, 0)
        return (sum(plain(cell) in known for cell in cells), len(cells))

    return max(SEPARATORS, key=count)


def read_header(
    line: int, cells: Sequence[str], renamed: Mapping[Column, str], *, has_product: bool
) -> tuple[Header, list[Fault]]:
    """Find the columns of a header, and what is wrong with it.

    renamed: the names that the file has for some columns. has_product: the product is known without a column.
    """
    known = _known(renamed)
    places: dict[Column, int] = {}
    faults: list[Fault] = []
    others: list[tuple[int, str]] = []
    for place, cell in enumerate(cells):
        name = cell.strip()
        column = known.get(plain(name))
        if column is None:
            if name:
                others.append((place, name))
        elif column in places:
            text = (
                f"is a second column for {column.value}, beside column {places[column] + 1}: say which one "
                f'it is with --column {column.value}="NAME", or take one out'
            )
            faults.append(Fault(line, text, place + 1, name))
        else:
            places[column] = place
    faults += _missing(line, places, renamed, has_product=has_product)
    ignored: list[str] = []
    for place, name in others:
        near = _nearly(name, (column for column in Column if column not in places and column not in renamed))
        if near is None:
            ignored.append(name)
        else:
            text = f"is no column that is known. Did you mean {near}? Correct it, or take the column out"
            faults.append(Fault(line, text, place + 1, name))
    return Header(line, len(cells), places, tuple(ignored)), faults


def _missing(
    line: int, places: Mapping[Column, int], renamed: Mapping[Column, str], *, has_product: bool
) -> list[Fault]:
    faults = [
        Fault(line, f"there is no column {name!r}, which --column {column.value} names")
        for column, name in renamed.items()
        if column not in places and name.strip()
    ]
    named = {column for column, name in renamed.items() if name.strip()}
    if Column.EMAIL not in places and Column.EMAIL not in named:
        text = "there is no column email: name it in the first line, or tell its name with --column"
        faults.append(Fault(line, text))
    if not has_product and not {Column.PRODUCT, Column.SKU} & (places.keys() | named):
        text = "there is no column productId and no column sku: name one, or give all rows a --product"
        faults.append(Fault(line, text))
    return faults


def _nearly(name: str, columns: Iterable[Column]) -> str | None:
    names = {plain(column.value): column.value for column in columns}
    near = difflib.get_close_matches(plain(name)[:100], names, 1, NEARLY)
    return names[near[0]] if near else None
