"""Writes the settings reference and the example file from the declarations; `make settings` runs it.

The files are docs/settings.md and config/gateway.toml below the working directory. A test checks that they
are up to date.
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

A setting is read from its flag; without one, from its environment variable; without one, from the TOML file.
Otherwise it has its default. `--config PATH` (or `GATEWAY_CONFIG`) names the TOML file. Without it,
`config/gateway.toml` is read if it exists. All faults are reported together at start-up.
`download-gateway check` also checks the store, the files and the front proxy.

- Times are in seconds, or text with a unit: `"90s"`, `"15m"`, `"24h"`, `"7d"`.
- Sizes are in bytes, or text with a unit: `"500 MiB"`, `"50 GiB"`, `"1 TB"`.
- Lists are arrays in TOML; as a flag or a variable they are separated by commas or spaces.
- Relative paths are relative to the working directory, whatever their source.
- An address is `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every host) or `unix:PATH`.
- An empty environment variable counts as unset.
- Variables that Kubernetes or Docker set for services whose names begin with `gateway` (`…_SERVICE_HOST`,
  `…_PORT=tcp://…`, `…_PORT_6379_TCP`, …) are passed over. Any other name that is near to a
  setting's is a fault.
- `GATEWAY_DEBUG=1` (or `--debug`) shows the traceback of an unexpected fault.
- Give a password in `redis_url` by the variable or the file: other users can see flags in `ps`.
- Keys of a storage are best provided by the environment, a profile or the role of the machine. Otherwise put
  them into variables, or into a file that only the gateway can read.
"""

STORAGE_TEXT: Final = """\
Each storage is a table with its name, `[storage.NAME]`, or variables such as `GATEWAY_STORAGE__NAME__ROOT`
(the name is converted to lower case). The `type` determines which of the keys below a table has. When files
are published from a folder outside all storages, that folder becomes a storage of its own, which is kept
below `data` in storages.json.
"""

EXAMPLE_HEAD: Final = """\
# Every setting with its default. To change a setting, remove the "# " before it.
# Made by `make settings` from gateway/config/settings.py; docs/settings.md says more.
# Flags and GATEWAY_… environment variables have precedence over this file.
"""


def default_text(field: FieldInfo) -> str:
    """The default as TOML writes it, or "" if it is not a constant."""
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
    """The fields in the order of their declaration, but first the type of a table and what it requires.

    Those of a base, which are declared in a module of their own, come last.
    """
    last = model.model_fields.keys() - model.__annotations__.keys() if model is Settings else ()
    fields = sorted(
        model.model_fields.items(),
        key=lambda item: (item[0] != "type", not item[1].is_required(), item[0] in last),
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
    """The order in the file: plain settings first, then one table after the other."""
    return next((number for number, head in enumerate(GROUPS, start=1) if attribute.startswith(head)), 0)


NAMES: Final = {"local": "files", "s3": "bucket", "gs": "google", "az": "azure"}
"""The name of each type's storage in the example."""

EXAMPLES: Final = {
    "secrets_key": "/etc/gateway/secrets.key",
    "secrets_old_key": "/etc/gateway/secrets.old.key",
    "redis_url": "redis://localhost:6379/0",
    "database_url": "postgresql://gateway:PASSWORD@db.example.com/gateway",
    "web_listen": "unix:/run/download-gateway/web.sock",
    "tls_cert": "/etc/gateway/fullchain.pem",
    "tls_key": "/etc/gateway/privkey.pem",
    "workers": 2,
    "portal_link": True,
    "public_url": "https://downloads.example.com",
    "dashboard_url": "https://dashboard.example.com",
    "seller_logo": "/etc/gateway/logo.svg",
    "mail_url": "smtp://USER:PASSWORD@mail.example.com:587",
    "mail_password_file": "/etc/gateway/mail-password",
    "mail_ca": "/etc/gateway/mail-ca.pem",
    "mail_from": "Example Shop <shop@example.com>",
    "mail_reply_to": "help@example.com",
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
"""Values for settings whose default is not a constant."""

KINDS: Final = ("path", "URL", "address", "CIDRs", "origins", "size", "links", "address of mail")
"""Units that describe a text, in contrast to those that a number counts."""


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
