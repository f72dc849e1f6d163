"""The options of `token create` and `token extend` that limit a token beside its downloads."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.options import fail
from gateway.config.units import format_size, parse_size

if TYPE_CHECKING:  # the commands' --help must not wait for it
    from gateway.tokens.caps import CapChanges, Caps

MOST_DIGITS: Final = 9
MaxConnections = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="How many downloads may run at once, in all workers.", show_default=False
    ),
]
MaxRate = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="How many bytes a second all downloads get together: a number, or 500 KB, 2 MiB.",
        show_default=False,
    ),
]
MaxConnectionRate = Annotated[
    str | None, typer.Option(metavar="SIZE", help="The same for each download.", show_default=False)
]


class Binding(StrEnum):
    """What a token may be bound to."""

    ADDRESS = "address"
    NETWORK = "network"


BindTo = Annotated[
    Binding | None,
    typer.Option(
        help="Only the first client that downloads may go on: its address, or also others of its network.",
        show_default=False,
    ),
]


def read_caps(
    connections: int | None, rate: str | None, connection_rate: str | None, bind_to: str | None
) -> Caps:
    """Read the options that limit a token beside its downloads."""
    from gateway.tokens.caps import Caps  # noqa: PLC0415

    return Caps(
        connections or 0,
        _read_rate("--max-rate", rate),
        _read_rate("--max-connection-rate", connection_rate),
        str(bind_to or ""),
    )


OTHER: Final = "or none, so that the settings decide"
NewConnections = Annotated[
    str | None,
    typer.Option(
        "--max-connections",
        metavar="N",
        help=f"How many downloads may run at once: a number, {OTHER}.",
        show_default=False,
    ),
]
NewRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate",
        metavar="SIZE",
        help=f"How many bytes a second all downloads get together: a number, 500 KB, 2 MiB, {OTHER}.",
        show_default=False,
    ),
]
NewConnectionRate = Annotated[
    str | None,
    typer.Option(
        "--max-connection-rate", metavar="SIZE", help="The same for each download.", show_default=False
    ),
]


class NewBinding(StrEnum):
    """What a token may be bound to from now on."""

    ADDRESS = "address"
    NETWORK = "network"
    NONE = "none"


NewBindTo = Annotated[
    NewBinding | None,
    typer.Option(
        "--bind-to",
        help="As with `token create`, or none. The next client that downloads is the first one then.",
        show_default=False,
    ),
]


def read_changes(
    connections: str | None, rate: str | None, connection_rate: str | None, bind_to: str | None
) -> CapChanges:
    """Read the options of `token extend`: those that were given, with None for `none`."""
    changes: dict[str, int | str | None] = {}
    if connections is not None:
        changes["connections"] = None if connections == "none" else _read_connections(connections)
    if rate is not None:
        changes["rate"] = None if rate == "none" else _read_rate("--max-rate", rate)
    if connection_rate is not None:
        each = None if connection_rate == "none" else _read_rate("--max-connection-rate", connection_rate)
        changes["connection_rate"] = each
    if bind_to is not None:
        changes["binding"] = None if bind_to == "none" else str(bind_to)
    return changes


def _read_connections(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and int(text)):
        raise fail(f"--max-connections: must be a number from 1, or none, not {text[:40]!r}")
    return int(text)


def _read_rate(flag: str, text: str | None) -> int:
    if text is None:
        return 0
    try:
        rate = parse_size(text)
    except ValueError as error:
        raise fail(f"{flag}: {error}") from None
    if rate < 1:
        raise fail(f"{flag}: must be at least 1 byte a second")
    return rate


def show_caps(caps: Caps) -> list[tuple[str, object]]:
    """The lines of `token show`."""
    return [
        ("connections", caps.connections or None),
        ("rate", _show_rate(caps.rate)),
        ("rate of each", _show_rate(caps.connection_rate)),
        ("bound to", caps.binding or None),
    ]


def _show_rate(rate: int) -> str | None:
    return f"{format_size(rate)}/s" if rate else None
