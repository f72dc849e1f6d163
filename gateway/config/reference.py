"""The settings reference and the example file, made from the declarations by `make settings`.

Writes docs/settings.md and config/gateway.toml below the working directory. A test holds both to this.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.readers import describe_default, unit_of
from gateway.config.settings import Settings
from gateway.config.sources import GROUPS, TABLES, flag_name, toml_name, variable_name
from gateway.config.storages import STORAGE_TYPES
from gateway.config.units import format_exact_size

PAGE: Final = Path("docs/settings.md")
EXAMPLE: Final = Path("config/gateway.toml")
WIDTH: Final = 100

PAGE_HEAD: Final = """\
# Settings

<!-- Made by `make settings` from gateway/config/settings.py. Do not edit: a test compares them. -->

A setting is read from its flag, else from its environment variable, else from the TOML file, else it has
its default. `--config PATH` (or `GATEWAY_CONFIG`) names the TOML file; without it `config/gateway.toml` is
read if it is there. All faults are reported together at start-up, and `download-gateway check` looks
further: at the store, the files and the front proxy.

- Times are in seconds, or text with a unit: `"90s"`, `"15m"`, `"24h"`, `"7d"`.
- Sizes are in bytes, or text with a unit: `"500 MiB"`, `"50 GiB"`, `"1 TB"`.
- Lists are arrays in TOML; as a flag or a variable they are separated by commas or spaces.
- Relative paths are taken from the working directory, whatever says them.
- An address is `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every host) or `unix:PATH`.
- An empty environment variable counts as unset.
- `GATEWAY_DEBUG=1` (or `--debug`) shows the traceback of an unexpected fault.
- A password in `redis_url` is better given by the variable or the file: other users see flags in `ps`.
- A storage's keys are best left to the environment, a profile or the machine's role; else put them into
  variables or a file that only the gateway can read.
"""

STORAGE_TEXT: Final = """\
Storages are tables by name, `[storage.NAME]`, or variables, `GATEWAY_STORAGE__NAME__ROOT` (the name is
read in lower case). The `type` says which of the keys below a table has. Files published from any other
folder get a storage of their own, kept below `data` in storages.json.
"""

EXAMPLE_HEAD: Final = """\
# Every setting with its default. Take away the "# " before a setting to change it.
# Made by `make settings` from gateway/config/settings.py; docs/settings.md says more.
# Flags and GATEWAY_… environment variables win over this file.
"""


def default_text(field: FieldInfo) -> str:
    """The default as TOML writes it, or "" where it is no constant."""
    if (
        field.is_required()
        or field.default_factory is not None
        or field.default is None
        or describe_default(field)
    ):
        return ""
    value: Any = str(field.default) if isinstance(field.default, Path) else field.default
    if unit_of(field) == "size":
        value = format_exact_size(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields as declared, but a table's type before them, and then what it needs."""
    fields = sorted(
        model.model_fields.items(), key=lambda item: (item[0] != "type", not item[1].is_required())
    )
    return ((name, field) for name, field in fields if name != TABLES)


def settings_page() -> str:
    """The text of docs/settings.md."""
    parts = [PAGE_HEAD, "| setting | default | unit | |", "| --- | --- | --- | --- |"]
    for name, field in _fields(Settings):
        default = f"`{text}`" if (text := default_text(field)) else describe_default(field)
        parts.append(
            f"| `{toml_name(name)}`<br>`{flag_name(name)}`<br>`{variable_name(name)}` "
            f"| {default} | {unit_of(field)} | {field.description} |"
        )
    parts += ["", "## Storages", "", STORAGE_TEXT.rstrip()]
    for kind, model in STORAGE_TYPES.items():
        parts += ["", f"### {kind}", "", "| key | default | unit | |", "| --- | --- | --- | --- |"]
        for name, field in _fields(model):
            default = f"`{text}`" if (text := default_text(field)) else describe_default(field)
            variable = variable_name(f"{TABLES}__NAME__{name}")
            parts.append(
                f"| `storage.NAME.{name}`<br>`{variable}` "
                f"| {default} | {unit_of(field)} | {field.description} |"
            )
    return "\n".join(parts) + "\n"


def example_file() -> str:
    """The text of config/gateway.toml."""
    parts = [EXAMPLE_HEAD]
    table = ""
    fields = sorted(_fields(Settings), key=lambda item: _group(item[0]))
    for name, field in fields:
        key = toml_name(name)
        head, _, last = key.rpartition(".")
        if head != table:
            parts.append(f"[{head}]\n")
            table = head
        parts.append(_example(last, name, field))
    parts.append(_comment(STORAGE_TEXT.replace("`", "")))
    for kind, model in STORAGE_TYPES.items():
        parts += [f"# [storage.{NAMES[kind]}]", f'# type = "{kind}"']
        parts += [_example_line(name, name, field) for name, field in _fields(model) if name != "type"]
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def _group(attribute: str) -> int:
    """Plain settings first, then the tables, one after the other."""
    return next((number for number, head in enumerate(GROUPS, start=1) if attribute.startswith(head)), 0)


NAMES: Final = {"local": "files", "s3": "bucket", "gs": "google", "az": "azure"}
"""What the example calls a storage of each type."""

EXAMPLES: Final = {
    "redis_url": "redis://localhost:6379/0",
    "tls_cert": "/etc/gateway/fullchain.pem",
    "tls_key": "/etc/gateway/privkey.pem",
    "workers": 2,
    "public_url": "https://downloads.example.com",
    "mint_default_ttl": 86400,
    "root": "/srv/downloads",
    "accel_prefix": "/_protected/files/",
    "cache_path": "/var/cache/download-gateway",
    "bucket": "my-downloads",
    "endpoint": "https://storage.example.com",
    "access_key": "ACCESS-KEY",
    "secret_key": "SECRET-KEY",
    "session_token": "SESSION-TOKEN",
    "profile": "downloads",
    "ca_file": "/etc/gateway/ca.pem",
    "service_account": "/etc/gateway/google.json",
    "account": "mydownloads",
    "container": "downloads",
    "account_key": "ACCOUNT-KEY",
    "sas_token": "SAS-TOKEN",
}
"""Values for settings whose default is no constant."""

KINDS: Final = ("path", "URL", "address", "CIDRs", "origins", "size")
"""Units that say what a text is and not what a number counts."""


def _example(key: str, name: str, field: FieldInfo) -> str:
    default = default_text(field)
    note = str(field.description)
    if not default:
        note += f" Default: {describe_default(field)}."
    return f"{_comment(note.replace('`', ''))}{_example_line(key, name, field)}\n"


def _example_line(key: str, name: str, field: FieldInfo) -> str:
    value = default_text(field) or json.dumps(EXAMPLES[name], ensure_ascii=False)
    counted = f"  # {unit_of(field)}" if unit_of(field) and unit_of(field) not in KINDS else ""
    return f"# {key} = {value}{counted}"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(" ".join(text.split()), WIDTH - 2))


if __name__ == "__main__":
    for path, text in ((PAGE, settings_page()), (EXAMPLE, example_file())):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
