"""The sources of settings: flags, environment variables and the TOML file, each read into plain values.

A source knows how it names each setting, for faults. It reports its own faults: an unknown name (with the
known name that is nearest to it), or a file that cannot be read. Which values are allowed is declared with
the settings.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_settings import BaseSettings, EnvSettingsSource

from gateway.config.service_links import find_service_links
from gateway.config.toml_faults import explain_toml
from gateway.runtime.system_errors import advise

PREFIX: Final = "GATEWAY_"
DEFAULT_CONFIG: Final = Path("config/gateway.toml")
CONFIG_VARIABLE: Final = "GATEWAY_CONFIG"
DEBUG_VARIABLE: Final = "GATEWAY_DEBUG"
TABLES: Final = "storage"
"""The one setting that is a table of tables. Every other setting is a plain value."""
GROUPS: Final = (
    *("mint_", "dashboard_", "web_", "cache_", "usage_", "traces_", "secrets_", "retention_"),
    *("seller_", "mail_", "sharing_"),
)
"""An attribute that begins with one of these is a key of a table in the TOML file."""

SettingPath = tuple[str, ...]
"""The keys that lead to a value: ("mint_listen",) or ("storage", NAME, "root")."""


@dataclass(frozen=True)
class Source:
    """Values by attribute, how this source names each setting, and the faults found while reading."""

    values: dict[str, Any]
    name: Callable[[SettingPath], str]
    faults: tuple[str, ...] = field(default=())

    def has(self, path: SettingPath) -> bool:
        """Whether this source has a value at the path."""
        values: Any = self.values
        for key in path:
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
    """The end of a sentence that suggests the known name nearest to an unknown one; "" if none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def read_flags(flags: Mapping[str, Any]) -> Source:
    """Read flags by attribute. None is a flag that was not given."""
    values = {name: value for name, value in flags.items() if value is not None and value != ()}
    return Source(values, lambda path: flag_name(path[0]))


def read_environment(environ: Mapping[str, str], model: type[BaseSettings]) -> Source:
    """Read the `GATEWAY_…` variables. An empty variable counts as unset, as container files need it.

    An unknown variable is a fault if its name is near to that of a setting. Otherwise it is ignored, because
    another program may use the same prefix. What orchestrators set for services is ignored, too.
    """
    known = [variable_name(attribute) for attribute in model.model_fields if attribute != TABLES]
    allowed = {*known, CONFIG_VARIABLE, DEBUG_VARIABLE}
    links = find_service_links(environ) - allowed
    ours = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value and name not in links
    }
    tables = variable_name(TABLES) + "__"
    faults = [
        f"{name}: there is no such setting{suggestion}"
        for name in sorted(ours.keys() - allowed)
        if not name.startswith(tables) and (suggestion := _suggest_variable(name, allowed))
    ]
    reader = EnvSettingsSource(model)
    reader.env_vars = {
        name.lower(): value for name, value in ours.items() if name in known or name.startswith(tables)
    }
    return Source(reader(), lambda path: PREFIX + "__".join(path).upper(), tuple(faults))


def _suggest_variable(name: str, known: Iterable[str]) -> str:
    if name.startswith(variable_name(TABLES)):
        return f"; storages are {variable_name(TABLES)}__NAME__ROOT"
    # compared without the prefix, which would make any two names similar
    found = nearest(name.removeprefix(PREFIX), (other.removeprefix(PREFIX) for other in known))
    return found.replace("mean ", f"mean {PREFIX}")


def find_config(config: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """Choose the TOML file (--config, GATEWAY_CONFIG, or the usual one), and how faults name it."""
    if config is not None:
        return config, f"--config {config}"
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE]), f"{CONFIG_VARIABLE}={environ[CONFIG_VARIABLE]}"
    return (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None), str(DEFAULT_CONFIG)


def read_toml(config: Path | None, environ: Mapping[str, str], model: type[BaseSettings]) -> Source:
    """Read the TOML file. Tables are flattened (`[mint] listen` is mint_listen), except `[storage.NAME]`."""
    path, name = find_config(config, environ)
    if path is None:
        return Source({}, toml_path)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        return Source({}, toml_path, (f"{name}: the file cannot be read: {advise(error)}",))
    except ValueError as error:
        return Source({}, toml_path, (f"{name}: the file is not TOML: {explain_toml(error)}",))
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
    return Source(values, lambda setting: f"{path}: {toml_path(setting)}", tuple(faults))


def toml_path(path: SettingPath) -> str:
    """The key of a setting in the TOML file: `mint.listen`, `storage.NAME.root`."""
    return toml_name(path[0]) if len(path) == 1 else ".".join(path)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(sources: Iterable[Source]) -> dict[str, Any]:
    """Merge the values of all sources. The first source wins; tables are merged key by key."""
    merged: dict[str, Any] = {}
    for source in sources:
        _fill(merged, source.values)
    return merged


def _fill(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(table := target.setdefault(key, {}), dict):
            _fill(table, value)
        else:
            target.setdefault(key, value)
