"""`order import FILE`: past customers from a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from gateway.cli.options import CLI, Invocation, command, fail
from gateway.cli.orders import group
from gateway.cli.output import count_of, count_progress, note
from gateway.cli.working import end_tokens

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.orders.importing.columns import Column
    from gateway.orders.importing.reading import Content, Terms
    from gateway.orders.importing.spool import Spool
    from gateway.orders.importing.writer import Written

SOURCE: Final = "import"
MOST_IN_JSON: Final = 10_000
"""Faults and repeated rows in JSON output, which is made in memory. For people, every one is printed."""
STDIN: Final = "-"


@command(group, "import", example="download-gateway order import customers.csv --dry-run")
def import_(
    invocation: Invocation,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The CSV file, in UTF-8; - is standard input."),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: list every fault with its line and column.")
    ] = False,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out orders with a fault, and import the others.")
    ] = False,
    source: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="Where the orders are from. An id from another source is another order.",
        ),
    ] = SOURCE,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OURS=THEIRS",
            help='What your file calls a column, such as sku="Lineitem sku"; repeat it for others. '
            "`country=` leaves a column out.",
            show_default=False,
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The product of all rows that name none.", show_default=False),
    ] = None,
) -> int:
    """Import past customers from a CSV file.

    Its first line names the columns, in any order: email, and productId or sku; then, where you have them,
    orderId, number, name, quantity, refunded, placedAt, country, status, version, until, scope, lineId,
    title, test. Importing a file again changes nothing, and a corrected file corrects what is there. More is
    in docs/past-customers.md.
    """
    from gateway.orders.importing.spool import Spool  # noqa: PLC0415 - slow to import

    _check_source(source)
    renamed = _read_columns(column or [])
    with invocation.open_catalogue() as run, Spool() as spool:
        terms: Terms = run(lambda catalogue: _terms(catalogue, source, renamed, product))
        content = _read(file, spool, terms)
        stops = dry_run or bool(spool.faults and not skip_faulty) or not content.usable
        written: Written | None = None
        if not stops:
            written = run(lambda catalogue: _write(catalogue, source, spool, content))
        _print(invocation, spool, content, written, dry_run=dry_run)
    return int(bool(spool.faults) and (stops or not skip_faulty))


def _check_source(source: str) -> None:
    import re  # noqa: PLC0415

    from gateway.orders.limits import SOURCE_PATTERN  # noqa: PLC0415

    if re.fullmatch(SOURCE_PATTERN[1:-1], source) is None:
        raise fail("--source: must be 1 to 64 lower-case letters, digits and '-'")


def _read_columns(texts: list[str]) -> dict[Column, str]:
    from gateway.orders.importing.columns import Column, plain  # noqa: PLC0415

    known = {plain(column.value): column for column in Column}
    renamed: dict[Column, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        column = known.get(plain(ours))
        if not equals or column is None:
            names = ", ".join(each.value for each in Column)
            raise fail(f"--column: must be OURS=THEIRS, and OURS one of {names}")
        if column in renamed:
            raise fail(f"--column: {column.value} is given twice")
        renamed[column] = theirs
    return renamed


async def _terms(catalogue: Catalogue, source: str, renamed: dict[Column, str], product: str | None) -> Terms:
    from gateway.orders.importing.importing import check_source, read_products, read_secret  # noqa: PLC0415
    from gateway.orders.importing.reading import Terms  # noqa: PLC0415

    await catalogue.synchronise()  # an older version of the program may have made some products
    await check_source(catalogue.database, source)
    products = await read_products(catalogue.database)
    if product is not None and product not in products:
        raise fail(f"--product: there is no product {product} (`product list` shows all)")
    return Terms(products, await read_secret(catalogue.database), renamed, product)


def _read(file: str, spool: Spool, terms: Terms) -> Content:
    from gateway.orders.importing.reading import read_file  # noqa: PLC0415
    from gateway.orders.importing.records import NotText  # noqa: PLC0415
    from gateway.products.publishing import show_progress  # noqa: PLC0415

    try:
        with _open(file) as (opened, size), show_progress(size, "Reading") as report:
            return read_file(opened, spool, terms, report)
    except NotText as fault:
        raise fail(f"{file}: {fault}") from None


@contextmanager
def _open(file: str) -> Iterator[tuple[BinaryIO, int]]:
    if file == STDIN:
        yield sys.stdin.buffer, 0
        return
    path = Path(file)
    if path.is_dir():
        raise fail(f"{file} is a folder: give a CSV file")
    with path.open("rb") as opened:
        yield opened, path.stat().st_size


async def _write(catalogue: Catalogue, source: str, spool: Spool, content: Content) -> Written:
    from gateway.orders.importing.importing import write_all  # noqa: PLC0415
    from gateway.orders.importing.reading import groups  # noqa: PLC0415

    snapshots = (group.snapshot for group in groups(spool, content.header) if group.snapshot is not None)
    with count_progress(content.orders, "Importing") as advance:
        written = await write_all(catalogue.database, source, snapshots, advance)
    await end_tokens(catalogue)
    what = {"source": source, "new": written.new, "changed": written.changed}
    await catalogue.store.audit.record(CLI, "order.import", what)
    return written


def _print(
    invocation: Invocation, spool: Spool, content: Content, written: Written | None, *, dry_run: bool
) -> None:
    data: dict[str, Any] = {
        "dryRun": dry_run,
        "rows": spool.rows,
        "orders": content.orders,
        "imported": None if written is None else asdict(written),
        "faultCount": spool.faults,
        "faults": [
            {"line": each.line, "column": each.column, "name": each.name, "text": each.text}
            for each in (spool.list_faults(MOST_IN_JSON) if invocation.json else ())
        ],
        "repeatedCount": content.repeated,
        "repeated": [{"line": line, "sameAs": first} for line, first in content.twice],
        "ignoredColumns": list(content.header.ignored),
    }
    invocation.print_result(data, lambda: _show(spool, content, written, dry_run=dry_run))


def _show(spool: Spool, content: Content, written: Written | None, *, dry_run: bool) -> None:
    from gateway.cli.output import clean  # noqa: PLC0415

    if content.header.ignored:
        note(f"Columns that are left out: {', '.join(content.header.ignored)}.")
    for line, first in content.twice:
        note(f"Line {line} is the same as line {first}, and counts once.")
    if content.repeated > len(content.twice):
        note(f"… and {content.repeated - len(content.twice)} more rows that are the same as an earlier one.")
    for fault in spool.list_faults():
        typer.echo(f"{clean(fault.place)}: {clean(fault.text)}")
    faults = count_of(spool.faults, "fault")
    found = f"{count_of(spool.rows, 'usable row')}, {count_of(content.orders, 'order')}"
    if dry_run:
        note(f"{found}, {faults}. Nothing was changed (--dry-run).")
    elif written is None:
        skip = ", or leave out the orders with a fault by --skip-faulty" if content.usable else ""
        note(f"{found}, {faults}. Nothing was imported: correct the file{skip}.")
    else:
        done = f"{written.new} new, {written.changed} changed, {written.same} as they were"
        note(f"{found}, {faults}: {done}.")
        if written.waiting:
            lines = count_of(written.waiting, "line")
            note(f"{lines} wait for a mapping of their sku: `unmapped` shows which.")
