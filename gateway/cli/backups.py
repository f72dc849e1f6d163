"""`backup FILE` and `restore FILE`: everything that cannot be made again, in one file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gateway.cli.options import YES, Invocation, command, confirm
from gateway.cli.output import count_of, note
from gateway.web.times import format_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue


def add_backups(root: typer.Typer) -> None:
    """Register the commands."""

    @command(root, "backup", example="download-gateway backup gateway.backup")
    def backup(
        invocation: Invocation,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    ) -> None:
        """Write one file with everything that cannot be made again, while everything runs.

        In it are the database, live tokens, registered storages and the key of encrypted secrets; not the
        products' files. Keep it as safe as the database: only its owner may read it.
        """
        from gateway.backup.taking import take  # noqa: PLC0415

        async def write(catalogue: Catalogue) -> dict[str, Any]:
            await catalogue.synchronise()
            with _showing() as progress:
                return await take(
                    file, catalogue.database, catalogue.store, invocation.settings.data, progress
                )

        found = invocation.with_catalogue(write)
        size = file.stat().st_size
        data = {
            "file": str(file),
            "bytes": size,
            "createdAt": format_time(found["made"]),
            "migration": found["migration"],
            "rows": found["rows"],
            "tokens": found["tokens"],
            "tables": found["tables"],
        }
        held = f"{count_of(found['rows'], 'row')}, {count_of(found['tokens'], 'live token')}"
        invocation.print_result(data, lambda: note(f"{file}: {held}, {size} bytes."))

    @command(root, "restore", example="download-gateway restore gateway.backup")
    def restore(
        invocation: Invocation,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` has written.")],
        *,
        yes: Annotated[bool, YES] = False,
    ) -> None:
        """Put a backup into the database and the store of the settings, whatever kinds these are.

        What the database has is replaced. Tokens that the store has stay. Where the products' files are in
        another place on this machine, tell it with `product relocate`.
        """
        from gateway.backup.restoring import is_used  # noqa: PLC0415
        from gateway.backup.restoring import restore as put  # noqa: PLC0415

        with invocation.open_catalogue() as run:
            if run(lambda catalogue: is_used(catalogue.database, catalogue.store)):
                confirm(invocation, "Replace everything that the database has by this backup", yes)

            async def read(catalogue: Catalogue) -> dict[str, Any]:
                with _showing() as progress:
                    return await put(
                        file, catalogue.database, catalogue.store, invocation.settings.data, progress
                    )

            found = run(read)
        made = format_time(found["made"])
        data = {"file": str(file), "createdAt": made, "rows": found["rows"], "tokens": found["tokens"]}
        held = f"{count_of(found['rows'], 'row')}, {count_of(found['tokens'], 'live token')}"
        invocation.print_result(data, lambda: note(f"Restored {file} of {made}: {held}."))


@contextmanager
def _showing() -> Iterator[Callable[[str, int], None]]:
    """Show a person at a terminal how far it is."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda _what, _number: None
        return
    with console.status("Reading …") as status:
        yield lambda what, number: status.update(f"{what}: {number:,}")
