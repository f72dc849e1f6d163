"""Reading a whole file of past customers: its rows go to a spool, and what is wrong with them, too."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from gateway.orders.importing.cells import Row, read_row
from gateway.orders.importing.columns import Column, Fault, Header, choose_separator, read_header
from gateway.orders.importing.grouping import Group, group_rows, order_key
from gateway.orders.importing.records import NotText, Record, Records, open_text
from gateway.orders.importing.spool import Spool

MOST_TWICE: Final = 1000
"""Repeated rows whose lines are told one by one. The others are counted."""


@dataclass(frozen=True)
class Terms:
    """How a file is read.

    products: the versions of each product that there is. secret: see `order_key`. renamed: the names that the
    file has for some columns. product: that of all rows that name none.
    """

    products: Mapping[str, Collection[str]]
    secret: bytes
    renamed: Mapping[Column, str] = field(default_factory=dict)
    product: str | None = None


@dataclass
class Content:
    """What a file has: its header, and how many orders can be made of it.

    usable: whether its header names what is needed; else no row was looked at. twice: the lines that repeat
    another one, each with that one, up to MOST_TWICE; repeated: how many.
    """

    header: Header
    usable: bool
    orders: int = 0
    twice: list[tuple[int, int]] = field(default_factory=list)
    repeated: int = 0


def read_file(
    file: BinaryIO, spool: Spool, terms: Terms, progress: Callable[[int], None] = lambda _: None
) -> Content:
    """Read and check a file. progress: is told how many bytes were read since the last time.

    The faults are in the spool. Without a usable header there are no rows. Raises NotText.
    """
    counted = _Counted(file, progress)
    records = Records(open_text(counted))
    first = records.peek_line()
    if first is None:
        raise NotText("the file is empty: its first line names the columns")
    separator = choose_separator(first, terms.renamed)
    if first.lower().startswith("sep="):  # Excel's own line, which is not shown
        separator = first[4:5]
        records.skip_line()
        if separator not in ",;\t":
            raise NotText("the separator must be a comma, a semicolon or TAB")
    found = records.read(separator)
    header, faults = _read_header(found, terms)
    spool.add_faults(faults)
    content = Content(header, not faults)
    if faults:
        return content
    for record in found:
        if isinstance(record, Fault):
            spool.add_faults([record])
        else:
            _read_record(record, header, spool, terms)
    spool.finish_reading()
    for group in groups(spool, header):
        content.repeated += len(group.twice)
        content.twice += group.twice[: MOST_TWICE - len(content.twice)]
        content.orders += group.snapshot is not None
        spool.add_faults(group.faults, group.order_id)
    return content


def _read_header(found: Iterator[Record | Fault], terms: Terms) -> tuple[Header, list[Fault]]:
    record = next(found, None)
    if not isinstance(record, Record):
        fault = record or Fault(1, "there is no header")
        return Header(fault.line, 0), [fault]
    return read_header(record.line, record.cells, terms.renamed, has_product=terms.product is not None)


def _read_record(record: Record, header: Header, spool: Spool, terms: Terms) -> None:
    row, faults = read_row(header, record.line, record.cells, terms.products, terms.product)
    if not faults:
        spool.add_row(row, order_key(row, terms.secret))
        return
    spool.add_faults(faults, _order_of(row, faults))


def _order_of(row: Row, faults: list[Fault]) -> str | None:
    """The order of a row with faults, where that can be told: the others of its rows are of no use alone."""
    if any(each.name in (Column.ORDER.value, None) for each in faults):
        return None
    given: str | None = row.get(Column.ORDER) or row.get(Column.NUMBER)
    return given


def groups(spool: Spool, header: Header) -> Iterator[Group]:
    """Iterate over the orders of a file without faults in their rows."""
    for name, rows in spool.orders():
        yield group_rows(header, name, rows)


class _Counted(io.RawIOBase):
    """A file whose bytes are counted."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._progress(len(content))
        return len(content)
