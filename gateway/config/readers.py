"""Readers of settings: each turns a value from a flag, a variable or TOML into what the program uses.

A reader raises ValueError with the rest of the sentence "SETTING: …": what is wrong and what to write
instead.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

from gateway.config.database_url import check_database_url
from gateway.config.redis_options import redis_options_fault
from gateway.config.units import format_exact_size, parse_duration, parse_size
from gateway.runtime.addresses import Address

UNIT_ADDRESS: Final = "address"
"""The unit of every setting that says where something listens: `settings.LISTENERS` is made from it."""

MAX_SECONDS: Final = 10 * 366 * 86400
"""Ten years. A longer time is most likely a mistake in the unit."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", re.ASCII)
"""A bucket's name: what AWS allows, and what older or other services allow (capitals, _, longer names)."""


def setting(
    default: Any,
    help_text: str,
    *,
    unit: str = "",
    default_text: str = "",
    repr: bool = True,  # noqa: A002
) -> Any:
    """Declare one setting.

    unit: what a number counts, or what a text is (`UNIT_ADDRESS`, "path", "URL", …). default_text: describes
    a default that is not a constant. repr=False hides a secret.
    """
    extra: dict[str, Any] = {"unit": unit, "default_text": default_text}
    if callable(default):
        return Field(default_factory=default, description=help_text, json_schema_extra=extra)
    return Field(default=default, description=help_text, json_schema_extra=extra, repr=repr)


def needed(help_text: str, *, unit: str = "") -> Any:
    """Declare a setting of a table that has no default."""
    return Field(description=help_text, json_schema_extra={"unit": unit, "default_text": "needed"})


def unit_of(field: FieldInfo) -> str:
    """The unit that a setting was declared with, "" without one."""
    return str(_extra(field)["unit"])


def describe_default(field: FieldInfo) -> str:
    """The description of a default that is not a constant, "" for a constant."""
    return str(_extra(field)["default_text"])


def _extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)  # `setting` and `needed` declare every setting with one
    return dict(field.json_schema_extra)


def _quote(value: object) -> str:
    return repr(value)[:80]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, not {_quote(value)}")
    return value.strip()


def whole(minimum: int, maximum: int) -> BeforeValidator:
    """Make a reader of a whole number from `minimum` to `maximum`, both included."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value.strip(), re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {_quote(value)}")
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}, not {value}")
        return value

    return BeforeValidator(read)


def _seconds(value: object) -> float:
    number = parse_duration(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise ValueError(f"must be a time in seconds, not {_quote(value)}")
    if not 0 < number <= MAX_SECONDS:
        raise ValueError(f"must be more than 0 s and at most {MAX_SECONDS} s, not {_quote(value)}")
    return float(number)


def seconds_from(minimum: float) -> BeforeValidator:
    """Make a reader of a time of at least `minimum` seconds."""

    def read(value: object) -> float:
        number = _seconds(value)
        if number < minimum:
            raise ValueError(f"must be at least {minimum:g} s, not {_quote(value)}")
        return number

    return BeforeValidator(read)


def _whole_seconds(value: object) -> int:
    number = _seconds(value)
    if not number.is_integer():
        raise ValueError(f"must be whole seconds, not {_quote(value)}")
    return int(number)


def _address(value: object) -> str:
    return str(Address.parse(_text(value)))


def _path(value: object) -> Path:
    text = _text(str(value) if isinstance(value, Path) else value)
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL character")
    return Path(os.path.abspath(os.path.expanduser(text)))


def _log_target(value: object) -> str:
    text = _text(value)
    return text if text in ("-", "off") else str(_path(text))


def _server_choice(value: object) -> str:
    text = _text(value)
    if text in ("bundled", "system"):
        return text
    if "/" not in text:
        raise ValueError(f"must be bundled, system or the path of a program, not {_quote(value)}")
    return str(_path(text))


def _items(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part for part in re.split(r"[,\s]+", value) if part]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a list of texts, not {_quote(value)}")
    return tuple(value)


def _networks(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    found = []
    for item in _items(value):
        try:
            if "%" in item:
                raise ValueError
            found.append(ip_network(item))
        except ValueError:
            raise ValueError(_describe_network(item)) from None
    return tuple(found)


def _describe_network(item: str) -> str:
    if "%" in item:
        return f"{item[:80]!r} has a zone, which cannot be checked: write the address without it"
    try:
        return f"{item[:80]!r} has bits set after its prefix: write {ip_network(item, strict=False)}"
    except ValueError:
        return f"{item[:80]!r} is not a network: write CIDRs, as in 10.0.0.0/8 or 127.0.0.1 or fd00::/8"


def _origins(value: object) -> tuple[str, ...]:
    for item in (items := _items(value)):
        parts = urlsplit(item)
        if item != "*" and not (parts.scheme and parts.netloc and item == f"{parts.scheme}://{parts.netloc}"):
            raise ValueError(
                f"{item[:80]!r} is not an origin: write https://HOST (no path), or * for every one"
            )
    return items


def _public_url(value: object) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(text := _text(value))
        clean = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc or " " in text)
    except ValueError:
        clean = False
    if not clean or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://HOST or https://HOST, with or without a path and nothing after it")
    return text.rstrip("/")


def _redis_url(value: object) -> str | None:
    """Read the URL unchanged. A fault quotes no part of it, because it may contain a password."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    forms = "write redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS) or unix:///PATH?db=DB"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"is not a URL with a valid host and port: {forms}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"is not a redis://, rediss:// or unix:// URL: {forms}")
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.hostname:
            raise ValueError("needs the socket's absolute path: write unix:///PATH, with three slashes")
    elif not parts.hostname or port == 0:
        raise ValueError(f"names no host: {forms}")
    elif not re.fullmatch(r"/?\d*", parts.path, re.ASCII):
        raise ValueError("has a database that is not a number: write redis://HOST:PORT/0")
    if fault := redis_options_fault(parts.scheme, parts.query):
        raise ValueError(fault)
    return text


