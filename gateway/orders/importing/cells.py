"""The cells of one row: text becomes values, or faults. Pure.

A cell is data and never anything else: a text that begins with `=` is kept as it is. White space around it is
taken away. Refused are NUL and other control characters, and bytes that are no UTF-8.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.config.units import LAST_MOMENT
from gateway.orders.email_addresses import AddressError, normalise
from gateway.orders.importing.columns import Column, Fault, Header
from gateway.orders.limits import MAX_ID, MAX_QUANTITY, MAX_TEXT
from gateway.products.validation import MAX_DISPLAY_NAME, NAME_HELP, is_name

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?\s?(?:[Zz]|UTC|([+-]\d\d):?(\d\d))?", re.ASCII
)
_YES: Final = ("yes", "true", "1", "y")
_NO: Final = ("no", "false", "0", "n")

STATUSES: Final = {
    "paid": "paid",
    "refunded": "refunded",
    "cancelled": "cancelled",
    "disputed": "disputed",
    # as shops write them
    "completed": "paid",
    "processing": "paid",
    "succeeded": "paid",
    "partiallyrefunded": "paid",
    "canceled": "cancelled",
    "voided": "cancelled",
    "failed": "cancelled",
}
"""The states of an order, and what other programs call them, compared without case and signs."""


class CellFault(ValueError):
    """A cell has not the value of its column. Its text completes "the cell …"."""


@dataclass(frozen=True)
class Row:
    """The values of one row, each of JSON. line: of the file."""

    line: int
    values: Mapping[str, Any]

    def get(self, column: Column) -> Any:
        """The value of a column; None where the cell is empty."""
        return self.values.get(column.value)


def read_row(
    header: Header,
    line: int,
    cells: Sequence[str],
    products: Mapping[str, Collection[str]],
    product: str | None,
) -> tuple[Row, list[Fault]]:
    """Read the cells of a row, and everything that is wrong with it.

    products: the versions of each product that there is. product: that of all rows, without a column.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    if len(cells) != header.width:
        text = (
            f"has {len(cells)} cells, and the header {header.width}: a text with a separator or a line break "
            "in it needs quotes around it"
        )
        return Row(line, values), [Fault(line, text)]
    for column, place in header.places.items():
        try:
            text = clean(cells[place])
            if text:
                values[column.value] = READERS[column](text)
        except CellFault as fault:
            faults.append(header.fault(line, column, str(fault)))
    if product is not None and not {Column.PRODUCT.value, Column.SKU.value} & values.keys():
        values[Column.PRODUCT.value] = product
    row = Row(line, values)
    wrong = {each.name for each in faults}
    faults += [
        header.fault(line, column, text)
        for column, text in _together(row, products)
        if column.value not in wrong
    ]
    return row, faults


def clean(text: str) -> str:
    """A cell without the white space around it. Raises CellFault."""
    text = text.strip()
    if text.isprintable():
        return text
    for each in text:
        category = unicodedata.category(each)
        if category == "Cs":
            raise CellFault("is not UTF-8: save the file as `CSV UTF-8`")
        if category == "Cc":
            raise CellFault("has a line break or another control character: take it out")
    return text


def _together(row: Row, products: Mapping[str, Collection[str]]) -> list[tuple[Column, str]]:
    """What is wrong with cells that belong together."""
    found: list[tuple[Column, str]] = []
    product, sku, version = row.get(Column.PRODUCT), row.get(Column.SKU), row.get(Column.VERSION)
    if row.get(Column.EMAIL) is None:
        found.append((Column.EMAIL, "is empty: a customer is known by the address"))
    if product is None and sku is None:
        found.append((Column.PRODUCT, "is empty, and so is sku: one of them says what was bought"))
    elif product is not None and sku is not None:
        found.append((Column.SKU, "must be empty where productId says what was bought"))
    elif product is not None and product not in products:
        found.append((Column.PRODUCT, f"there is no product {product}: register it first (`product add`)"))
    elif version is not None and version not in products.get(product or "", ()):
        found.append((Column.VERSION, f"the product {product} has no version {version}"))
    found += _scope_faults(row)
    quantity, refunded = row.get(Column.QUANTITY) or 1, row.get(Column.REFUNDED) or 0
    if refunded is not True and refunded > quantity:
        found.append((Column.REFUNDED, f"must not be above the quantity, which is {quantity}"))
    order = row.get(Column.ORDER) or row.get(Column.NUMBER)
    if order is not None and ("/" in order or len(order) > MAX_ID):
        column = Column.ORDER if row.get(Column.ORDER) else Column.NUMBER
        text = f"must be 1 to {MAX_ID} characters without `/`, because it is the order's id"
        found.append((column, text))
    return found


