"""The options of commands that make links. A value is read, or refused with a line that names the option."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from gateway.cli.options import Invocation, fail
from gateway.config.settings import Settings, base_url
from gateway.config.units import format_duration, parse_duration
from gateway.errors import ConfigurationError
from gateway.web.times import parse_time

ExpiresIn = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long the token is valid from now: seconds, or 90s, 15m, 24h, 7d.",
        show_default=False,
    ),
]
MaxDownloads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="How often each file may be downloaded: N times its size in bytes, and half more.",
        show_default=False,
    ),
]
FLAGS: Final = {
    "expiresIn": "--expires-in",
    "expiresAt": "--expires-at",
    "maxDownloads": "--max-downloads",
    "maxConnections": "--max-connections",
    "maxRate": "--max-rate",
    "maxConnectionRate": "--max-connection-rate",
    "customer.email": "--email",
    "customer.name": "--name",
    "metadata": "--metadata",
}
"""The flag that sets each field of the API."""


@contextmanager
def faults_name_flags() -> Iterator[None]:
    """Turn what is wrong with a field of the API into faults that name the flag."""
    from gateway.errors import Declined  # noqa: PLC0415

    try:
        yield
    except Declined as declined:
        if not declined.faults:
            raise
        faults = [f"{FLAGS.get(field, field)}: {message}" for field, message in declined.faults]
        raise ConfigurationError(faults) from None


def read_lifetime(text: str | None, settings: Settings) -> int:
    """Read --expires-in as seconds; None is the default of the settings."""
    if text is None:
        return settings.mint_default_ttl
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise fail(f"--expires-in: {error}") from None
    if seconds < 1:
        raise fail("--expires-in: must be at least 1 second")
    if not seconds.is_integer():
        raise fail(f"--expires-in: must be whole seconds, not {text}")
    if seconds > settings.mint_max_ttl:
        longest = format_duration(settings.mint_max_ttl)
        raise fail(f"--expires-in: {text} is more than mint.max_ttl allows ({longest})")
    return int(seconds)


def read_moment(text: str) -> int:
    """Read --expires-at as ms since 1970 UTC."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise fail(f"--expires-at: {error}, not {text[:40]!r}") from None


def read_pairs(texts: list[str]) -> dict[str, str]:
    """Read --metadata."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise fail(f"--metadata: {text[:40]!r} is not KEY=VALUE")
        if key in pairs:
            raise fail(f"--metadata: {key[:40]!r} is given twice")
        pairs[key] = value
    return pairs


def link_base(invocation: Invocation) -> str:
    """The beginning of a link: from the settings, or from the gateway that runs on this data folder."""
    from gateway.store.folder import announced_url  # noqa: PLC0415

    settings = invocation.settings
    is_given = settings.public_url or settings.redis_url or "listen" in invocation.flags
    return (None if is_given else announced_url(settings.data)) or base_url(settings)