def _level(value: object) -> str:
    text = _text(value).lower()
    if text not in ("debug", "info", "warning", "error"):
        raise ValueError(f"must be debug, info, warning or error, not {_quote(value)}")
    return text


def one_of(*words: str) -> BeforeValidator:
    """Make a reader of one of these words."""
    *most, last = (f'"{word}"' for word in words)

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be {', '.join(most)} or {last}, not {_quote(value)}")
        return str(value)

    return BeforeValidator(read)


def at_least(minimum: int) -> BeforeValidator:
    """Make a reader of a size of at least `minimum` bytes, with or without a unit."""

    def read(value: object) -> int:
        size = parse_size(value) if isinstance(value, str) else value
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(f"must be a size such as 50 GiB, not {_quote(value)}")
        if not minimum <= size < 2**63:
            raise ValueError(f"must be at least {format_exact_size(minimum)}, not {_quote(value)}")
        return size

    return BeforeValidator(read)


def _switch(value: object) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    found = known.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError(f"must be true or false, not {_quote(value)}")
    return found


def _secret(value: object) -> str | None:
    """Read text for a header field or a signature. A fault quotes no part of it."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("must be the text that was issued (ASCII), given in quotes")
    return text


def _endpoint(value: object) -> str | None:
    """Read the URL as quoted, without a final slash. A fault does not repeat it: it may have a key."""
    if value is None:
        return None
    form = "must be http://HOST:PORT or https://HOST, with or without a path, and no keys in it"
    try:
        parts = urlsplit(text := _text(value))
        clean = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValueError(form) from None
    if not clean or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(form)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(form)
    return text.rstrip("/")


def _bucket(value: object) -> str:
    text = _text(value)
    if not _BUCKET.fullmatch(text):
        raise ValueError(
            f"is not the name of a bucket: {_quote(value)}; "
            "write the name alone, and a folder in it as prefix"
        )
    return text


def _prefix(value: object) -> str:
    """Read a folder in a bucket: it ends with a slash and does not begin with one, or is empty."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"must be text such as shop/files, not {_quote(value)}")
    bare = value.strip("/")
    return f"{bare}/" if bare else ""


def _accel_prefix(value: object) -> str:
    text = _text(value)
    if not (text.startswith("/") and text.endswith("/")):
        raise ValueError(f"must begin and end with a slash, not {_quote(value)}")
    return text


Seconds: TypeAlias = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds: TypeAlias = Annotated[int, BeforeValidator(_whole_seconds)]
ListenAddress: TypeAlias = Annotated[str, BeforeValidator(_address)]
AbsolutePath: TypeAlias = Annotated[Path, BeforeValidator(_path)]
LogTarget: TypeAlias = Annotated[str, BeforeValidator(_log_target)]
ServerChoice: TypeAlias = Annotated[str, BeforeValidator(_server_choice)]
LogLevel: TypeAlias = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]
Networks: TypeAlias = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
Origins: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_origins)]
PublicURL: TypeAlias = Annotated[str | None, BeforeValidator(_public_url)]
RedisURL: TypeAlias = Annotated[str | None, BeforeValidator(_redis_url)]
DatabaseURL: TypeAlias = Annotated[str | None, BeforeValidator(check_database_url)]
Switch: TypeAlias = Annotated[bool, BeforeValidator(_switch)]
Secret: TypeAlias = Annotated[str | None, BeforeValidator(_secret)]
Endpoint: TypeAlias = Annotated[str | None, BeforeValidator(_endpoint)]
BucketName: TypeAlias = Annotated[str, BeforeValidator(_bucket)]
Prefix: TypeAlias = Annotated[str, BeforeValidator(_prefix)]
Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
AccelPrefix: TypeAlias = Annotated[str, BeforeValidator(_accel_prefix)]