def _scope_faults(row: Row) -> list[tuple[Column, str]]:
    scope, version, until = row.get(Column.SCOPE), row.get(Column.VERSION), row.get(Column.UNTIL)
    limits = [column for column in (Column.SCOPE, Column.VERSION, Column.UNTIL) if row.get(column)]
    if limits and row.get(Column.SKU) is not None:
        text = "must be empty beside a sku: the mapping of the sku says how much of a product it is"
        return [(limits[0], text)]
    scope = scope or ("version" if version else "until" if until else "all")
    found = []
    if (scope == "version") != (version is not None):
        found.append((Column.VERSION, "must be there with the scope `version`, and only then"))
    if (scope == "until") != (until is not None):
        found.append((Column.UNTIL, "must be there with the scope `until`, and only then"))
    return found


def _email(text: str) -> str:
    try:
        normalise(text)
    except AddressError as fault:
        raise CellFault(f"the address {fault}") from None
    return text


def _text(most: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > most:
            raise CellFault(f"must have at most {most} characters")
        return text

    return read


def _name(text: str) -> str:
    if not is_name(text):
        raise CellFault(f"must be {NAME_HELP}")
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise CellFault("must be a whole number, such as 1")
    return int(text)


def _quantity(text: str) -> int:
    number = _number(text)
    if not 1 <= number <= MAX_QUANTITY:
        raise CellFault(f"must be 1 to {MAX_QUANTITY}")
    return number


def _refunded(text: str) -> int | bool:
    word = text.casefold()
    if word in ("yes", "true"):
        return True
    if word in ("no", "false"):
        return 0
    try:
        return _number(text)
    except CellFault:
        raise CellFault("must be how many were given back, such as 0, or yes or no") from None


def _flag(text: str) -> bool:
    word = text.casefold()
    if word not in _YES + _NO:
        raise CellFault("must be yes or no")
    return word in _YES


def _country(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise CellFault("must be two letters, such as DE (ISO 3166-1)")
    return text.upper()


def _status(text: str) -> str:
    word = "".join(each for each in text.casefold() if each.isalnum())
    if word == "pending":
        raise CellFault("was not paid for: take the row out, or wait until it was")
    if word not in STATUSES:
        raise CellFault("must be paid, refunded, cancelled or disputed")
    return STATUSES[word]


def _scope(text: str) -> str:
    word = text.casefold()
    if word not in ("all", "version", "until"):
        raise CellFault("must be all, version or until")
    return word


def read_moment(text: str, *, end_of_day: bool = False) -> int:
    """Read a date or a time as ms since 1970. Without a zone it is UTC. Raises CellFault.

    end_of_day: a date means its last millisecond, not its first.
    """
    if _DAY.fullmatch(text):
        text += "T23:59:59.999" if end_of_day else "T00:00:00"
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise CellFault("must be a date such as 2026-01-31, or a time such as 2026-01-31 12:00:00 +0100")
    day, minute, second, fraction, hours, minutes = match.groups()
    offset = f"{hours}:{minutes}" if hours else "+00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{offset}")
    except ValueError:
        raise CellFault("must be a day and a time that exist, such as 2026-01-31 12:00:00") from None
    milliseconds = (moment - _EPOCH) // _MILLISECOND + int(f"{fraction or ''}000"[:3])
    if not 0 <= milliseconds <= LAST_MOMENT:
        raise CellFault("must be from the year 1970 to the year 9999")
    return milliseconds


READERS: Final[Mapping[Column, Callable[[str], Any]]] = {
    Column.EMAIL: _email,
    Column.NAME: _text(MAX_DISPLAY_NAME),
    Column.PRODUCT: _name,
    Column.SKU: _text(MAX_TEXT),
    Column.QUANTITY: _quantity,
    Column.ORDER: _text(MAX_TEXT),
    Column.NUMBER: _text(MAX_TEXT),
    Column.PLACED: read_moment,
    Column.COUNTRY: _country,
    Column.STATUS: _status,
    Column.REFUNDED: _refunded,
    Column.SCOPE: _scope,
    Column.VERSION: _name,
    Column.UNTIL: lambda text: read_moment(text, end_of_day=True),
    Column.LINE: _text(MAX_ID),
    Column.TITLE: _text(MAX_TEXT),
    Column.TEST: _flag,
}
"""How each column is read. Each may raise CellFault."""
