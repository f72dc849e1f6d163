"""How a command gets its settings and prints its result.

`command` registers a function as a command. It adds the common options (--config, --data, --redis-url,
--debug, --json) and a flag for each setting that the command names, made from the setting's declaration. The
function is called with an `Invocation`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeVar

import typer

from gateway.config.readers import describe_default, unit_of
from gateway.config.settings import Settings, load
from gateway.config.sources import DEBUG_VARIABLE, TABLES, flag_name
from gateway.config.units import format_exact_size
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.catalogue.catalogue import Catalogue
    from gateway.tokens.repositories import Repositories

EVERY: Final = tuple(name for name in Settings.model_fields if name != TABLES)
"""Every setting that has a flag. Storages are tables and have none."""

STORE: Final = ("data", "redis_url", "redis_timeout", "database_url")
"""The settings that every command has as flags: where store and database are."""

CONFIG: Final = typer.Option(
    "--config",
    help="TOML file with settings. Default: $GATEWAY_CONFIG, or config/gateway.toml if it exists.",
    rich_help_panel="Settings",
    show_default=False,
)
DEBUG: Final = typer.Option("--debug", help="Show the traceback of an unexpected error.")
JSON: Final = typer.Option("--json", help="Print JSON, for scripts.")
YES: Final = typer.Option("--yes", "-y", help="Do not ask whether to go on.")

CLI: Final = "cli"
"""Who made a change, in the audit trail."""

Result = TypeVar("Result")


class StoreRunner(Protocol):
    """Runs a coroutine function with a client of the open store, and waits for its result."""

    def __call__(self, work: Callable[[Repositories], Awaitable[Result]], /) -> Result: ...


class CatalogueRunner(Protocol):
    """The same with the catalogue, which is the database and the store."""

    def __call__(self, work: Callable[[Catalogue], Awaitable[Result]], /) -> Result: ...


@dataclass(frozen=True)
class Invocation:
    """One invocation of a command: its settings, and how it prints its result."""

    name: str
    flags: Mapping[str, Any]
    config: Path | None
    json: bool

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings, read at the first use. Raises ConfigurationError."""
        return load(self.flags, self.config, os.environ)

    def reload(self) -> Settings:
        """Read the settings again from all sources, as at a SIGHUP. Raises ConfigurationError."""
        return load(self.flags, self.config, os.environ)

    @contextmanager
    def open_store(self) -> Iterator[StoreRunner]:
        """Open the store of the settings, and start an embedded one if necessary. Yields a StoreRunner."""
        from gateway.store.embedded import open_store  # noqa: PLC0415 - slow to import, not needed for --help
        from gateway.tokens.repositories import Repositories  # noqa: PLC0415

        async def connect_and_run(url: str, work: Callable[[Repositories], Awaitable[Any]]) -> Any:
            async with Repositories.connect(url, self.settings.redis_timeout) as store:
                return await work(store)

        with open_store(self.settings, self.name) as url:
            yield lambda work: asyncio.run(connect_and_run(url, work))

    def with_store(self, work: Callable[[Repositories], Awaitable[Result]]) -> Result:
        """Open the store for one coroutine function, and return its result."""
        with self.open_store() as run:
            return run(work)

    @contextmanager
    def open_catalogue(self) -> Iterator[CatalogueRunner]:
        """Open database and store, for what changes products and keys. Yields a CatalogueRunner."""
        from gateway.catalogue.catalogue import Catalogue  # noqa: PLC0415 - slow to import
        from gateway.database.migrating import open_database  # noqa: PLC0415

        with self.open_store() as run:

            def with_database(work: Callable[[Catalogue], Awaitable[Any]]) -> Any:
                async def open_and_run(store: Repositories) -> Any:
                    async with open_database(self.settings) as database:
                        return await work(Catalogue(database, store))

                return run(open_and_run)

            yield with_database

    def with_catalogue(self, work: Callable[[Catalogue], Awaitable[Result]]) -> Result:
        """Open database and store for one coroutine function, and return its result."""
        with self.open_catalogue() as run:
            return run(work)

    def print_result(self, data: Any, show: Callable[[], None]) -> None:
        """Print `data` as JSON with --json; else call `show`, which prints the same for people."""
        if self.json:
            sys.stdout.write(json.dumps(data, indent=2) + "\n")
        else:
            show()


