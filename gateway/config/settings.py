"""Every setting, declared once with its default, unit and help; and how they are read.

    flags  >  GATEWAY_… environment variables  >  a TOML file  >  defaults

`load` finds every fault in one pass. It names the setting at fault as its source does: by the flag, the
variable or the TOML key. One attribute has one name in each source:

    mint_listen   --mint-listen   GATEWAY_MINT_LISTEN   mint_listen = or [mint] listen =
    storage       (no flag)       GATEWAY_STORAGE__NAME__ROOT   [storage.NAME] root =

Relative paths from every source are relative to the working directory. They are made absolute at once, so
that child processes and commands agree. A Redis password is part of `redis_url`, and the keys of a storage
are in its table. Both are in the JSON that child processes are given, but never in a repr, a fault or a help
text.

The keys of a storage's table are declared in `storages.py`, settings about customers' data in
`customer_data.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config.cache_settings import CacheSettings
from gateway.config.caps import CapSettings
from gateway.config.customer_data import CustomerDataSettings
from gateway.config.database_url import locate_database
from gateway.config.mail_settings import MailSettings
from gateway.config.messages import describe
from gateway.config.page_settings import PageSettings
from gateway.config.readers import (
    UNIT_ADDRESS,
    AbsolutePath,
    DatabaseURL,
    ListenAddress,
    LogLevel,
    LogTarget,
    Networks,
    Origins,
    PublicURL,
    RedisURL,
    Seconds,
    ServerChoice,
    Switch,
    WholeSeconds,
    seconds_from,
    setting,
    unit_of,
    whole,
)
from gateway.config.sources import (
    PREFIX,
    TABLES,
    SettingPath,
    Source,
    merge,
    read_environment,
    read_flags,
    read_toml,
    toml_path,
)
from gateway.config.storages import LocalSettings, StorageSettings, explain
from gateway.config.trace_settings import ReportSettings
from gateway.errors import ConfigurationError
from gateway.runtime.addresses import Address
from gateway.runtime.descriptors import FOR_FILES, FOR_OBJECTS

STORAGE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
DEFAULT_TTL: Final = 86_400
MIN_HANG: Final = 2.0
"""Four signs of life (`runtime/heartbeat.py`): one or two may be late on a busy machine."""


def count_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def _default_ttl(values: Mapping[str, Any]) -> int:
    return min(DEFAULT_TTL, int(values.get("mint_max_ttl", DEFAULT_TTL)))


class Settings(
    CapSettings, CacheSettings, CustomerDataSettings, ReportSettings, MailSettings, PageSettings, BaseSettings
):
    """All settings, checked and frozen. `model_validate_json` restores what `model_dump_json` has written."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
        hide_input_in_errors=True,
        validate_default=True,
    )

    redis_url: RedisURL = setting(
        None,
        "The URL of the store: redis://, rediss:// (TLS) or unix://.",
        unit="URL",
        default_text="the embedded store below `data`",
        repr=False,
    )
    embedded_server: ServerChoice = setting(
        "bundled",
        "Which program the embedded store is: bundled (installed with the gateway), system (valkey-server or "
        "redis-server on PATH, which the operating system updates; if there is none, the bundled one), or a "
        "path.",
    )
    redis_timeout: Seconds = setting(
        1.0, "How long the store may take to answer one command.", unit="seconds"
    )
    redis_queue: Annotated[int, whole(1, 1_000_000)] = setting(
        10_000,
        "How many commands may wait for the store. Requests that would need more are refused.",
        unit="commands a worker",
    )
    database_url: DatabaseURL = setting(
        None,
        "The URL of the database, which keeps what must last: sqlite:///PATH or postgresql://….",
        unit="URL",
        default_text="gateway.sqlite below `data`",
        repr=False,
    )
    database_migrate: Switch = setting(
        True,
        "Whether a start of a newer version changes the tables of the database. Without it, such a start is "
        "refused until `download-gateway database migrate` has run.",
    )
    loopback_shops: Switch = setting(
        False,
        "Whether the address of a shop, whose API is asked, may be http:// on this machine. Others must be "
        "https://.",
    )
    loopback_webhooks: Switch = setting(
        False,
        "Whether outgoing webhooks may be sent to this machine: to localhost, by http:// or https://, on any "
        "port. All others are sent by https:// to addresses of the internet only.",
    )
    listen: ListenAddress = setting(
        "0.0.0.0:8080", "Where downloads are served: HOST:PORT, [IPV6]:PORT or unix:PATH.", unit=UNIT_ADDRESS
    )
    mint_listen: ListenAddress = setting(
        "127.0.0.1:8081", "Where the mint service listens. Keep it private.", unit=UNIT_ADDRESS
    )
    admin_listen: ListenAddress = setting(
        "127.0.0.1:8082",
        "Where health and metrics of all processes are served. Keep it private.",
        unit=UNIT_ADDRESS,
    )
    dashboard_listen: ListenAddress = setting(
        "127.0.0.1:8083", "Where the dashboard and the admin API listen. Keep it private.", unit=UNIT_ADDRESS
    )
    web_listen: ListenAddress | None = setting(
        None,
        "Where the web process takes what workers pass on to it: /hooks and /my. Set it on all machines.",
        unit=UNIT_ADDRESS,
        default_text="the unix socket web.sock below `data`",
    )
    tls_cert: AbsolutePath | None = setting(
        None,
        "A PEM certificate chain. With it, downloads are served by HTTPS, and browsers are told to use HTTPS "
        "for this host for a year (HSTS).",
        unit="path",
        default_text="plain HTTP",
    )
    tls_key: AbsolutePath | None = setting(
        None, "The private key of the certificate (PEM).", unit="path", default_text="in the file `tls_cert`"
    )
    workers: Annotated[int, whole(1, 1024)] = setting(
        count_cpus,
        "Worker processes that serve downloads.",
        unit="processes",
        default_text="the CPUs this process may use",
    )
    public_url: PublicURL = setting(
        None,
        "The URL at which customers reach the gateway. Download links begin with it.",
        unit="URL",
        default_text="made from `listen`",
    )
    trusted_proxies: Networks = setting(
        (), "Front proxies whose X-Forwarded-… and X-Original-… headers are believed.", unit="CIDRs"
    )
    data: AbsolutePath = setting(
        Path(".download-gateway"),
        "The folder for state: the database, the embedded store and storages.json.",
        unit="path",
    )
    mint_max_ttl: WholeSeconds = setting(
        2_592_000, "The longest lifetime that a token may be given.", unit="seconds"
    )
    mint_default_ttl: WholeSeconds = setting(
        _default_ttl,
        "The lifetime of a token when the request gives none.",
        unit="seconds",
        default_text=f"{DEFAULT_TTL}, or `mint.max_ttl` if that is less",
    )
    drain_timeout: Seconds = setting(
        600.0, "How long running downloads may continue after SIGTERM or a reload.", unit="seconds"
    )
    hang_timeout: Annotated[float, seconds_from(MIN_HANG)] = setting(
        10.0,
        "How long a process may give no sign of life before another takes its place and it is killed. Raise "
        "it where files are on a network disk that may be away for longer.",
        unit="seconds",
    )
    header_timeout: Seconds = setting(
        10.0, "How long a client may take to send the head of a request.", unit="seconds"
    )
    keepalive_timeout: Seconds = setting(75.0, "How long an idle connection is kept open.", unit="seconds")
    stall_timeout: Seconds = setting(
        60.0,
        "How long a client may accept no byte at all. A download is never ended only because it is slow.",
        unit="seconds",
    )
    max_connections: Annotated[int, whole(1, 1_000_000)] = setting(
        10_000, "How many connections may be open at once.", unit="connections a worker"
    )
    max_line: Annotated[int, whole(256, 1_048_576)] = setting(
        16_384, "The longest request line (method and URL).", unit="bytes"
    )
    max_field: Annotated[int, whole(256, 1_048_576)] = setting(
        16_384, "The longest header field of a request.", unit="bytes"
    )
    max_headers: Annotated[int, whole(8, 10_000)] = setting(
        100, "How many header fields a request may have.", unit="fields"
    )
    max_head: Annotated[int, whole(1024, 1_048_576)] = setting(
        32_768, "The longest head of a request: its request line and all header fields.", unit="bytes"
    )
    cors_origins: Origins = setting(
        (), "Web pages whose scripts may download: their origins, or * for every origin.", unit="origins"
    )
    open_files: Annotated[int, whole(1, 1_000_000)] = setting(
        1024, "How many files are kept open between requests.", unit="files a worker"
    )
    access_log: LogTarget = setting(
        "-", "Where one line for each request is written: - (standard output), off, or a file.", unit="path"
    )
    log_level: LogLevel = setting(
        "info", "The least serious messages that are logged: debug, info, warning or error."
    )
    storage: dict[str, StorageSettings] = setting(dict, "Storages by name.", default_text="none")

    @property
    def descriptors_each(self) -> int:
        """How many descriptors a connection of a worker may need."""
        has_objects = len(self.roots) < len(self.storage)
        return FOR_OBJECTS if has_objects else FOR_FILES

    @property
    def roots(self) -> dict[str, Path]:
        """The folders of the storages that are folders, by name."""
        return {name: table.root for name, table in self.storage.items() if isinstance(table, LocalSettings)}

    @property
    def private_paths(self) -> tuple[Path, ...]:
        """Files and folders of the gateway, beside `data`, that are never served."""
        paths = [
            self.tls_key,
            self.cache_path,
            self.mail_password_file,
            *locate_database(self.database_url, self.data).files,
        ]
        if self.access_log not in ("-", "off"):
            paths.append(Path(self.access_log))
        return tuple(path for path in paths if path is not None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library passes it by name
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the values that are given, and read no other source.

        `load` reads and merges the sources, because it must know which source gave which value. A child gets
        its settings as JSON, and must not mix its environment into them.
        """
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _name_prefixes(cls, values: Any) -> Any:
        storage = values.get("storage")
        if not isinstance(storage, dict):
            return values
        named = {
            name: {"accel_prefix": f"/_protected/{name}/", **table}
            if isinstance(table, dict) and table.get("type", "local") == "local"
            else table
            for name, table in storage.items()
        }
        return {**values, "storage": named}


LISTENERS: Final = tuple(
    name for name, field in Settings.model_fields.items() if unit_of(field) == UNIT_ADDRESS
)
"""The settings that say where something listens, in the order of their declaration."""


def address_of(settings: Settings, name: str) -> Address:
    """Where one of LISTENERS listens; `web_listen` is a socket below `data` unless it is set."""
    return Address.parse(getattr(settings, name) or f"unix:{settings.data}/web.sock", is_short=False)


def base_url(settings: Settings) -> str:
    """What download links begin with: `public_url`, or a URL made from `listen`. It has no final slash."""
    scheme = "http" if settings.tls_cert is None else "https"
    return settings.public_url or Address.parse(settings.listen).url(scheme)


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the settings from all sources. `flags` are by attribute, and None where a flag was not given.

    config: the file that --config names; None for GATEWAY_CONFIG or, if it exists, the usual file. Raises
    ConfigurationError with every fault found, one line each.
    """
    sources = (read_flags(flags), read_environment(environ, Settings), read_toml(config, environ, Settings))
    faults = [fault for source in sources for fault in source.faults]
    values = merge(sources)
    faulty: set[str] = set()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            if detail["type"] == "default_factory_not_called":
                continue  # it follows from another fault, which is reported
            path = tuple(str(part) for part in detail["loc"])
            if path[0] == TABLES:
                path, text = explain(path, detail, values)
            else:
                text = describe(detail)
            faults.append(f"{_name(sources, path)}: {text}")
            faulty.add(path[0])
        settings = Settings(**{name: value for name, value in values.items() if name not in faulty})
    faults += _check_together(settings, faulty, sources)
    faults += _check_names(settings, sources)
    if faults:
        raise ConfigurationError(faults)
    return settings


def _name(sources: Sequence[Source], path: SettingPath) -> str:
    """The name of a setting in the source that gave its value, or its table, so that the user finds it."""
    for depth in range(len(path), 0, -1):
        for source in sources:
            if source.has(path[:depth]):
                return source.name(path)
    return toml_path(path)


def _check_together(settings: Settings, faulty: set[str], sources: Sequence[Source]) -> Iterator[str]:
    """Find settings that are right by themselves but not together. A fault names one that the user gave."""
    pairs = [(name, earlier) for index, name in enumerate(LISTENERS) for earlier in LISTENERS[:index]]
    for pair in pairs:
        if faulty.isdisjoint(pair) and address_of(settings, pair[0]).clashes(address_of(settings, pair[1])):
            given = [name for name in pair if any(source.has((name,)) for source in sources)]
            name = (given or pair)[0]
            other = pair[1] if name == pair[0] else pair[0]
            yield (
                f"{_name(sources, (name,))}: {address_of(settings, name)} collides with "
                f"{_name(sources, (other,))} ({address_of(settings, other)}): give each an address of its own"
            )
    if settings.tls_key is not None and settings.tls_cert is None and "tls_cert" not in faulty:
        yield f"{_name(sources, ('tls_key',))}: has no effect without {_name(sources, ('tls_cert',))}"
    if (
        settings.cache_path is None
        and faulty.isdisjoint(("cache_path", "cache_max_bytes"))
        and any(source.has(("cache_max_bytes",)) for source in sources)
    ):
        name = _name(sources, ("cache_max_bytes",))
        yield f"{name}: has no effect without {_name(sources, ('cache_path',))}"
    if (
        faulty.isdisjoint(("mint_max_ttl", "mint_default_ttl"))
        and settings.mint_default_ttl > settings.mint_max_ttl
    ):
        yield (
            f"{_name(sources, ('mint_default_ttl',))}: {settings.mint_default_ttl} s is more than "
            f"{_name(sources, ('mint_max_ttl',))} allows ({settings.mint_max_ttl} s)"
        )


def _check_names(settings: Settings, sources: Sequence[Source]) -> Iterator[str]:
    for name in settings.storage:
        if not STORAGE_NAME.fullmatch(name):
            yield f"{_name(sources, ('storage', name))}: a storage's name is made of a-z, 0-9, - and _"
