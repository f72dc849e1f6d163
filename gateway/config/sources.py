"""Where settings come from, each read into plain values beside the words a fault names them by.

A source tells its own faults: a name that is no setting (with the nearest that is), a file that cannot be
read. What the values may be is told where the settings are declared.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_settings import BaseSettings, EnvSettingsSource

PREFIX: Final = "GATEWAY_"
DEFAULT_CONFIG: Final = Path("config/gateway.toml")
CONFIG_VARIABLE: Final = "GATEWAY_CONFIG"
DEBUG_VARIABLE: Final = "GATEWAY_DEBUG"
TABLES: Final = "storage"
"""The one setting that is a table of tables; every other is a plain value."""
GROUPS: Final = ("mint_", "dashboard_", "cache_")
"""Attributes that begin with one of these are keys of a table in the TOML file."""

ORCHESTRATOR: Final = re.compile(r"GATEWAY_(SERVICE_(HOST|PORT)(_.+)?|PORT(_\d+_(TCP|UDP)(_.+)?)?)")
"""What Kubernetes sets in a pod when a Service is called `gateway`: no settings and no slips."""

SettingPath = tuple[str, ...]
"""The way to a value: ("mint_listen",) or ("storage", NAME, "root")."""


@dataclass(frozen=True)
class Source:
    """Values by attribute, the words for each place, and the faults found while reading."""

    values: dict[str, Any]
    name: Callable[[SettingPath], str]
    faults: tuple[str, ...] = field(default=())

    def holds(self, place: SettingPath) -> bool:
        """Whether this source says something at the place."""
        values: Any = self.values
        for key in place:
            if not isinstance(values, dict) or key not in values:
                return False
            values = values[key]
        return True


def flag_name(attribute: str) -> str:
    """`mint_listen` as a flag: `--mint-listen`."""
    return "--" + attribute.replace("_", "-")


def variable_name(attribute: str) -> str:
    """`mint_listen` as an environment variable: `GATEWAY_MINT_LISTEN`."""
    return PREFIX + attribute.upper()


def toml_name(attribute: str) -> str:
    """`mint_listen` as a key of the TOML file: `mint.listen`. Only the GROUPS are tables."""
    return attribute.replace("_", ".", 1) if attribute.startswith(GROUPS) else attribute


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence that offers the known name nearest to a mistyped one, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def read_flags(flags: Mapping[str, Any]) -> Source:
    """Flags by attribute; None is a flag that was not given."""
    values = {name: value for name, value in flags.items() if value is not None and value != ()}
    return Source(values, lambda place: flag_name(place[0]))


def read_environment(environ: Mapping[str, str], model: type[BaseSettings]) -> Source:
    """The `GATEWAY_…` variables. An empty one counts as unset, as container files need it.

    One that is no setting is a fault if it looks like one mistyped; else it is somebody else's, who had the
    same idea for a prefix (orchestrators do, for a service named gateway).
    """
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}
    known = [variable_name(attribute) for attribute in model.model_fields if attribute != TABLES]
    tables = variable_name(TABLES) + "__"
    faults = [
        f"{name}: there is no such setting{_mend_variable(name, [*known, CONFIG_VARIABLE, DEBUG_VARIABLE])}"
        for name in sorted(ours)
        if (name not in known and _mend_variable(name, [*known, CONFIG_VARIABLE, DEBUG_VARIABLE]))
        and name not in (CONFIG_VARIABLE, DEBUG_VARIABLE)
        and not name.startswith(tables)
        and not ORCHESTRATOR.fullmatch(name)
    ]
    reader = EnvSettingsSource(model)
    reader.env_vars = {
        name.lower(): value for name, value in ours.items() if name in known or name.startswith(tables)
    }
    return Source(reader(), lambda place: PREFIX + "__".join(place).upper(), tuple(faults))


def _mend_variable(name: str, known: Iterable[str]) -> str:
    if name.startswith(variable_name(TABLES)):
        return f"; storages are {variable_name(TABLES)}__NAME__ROOT"
    # without the prefix, which would make any two of them look alike
    found = nearest(name.removeprefix(PREFIX), (other.removeprefix(PREFIX) for other in known))
    return found.replace("mean ", f"mean {PREFIX}")


def find_config(config: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The TOML file to read and the words for it: --config, GATEWAY_CONFIG, or the usual file if there."""
    if config is not None:
        return config, f"--config {config}"
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE]), f"{CONFIG_VARIABLE}={environ[CONFIG_VARIABLE]}"
    return (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None), str(DEFAULT_CONFIG)


def read_toml(config: Path | None, environ: Mapping[str, str], model: type[BaseSettings]) -> Source:
    """The TOML file's values. Tables are flattened (`[mint] listen` is mint_listen) but `[storage.NAME]`."""
    path, called = find_config(config, environ)
    if path is None:
        return Source({}, toml_place)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        return Source({}, toml_place, (f"{called}: the file cannot be read: {error.strerror}",))
    except ValueError as error:
        return Source({}, toml_place, (f"{called}: the file is not TOML: {error}",))
    values: dict[str, Any] = {}
    faults = []
    if TABLES in tables:
        values[TABLES] = tables.pop(TABLES)
    known = [attribute for attribute in model.model_fields if attribute != TABLES]
    for key, value in _flatten(tables):
        attribute = key.replace(".", "_")
        if attribute not in known:
            faults.append(f"{path}: {key}: there is no such setting{nearest(key, map(toml_name, known))}")
        elif attribute in values:
            faults.append(f"{path}: {key}: is given twice: leave one of the two out")
        else:
            values[attribute] = value
    return Source(values, lambda place: f"{path}: {toml_place(place)}", tuple(faults))


def toml_place(place: SettingPath) -> str:
    """The key of a place in the TOML file: `mint.listen`, `storage.NAME.root`."""
    return toml_name(place[0]) if len(place) == 1 else ".".join(place)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(sources: Iterable[Source]) -> dict[str, Any]:
    """The values of all sources, the first source winning; tables are merged key by key."""
    merged: dict[str, Any] = {}
    for source in sources:
        _fill(merged, source.values)
    return merged


def _fill(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(held := target.setdefault(key, {}), dict):
            _fill(held, value)
        else:
            target.setdefault(key, value)