def command(
    group: typer.Typer,
    name: str,
    *,
    example: str,
    settings: Sequence[str] = STORE,
    has_json: bool = True,
    alone: bool = False,
) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function as a command. Its first parameter is the Invocation, the others are its options.

    The function returns the exit code, or None for 0. `example` is the last line of its --help. alone: it is
    what the group itself does, without the name of a command after it.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(*, context: typer.Context, **values: Any) -> None:
            if context.invoked_subcommand is not None:
                return  # one of the group's commands follows
            invocation = _invocation(context, values, settings)
            code = function(invocation, **{parameter.name: values[parameter.name] for parameter in own})
            raise typer.Exit(code or 0)

        added = [_parameter("context", typer.Context), *_options(settings, has_json)]
        parameters = [*own, *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        if alone:
            group.callback(invoke_without_command=True, epilog=f"Example: {example}")(run)
        else:
            group.command(name, epilog=f"Example: {example}")(run)
        return run

    return register


def set_root_options(context: typer.Context, flags: Mapping[str, Any], config: Path | None) -> None:
    """Keep the options that were given before the command's name. The same options after the name win."""
    context.obj = (dict(flags), config)


def debugging(arguments: Sequence[str]) -> bool:
    """Whether an unexpected error shows its traceback."""
    return "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def setting_option(name: str) -> Any:
    """Make the option of a setting from its declaration."""
    field = Settings.model_fields[name]
    return typer.Option(
        flag_name(name),
        help=f"{field.description} [dim]{_default_text(name)}[/dim]",
        metavar=_metavar(unit_of(field)),
        show_default=False,
        rich_help_panel="Settings",
    )


def _default_text(name: str) -> str:
    field = Settings.model_fields[name]
    if text := describe_default(field):
        return f"(default: {text.replace('`', '')})"
    default = format_exact_size(field.default) if unit_of(field) == "size" else field.default
    if isinstance(default, tuple):
        return "(default: none)"
    return f"(default: {default:g})" if isinstance(default, float) else f"(default: {default})"


def _metavar(unit: str) -> str:
    if unit in ("URL", "address", "path", "seconds", "bytes", "size", "CIDRs", "origins"):
        return unit.upper()
    return "N" if unit else "TEXT"


def _invocation(context: typer.Context, values: Mapping[str, Any], settings: Sequence[str]) -> Invocation:
    before: tuple[dict[str, Any], Path | None] = context.find_root().obj
    flags, config = before
    given = {name: values[name] for name in settings if values[name] is not None}
    path = " ".join(context.command_path.split()[1:])
    return Invocation(path, {**flags, **given}, values["config"] or config, bool(values.get("json")))


def _options(settings: Sequence[str], has_json: bool) -> list[inspect.Parameter]:
    options = [_parameter("json", Annotated[bool, JSON], False)] if has_json else []
    options.append(_parameter("debug", Annotated[bool, DEBUG], False))
    options.append(_parameter("config", Annotated[Path | None, CONFIG], None))
    options += [_parameter(name, Annotated[str | None, setting_option(name)], None) for name in settings]
    return options


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def confirm(invocation: Invocation, question: str, yes: bool) -> None:
    """Ask the person at the terminal, unless --yes was given.

    Raises ConfigurationError when it may not be.
    """
    if yes:
        return
    if invocation.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise fail(f"{question}? Nobody can be asked here: add --yes to do it")
    if not typer.confirm(f"{question}?", err=True):
        raise fail("nothing was changed")


def fail(fault: str) -> ConfigurationError:
    """Make the exception for one fault on the command line, to be raised."""
    return ConfigurationError([fault])
