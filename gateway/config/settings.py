"""Every setting, declared once with its default, unit and help; and how they are read.

    flags  >  GATEWAY_… environment variables  >  a TOML file  >  defaults

`load` finds every fault in one pass and names each in the words of its source (the flag, the variable or
the TOML key). One attribute has one name in each source:

    mint_listen   --mint-listen   GATEWAY_MINT_LISTEN   mint_listen = or [mint] listen =
    storage       (no flag)       GATEWAY_STORAGE__NAME__ROOT   [storage.NAME] root =

Relative paths are taken from the working directory, whatever their source, and made absolute at once, so
that child processes and commands agree. A Redis password is in `redis_url`, a storage's keys in its table,
and both in the JSON handed to child processes; never in a repr, a fault or a help text.

What a storage's table holds is declared in `storages.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config.readers import (
    UNIT_ADDRESS,
    AbsolutePath,
    ListenAddress,
    LogLevel,
    LogTarget,
    Networks,
    Origins,
    PublicURL,
    RedisURL,
    Seconds,
    WholeSeconds,
    at_least,
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
    toml_place,
)
from gateway.config.storages import LocalSettings, StorageSettings, explain
from gateway.errors import ConfigurationError
from gateway.runtime.addresses import Address

STORAGE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
DEFAULT_TTL: Final = 86_400
DEFAULT_CACHE: Final = 10 * 2**30
MIN_CACHE: Final = 64 * 2**20
"""Eight slices: with fewer, what one download reads ahead would push out what another is being sent."""


def count_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def _default_ttl(values: Mapping[str, Any]) -> int:
    return min(DEFAULT_TTL, int(values.get("mint_max_ttl", DEFAULT_TTL)))


class Settings(BaseSettings):
    """All settings, checked. Frozen; survives `model_dump_json` and `model_validate_json` unchanged."""

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
        "The store: redis://, rediss:// (TLS) or unix://.",
        unit="URL",
        default_text="the embedded store below `data`",
        repr=False,
    )
    redis_timeout: Seconds = setting(1.0, "How long one command of the store may take.", unit="seconds")
    redis_queue: Annotated[int, whole(1, 1_000_000)] = setting(
        10_000, "Commands that may wait for the store; more are refused at once.", unit="commands a worker"
    )
    listen: ListenAddress = setting(
        "0.0.0.0:8080", "Where downloads are served: HOST:PORT, [IPV6]:PORT or unix:PATH.", unit=UNIT_ADDRESS
    )
    mint_listen: ListenAddress = setting(
        "127.0.0.1:8081", "Where the mint service listens; keep it private.", unit=UNIT_ADDRESS
    )
    admin_listen: ListenAddress = setting(
        "127.0.0.1:8082",
        "Where health and metrics of all workers are served; keep it private.",
        unit=UNIT_ADDRESS,
    )
    dashboard_listen: ListenAddress = setting(
        "127.0.0.1:8083", "Where the admin API listens; keep it private.", unit=UNIT_ADDRESS
    )
    tls_cert: AbsolutePath | None = setting(
        None,
        "A PEM certificate chain: `listen` speaks HTTPS with it.",
        unit="path",
        default_text="plain HTTP",
    )
    tls_key: AbsolutePath | None = setting(
        None, "The certificate's private key (PEM).", unit="path", default_text="in the file `tls_cert`"
    )
    workers: Annotated[int, whole(1, 1024)] = setting(
        count_cpus,
        "Worker processes that serve downloads.",
        unit="processes",
        default_text="the CPUs this process may use",
    )
    public_url: PublicURL = setting(
        None,
        "The URL under which customers reach the gateway; download links begin with it.",
        unit="URL",
        default_text="made from `listen`",
    )
    trusted_proxies: Networks = setting(
        (), "Front proxies whose X-Forwarded-… and X-Original-… headers count.", unit="CIDRs"
    )
    data: AbsolutePath = setting(
        Path(".download-gateway"), "Where state is kept: the embedded store and storages.json.", unit="path"
    )
    mint_max_ttl: WholeSeconds = setting(2_592_000, "The longest life a token may be given.", unit="seconds")
    mint_default_ttl: WholeSeconds = setting(
        _default_ttl,
        "The life of a token when the request names none.",
        unit="seconds",
        default_text=f"{DEFAULT_TTL}, or `mint.max_ttl` if that is less",
    )
    drain_timeout: Seconds = setting(
        600.0, "How long running downloads may finish after SIGTERM or a reload.", unit="seconds"
    )
    header_timeout: Seconds = setting(
        10.0, "How long a client may take to send a request's head.", unit="seconds"
    )
    keepalive_timeout: Seconds = setting(75.0, "How long an idle connection is kept open.", unit="seconds")
    stall_timeout: Seconds = setting(
        60.0,
        "How long a client may accept no byte at all. A slow download is never cut for taking long.",
        unit="seconds",
    )
    max_connections: Annotated[int, whole(1, 1_000_000)] = setting(
        10_000, "Connections open at once.", unit="connections a worker"
    )
    max_line: Annotated[int, whole(256, 1_048_576)] = setting(
        16_384, "Longest request line (method and URL).", unit="bytes"
    )
    max_field: Annotated[int, whole(256, 1_048_576)] = setting(
        16_384, "Longest header field of a request.", unit="bytes"
    )
    max_headers: Annotated[int, whole(8, 10_000)] = setting(
        100, "Header fields of one request.", unit="fields"
    )
    cors_origins: Origins = setting(
        (), "Web pages that may download with scripts: origins, or * for every one.", unit="origins"
    )
    open_files: Annotated[int, whole(1, 1_000_000)] = setting(
        1024, "Files kept open between requests.", unit="files a worker"
    )
    access_log: LogTarget = setting(
        "-", "Where one line a request goes: - (standard output), off, or a file.", unit="path"
    )
    log_level: LogLevel = setting(
        "info", "Least serious message that is logged: debug, info, warning or error."
    )
    cache_path: AbsolutePath | None = setting(
        None,
        "A folder on a local disk that keeps what was read from object storages, for all workers.",
        unit="path",
        default_text="no cache",
    )
    cache_max_bytes: Annotated[int, at_least(MIN_CACHE)] = setting(
        DEFAULT_CACHE, "How much the cache may hold; what was not asked for longest goes first.", unit="size"
    )
    storage: dict[str, StorageSettings] = setting(dict, "Storages by name.", default_text="none")

    @property
    def roots(self) -> dict[str, Path]:
        """The folders of the storages that are folders, by name."""
        return {name: table.root for name, table in self.storage.items() if isinstance(table, LocalSettings)}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library names it
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else.

        `load` merges the sources, because it must know which said what; and a child that reads its settings
        as JSON must not mix its environment into them.
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


def base_url(settings: Settings) -> str:
    """What download links begin with, without a final slash: `public_url`, or made from `listen`."""
    scheme = "http" if settings.tls_cert is None else "https"
    return settings.public_url or Address.parse(settings.listen).url(scheme)


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from all sources. `flags` are by attribute, None where not given.

    config: what --config said; None for GATEWAY_CONFIG or the usual file if it is there. Raises
    ConfigurationError with every fault found, one line each.
    """
    sources = (read_flags(flags), read_environment(environ, Settings), read_toml(config, environ, Settings))
    faults = [fault for source in sources for fault in source.faults]
    values = merge(sources)
    wrong: set[str] = set()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            if detail["type"] == "default_factory_not_called":  # a consequence of a fault told already
                continue
            place = tuple(str(part) for part in detail["loc"])
            if place[0] == TABLES:
                place, text = explain(place, detail, values)
            else:
                text = _fault(detail)
            faults.append(f"{_words(sources, place)}: {text}")
            wrong.add(place[0])
        settings = Settings(**{name: value for name, value in values.items() if name not in wrong})
    faults += _check_together(settings, wrong, sources)
    faults += _check_names(settings, sources)
    if faults:
        raise ConfigurationError(faults)
    return settings


