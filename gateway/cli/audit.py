"""`audit`: who changed what, and when."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import Invocation, command
from gateway.cli.output import show_table, show_time
from gateway.web.times import format_time


def add_audit(root: typer.Typer) -> None:
    """Register the command."""

    @command(root, "audit", example="download-gateway audit --limit 20")
    def audit(
        invocation: Invocation,
        *,
        limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most this many.")] = 50,
    ) -> None:
        """Show the latest changes of products, tokens and keys, newest first, and who made them.

        `by` is the id of an API key (from `key list`), the name of a user of the dashboard, or cli. Links
        that shops make are in `token list`.
        """
        found = invocation.with_store(lambda store: store.audit.latest(limit))
        rows = [
            (
                show_time(change.time),
                change.by,
                change.action,
                ", ".join(f"{name}={value}" for name, value in change.what.items()),
            )
            for change in found
        ]
        data = [
            {"time": format_time(change.time), "action": change.action, "by": change.by, "what": change.what}
            for change in found
        ]
        invocation.print_result(data, lambda: show_table(("TIME", "BY", "ACTION", "WHAT"), rows))
