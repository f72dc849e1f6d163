"""`database status | migrate`: the tables of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.options import Invocation, command
from gateway.cli.output import note, show_record

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.database.engine import Database
    from gateway.database.migrating import MigrationState

group = typer.Typer(help="The database, which keeps what must last.", no_args_is_help=True)


@command(group, "status", example="download-gateway database status")
def status(invocation: Invocation) -> int:
    """Show which database is used, and whether its tables are those of this version; exits with 1 if not."""
    from gateway.database.migrating import newer, read_state  # noqa: PLC0415

    async def look(database: Database) -> tuple[MigrationState, str]:
        state = await read_state(database)
        return state, str(newer(database, state)) if not state.is_known else ""

    label, (state, fault) = _run(invocation, look)
    data = {
        "database": label,
        "migration": state.current,
        "pending": list(state.pending),
        "usable": state.is_known and not state.pending,
    }

    def show() -> None:
        missing = ", ".join(state.pending) or "none"
        show_record([("database", label), ("migration", state.current or "none yet"), ("pending", missing)])
        if fault:
            note(fault)
        elif state.pending:
            note("A start makes these changes, or: download-gateway database migrate")

    invocation.print_result(data, show)
    return int(not data["usable"])


@command(group, "migrate", example="download-gateway database migrate")
def migrate(invocation: Invocation) -> None:
    """Bring the tables to this version: all at once or, if it is interrupted, not at all.

    Make a backup first. An older version of this program cannot use the database afterwards.
    """
    from gateway.database.migrating import migrate as apply  # noqa: PLC0415

    label, applied = _run(invocation, apply)
    text = f"Applied to {label}: {', '.join(applied)}" if applied else f"{label} is of this version already"
    invocation.print_result({"database": label, "applied": list(applied)}, lambda: note(text))


def _run(invocation: Invocation, work: Any) -> tuple[str, Any]:
    from gateway.config.database_url import locate_database  # noqa: PLC0415
    from gateway.database.engine import Database  # noqa: PLC0415

    settings = invocation.settings

    async def run() -> tuple[str, Any]:
        async with Database.of(locate_database(settings.database_url, settings.data)) as database:
            return database.label, await work(database)

    return asyncio.run(run())
