"""How a command gets its settings and says its result.

`command` gives a function every common option (--config, --data, --redis-url, --debug, --json) and a flag
for each setting it names, made from the setting's declaration, and hands it a `Call`.
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

from gateway.config.settings import Settings, load
from gateway.config.sizes import show_size
from gateway.config.sources import DEBUG_VARIABLE, TABLES, flag_name
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.tokens.repositories import Repositories

EVERY: Final = tuple(name for name in Settings.model_fields if name != TABLES)
"""Every setting that has a flag (storages are tables, for the file and the environment)."""

STORE: Final = ("data", "redis_url", "redis_timeout")
"""The settings every command has as flags: where the store is."""

CONFIG: Final = typer.Option(
    "--config",
    help="TOML file with settings. Default: $GATEWAY_CONFIG, or config/gateway.toml if it is there.",
    rich_help_panel="Settings",
    show_default=False,
)
DEBUG: Final = typer.Option("--debug", help="Show the traceback of an unexpected fault.")
JSON: Final = typer.Option("--json", help="Print JSON, for scripts.")

Result = TypeVar("Result")


class Ask(Protocol):
    """Does a piece of asynchronous work at the open store and waits for it."""

    def __call__(self, work: Callable[[Repositories], Awaitable[Result]], /) -> Result: ...


@dataclass(frozen=True)
class Call:
    """One run of a command: its settings and how to say the result."""

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
    def store(self) -> Iterator[Ask]:
        """Open the store that the settings mean, started for the purpose if need be; yields what asks it."""
        from gateway.store.embedded import open_store  # noqa: PLC0415 - slow to import, not needed for --help
        from gateway.tokens.repositories import Repositories  # noqa: PLC0415

        async def connected(url: str, work: Callable[[Repositories], Awaitable[Any]]) -> Any:
            async with Repositories.connect(url, self.settings.redis_timeout) as store:
                return await work(store)

        with open_store(self.settings, self.name) as url:
            yield lambda work: asyncio.run(connected(url, work))

    def with_store(self, work: Callable[[Repositories], Awaitable[Result]]) -> Result:
        """Do one piece of work at the store."""
        with self.store() as ask:
            return ask(work)

    def say(self, data: Any, show: Callable[[], None]) -> None:
        """Print the result: `data` as JSON when that is wanted, else whatever `show` prints for people."""
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
) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function as a command. Its first parameter is the Call, the others are its own options.

    It returns the exit code, None for 0. `example` closes its help.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(*, context: typer.Context, **values: Any) -> None:
            call = _call(context, values, settings)
            code = function(call, **{parameter.name: values[parameter.name] for parameter in own})
            raise typer.Exit(code or 0)

        added = [_parameter("context", typer.Context), *_options(settings, has_json)]
        parameters = [*own, *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        group.command(name, epilog=f"Example: {example}")(run)
        return run

    return register


def set_root_options(context: typer.Context, flags: Mapping[str, Any], config: Path | None) -> None:
    """Keep what was given before the command's name; the same options behind it win."""
    context.obj = (dict(flags), config)


def debugging(arguments: Sequence[str]) -> bool:
    """Whether tracebacks are wanted."""
    return "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def setting_option(name: str) -> Any:
    """The option of a setting, from its declaration."""
    field = Settings.model_fields[name]
    extra: Any = field.json_schema_extra
    unit = extra["unit"] if isinstance(extra, dict) else ""
    return typer.Option(
        flag_name(name),
        help=f"{field.description} [dim]{_default_words(name)}[/dim]",
        metavar=_metavar(str(unit)),
        show_default=False,
        rich_help_panel="Settings",
    )


def _default_words(name: str) -> str:
    field = Settings.model_fields[name]
    extra: Any = field.json_schema_extra
    if extra["shown"]:
        return f"(default: {extra['shown'].replace('`', '')})"
    default = show_size(field.default) if extra["unit"] == "size" else field.default
    if isinstance(default, tuple):
        return "(default: none)"
    return f"(default: {default:g})" if isinstance(default, float) else f"(default: {default})"


def _metavar(unit: str) -> str:
    if unit in ("URL", "address", "path", "seconds", "bytes", "size", "CIDRs", "origins"):
        return unit.upper()
    return "N" if unit else "TEXT"


def _call(context: typer.Context, values: Mapping[str, Any], settings: Sequence[str]) -> Call:
    before: tuple[dict[str, Any], Path | None] = context.find_root().obj
    flags, config = before
    given = {name: values[name] for name in settings if values[name] is not None}
    path = " ".join(context.command_path.split()[1:])
    return Call(path, {**flags, **given}, values["config"] or config, bool(values.get("json")))


def _options(settings: Sequence[str], has_json: bool) -> list[inspect.Parameter]:
    options = [_parameter("json", Annotated[bool, JSON], False)] if has_json else []
    options.append(_parameter("debug", Annotated[bool, DEBUG], False))
    options.append(_parameter("config", Annotated[Path | None, CONFIG], None))
    options += [_parameter(name, Annotated[str | None, setting_option(name)], None) for name in settings]
    return options


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def fail(fault: str) -> ConfigurationError:
    """One fault in what was given on the command line, to be raised."""
    return ConfigurationError([fault])
