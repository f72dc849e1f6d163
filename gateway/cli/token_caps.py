"""The options of `token create` that limit a token beside its downloads, and how they are shown."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import fail
from gateway.config.units import format_size, parse_size

if TYPE_CHECKING:  # the commands' --help must not wait for it
    from gateway.tokens.caps import Caps

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