def _words(sources: Sequence[Source], place: SettingPath) -> str:
    """What the user calls the place: in the words of the source that wins there, or else nearby."""
    for depth in range(len(place), 0, -1):
        for source in sources:
            if source.holds(place[:depth]):
                return source.name(place)
    return toml_place(place)


def _fault(detail: Any) -> str:
    """One fault of the model, as a sentence for people."""
    return str(detail["ctx"]["error"] if detail["type"] == "value_error" else detail["msg"])


def _check_together(settings: Settings, wrong: set[str], sources: Sequence[Source]) -> Iterator[str]:
    """Faults between settings that are each right by themselves, named at one that the user gave."""
    pairs = [(name, earlier) for index, name in enumerate(LISTENERS) for earlier in LISTENERS[:index]]
    for pair in pairs:
        if wrong.isdisjoint(pair) and _address(settings, pair[0]).clashes(_address(settings, pair[1])):
            given = [name for name in pair if any(source.holds((name,)) for source in sources)]
            name = (given or pair)[0]
            other = pair[1] if name == pair[0] else pair[0]
            yield (
                f"{_words(sources, (name,))}: {_address(settings, name)} collides with "
                f"{_words(sources, (other,))} ({_address(settings, other)}): give each an address of its own"
            )
    if settings.tls_key is not None and settings.tls_cert is None and "tls_cert" not in wrong:
        yield f"{_words(sources, ('tls_key',))}: is of no use without {_words(sources, ('tls_cert',))}"
    if (
        settings.cache_path is None
        and wrong.isdisjoint(("cache_path", "cache_max_bytes"))
        and any(source.holds(("cache_max_bytes",)) for source in sources)
    ):
        words = _words(sources, ("cache_max_bytes",))
        yield f"{words}: is of no use without {_words(sources, ('cache_path',))}"
    if (
        wrong.isdisjoint(("mint_max_ttl", "mint_default_ttl"))
        and settings.mint_default_ttl > settings.mint_max_ttl
    ):
        yield (
            f"{_words(sources, ('mint_default_ttl',))}: {settings.mint_default_ttl} s is more than "
            f"{_words(sources, ('mint_max_ttl',))} allows ({settings.mint_max_ttl} s)"
        )


def _check_names(settings: Settings, sources: Sequence[Source]) -> Iterator[str]:
    for name in settings.storage:
        if not STORAGE_NAME.fullmatch(name):
            yield f"{_words(sources, ('storage', name))}: a storage's name is made of a-z, 0-9, - and _"


def _address(settings: Settings, name: str) -> Address:
    return Address.parse(getattr(settings, name))
