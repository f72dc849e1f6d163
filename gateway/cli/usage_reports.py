"""`usage export | never-downloaded | shared`: what sellers ask of usage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gateway.cli.options import Invocation, command, fail
from gateway.cli.output import count_of, count_progress, note, show_table
from gateway.cli.usage_report import DAY_MS, group
from gateway.cli.working import PAGE_ROWS, read_time
from gateway.config.units import format_size
from gateway.runtime.system_errors import advise
from gateway.web.documents import never_downloaded_document, shared_link_document

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.usage.sharing_report import SharedLink
    from gateway.usage.token_search import TokenPosition

Product = Annotated[
    str | None, typer.Option("--product", metavar="ID", help="Only this product.", show_default=False)
]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most this many.")]
PLACES: Final = 3
"""Networks that a line names."""


@command(
    group, "export", example="download-gateway usage export --parquet downloads.parquet --from 2026-01-01"
)
def export(
    invocation: Invocation,
    *,
    parquet: Annotated[Path, typer.Option("--parquet", metavar="FILE", help="The file to write.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="WHEN", help="Downloads that began then or later.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHEN", help="Downloads that began before.", show_default=False),
    ] = None,
    product: Product = None,
) -> None:
    """Write every download as a Parquet file, which DuckDB, Spark and pandas read.

    A row is a download, as in the report of the API. The file has customers' addresses: keep it as well.
    """
    from gateway.usage.parquet import ParquetMissing, export_downloads, load_pyarrow  # noqa: PLC0415
    from gateway.usage.queries import ReportFilter  # noqa: PLC0415

    try:
        load_pyarrow()
    except ParquetMissing as error:
        raise fail(str(error)) from None
    only = ReportFilter(_moment("--from", start), _moment("--to", end), product)

    async def write(catalogue: Catalogue) -> int:
        with count_progress(0, "Downloads") as advance:
            done = 0

            def progress(rows: int) -> None:
                nonlocal done
                advance(rows - done)
                done = rows

            return await export_downloads(parquet, catalogue.database, only, progress)

    try:
        rows = invocation.with_catalogue(write)
    except OSError as error:
        raise fail(f"{parquet} cannot be written: {advise(error)}") from None
    invocation.print_result(
        {"file": str(parquet), "downloads": rows},
        lambda: note(f"{parquet}: {count_of(rows, 'download')}"),
    )


def _moment(flag: str, text: str | None) -> int | None:
    from gateway.web.times import parse_time  # noqa: PLC0415

    written = read_time(flag, text)
    return None if written is None else parse_time(written)


@command(group, "never-downloaded", example="download-gateway usage never-downloaded --days 7")
def never_downloaded(
    invocation: Invocation,
    *,
    days: Annotated[
        int, typer.Option(min=0, max=36_500, metavar="N", help="Placed so many days ago, or earlier.")
    ] = 3,
    missing: Annotated[
        Literal["started", "completed"],
        typer.Option(help="`completed`: also what began and was never complete."),
    ] = "started",
    product: Product = None,
    limit: Limit = 50,
) -> None:
    """Show what was paid for, is active, and was never downloaded: whom to ask before they ask you."""
    before = max(0, time.time_ns() // 1_000_000 - days * DAY_MS)

    async def look(catalogue: Catalogue) -> list[Any]:
        from gateway.usage.never_downloaded import NeverFilter, search_never_downloaded  # noqa: PLC0415

        only = NeverFilter(before, missing, product)
        return list((await search_never_downloaded(catalogue.database, only, limit, looks=None)).rows)

    found = [never_downloaded_document(row) for row in invocation.with_catalogue(look)]

    def show() -> None:
        rows = [
            (
                each["placedAt"][:10],
                each["number"] or each["orderId"] or "granted by hand",
                each["productId"],
                "begun" if each["startedAt"] else "nothing",
                each["customer"]["email"] or "",
                each["entitlementId"],
            )
            for each in found
        ]
        if rows:
            show_table(("PLACED", "ORDER", "PRODUCT", "DOWNLOADED", "CUSTOMER", "ENTITLEMENT"), rows)
        else:
            note("Everything that was paid for was downloaded.")

    invocation.print_result(found, show)
    if len(found) == limit:
        note(f"There may be more: --limit {limit} was reached.")


@command(group, "shared", example="download-gateway usage shared --days 7")
def shared(
    invocation: Invocation,
    *,
    days: Annotated[
        int, typer.Option(min=1, max=36_500, metavar="N", help="Links that were valid in the last N days.")
    ] = 30,
    product: Product = None,
    limit: Limit = 50,
) -> None:
    """Show links that look shared, and why. It is a hint: phones and companies change their addresses."""
    start = max(0, time.time_ns() // 1_000_000 - days * DAY_MS)

    async def look(catalogue: Catalogue) -> list[SharedLink]:
        from gateway.usage.sharing_report import (  # noqa: PLC0415
            SharingFilter,
            look_for_shared,
            sharing_limits,
        )

        limits = sharing_limits(invocation.settings)
        only = SharingFilter(start, None, product)
        found: list[SharedLink] = []
        after: TokenPosition | None = None
        while True:
            async with catalogue.database.reading() as sql:
                number = min(limit - len(found), PAGE_ROWS)
                page = await look_for_shared(sql, only, limits, after, number)
            found += page.links
            after = page.after
            if after is None or len(found) >= limit:
                return found

    found = [shared_link_document(each) for each in invocation.with_catalogue(look)]

    def show() -> None:
        rows = [
            (
                each["tokenId"],
                each["productId"] or "",
                format_size(each["bytes"]),
                each["customer"]["email"] or "",
                ", ".join(f"{one['reason']} {one['value']}" for one in each["reasons"]),
                ", ".join(each["networks"][:PLACES]) + (", …" if len(each["networks"]) > PLACES else ""),
            )
            for each in found
        ]
        if rows:
            show_table(("TOKEN", "PRODUCT", "SENT", "CUSTOMER", "REASONS", "NETWORKS"), rows, wrap_last=True)
        else:
            note("No link looks shared.")

    invocation.print_result(found, show)
    if len(found) == limit:
        note(f"There may be more: --limit {limit} was reached.")
