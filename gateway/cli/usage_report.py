"""`usage`: what was downloaded, as a table and a small chart. usage_reports.py has its other commands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gateway.cli.options import Invocation, command
from gateway.cli.output import note, show_table
from gateway.config.units import format_size
from gateway.web.documents import sum_document
from gateway.web.times import format_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.usage.queries import Sum

DAY_MS: Final = 86_400_000
BAR_CHARACTERS: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def bar(value: int, most: int, characters: int = BAR_CHARACTERS) -> str:
    """A bar as long as `value` is to `most`, in eighths of a character; something is never nothing."""
    eighths = max(value * characters * 8 // most, 1) if value else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


group = typer.Typer(help="What was downloaded: tables, a small chart, reports, and an export.")


def add_usage(root: typer.Typer) -> None:
    """Register the commands."""
    root.add_typer(group, name="usage")

    @command(group, "usage", example="download-gateway usage --days 7 --by product", alone=True)
    def usage(
        invocation: Invocation,
        *,
        days: Annotated[
            int, typer.Option(min=1, max=400, metavar="N", help="How many days back, with today.")
        ] = 30,
        period: Annotated[
            Literal["day", "week", "month"], typer.Option(help="What a line stands for: day, week or month.")
        ] = "day",
        by: Annotated[
            Literal["product", "version", "client"] | None,
            typer.Option("--by", help="A line for each product, version or client, that is kind of program."),
        ] = None,
        product: Annotated[str | None, typer.Option(metavar="ID", help="Only this product.")] = None,
    ) -> None:
        """Show downloads, completed ones, bytes sent and customers, by day (UTC), week or month.

        Resumes and parallel parts are one download. Tests are left out. Bots are the client `bot`.
        """
        stop = time.time_ns() // 1_000_000 // DAY_MS + 1

        async def look(catalogue: Catalogue) -> list[Sum]:
            from gateway.usage.queries import sum_up  # noqa: PLC0415

            async with catalogue.database.reading() as sql:
                return await sum_up(sql, stop - days, stop, period, by, product)

        found = invocation.with_catalogue(look)
        invocation.print_result([sum_document(each) for each in found], lambda: _show(found, by))


def _show(found: list[Sum], by: str | None) -> None:
    if not found:
        note("Nothing was downloaded in this time.")
        return
    groups = {"product": ("PRODUCT",), "version": ("PRODUCT", "VERSION"), "client": ("CLIENT",)}
    headings = groups.get(by or "", ())
    most = max(each.bytes for each in found)
    rows: list[tuple[Any, ...]] = []
    for each in found:
        names = [text for text in (each.product, each.version, each.client) if text is not None]
        rows.append(
            (
                format_time(each.start)[:10],
                *names,
                each.started,
                each.completed,
                each.customers,
                format_size(each.bytes),
                bar(each.bytes, most),
            )
        )
    show_table(("FROM", *headings, "STARTED", "COMPLETED", "CUSTOMERS", "SENT", ""), rows)
