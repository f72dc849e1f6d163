"""The options after the `?` of `redis_url`: which there are, and what each may be. Pure.

redis-py hands every option to its connections, which raise a TypeError for one that they do not have, at each
connection. So the options are checked when the settings are read.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_SWITCH: Final = re.compile(r"true|false|yes|no|1|0", re.ASCII | re.IGNORECASE)
_TEXT: Final = re.compile(r".+", re.DOTALL)
_ANYWHERE: Final = {
    "db": _NUMBER,
    "username": _TEXT,
    "password": _TEXT,
    "client_name": _TEXT,
    "health_check_interval": _NUMBER,
    "max_connections": _NUMBER,
    "protocol": re.compile(r"[23]", re.ASCII),
    "retry_on_timeout": _SWITCH,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _SWITCH,
    "socket_timeout": _SECONDS,
}
_TLS_ONLY: Final = {
    "ssl_ca_certs": _TEXT,
    "ssl_ca_data": _TEXT,
    "ssl_ca_path": _TEXT,
    "ssl_cert_reqs": re.compile(r"none|optional|required", re.ASCII),
    "ssl_certfile": _TEXT,
    "ssl_check_hostname": _SWITCH,
    "ssl_ciphers": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_min_version": _NUMBER,
    "ssl_password": _TEXT,
}
FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""The options that name a file."""
_SHOWN: Final = 40
"""How many characters of an unknown option are quoted. A value is never quoted: it may be a password."""


def redis_options_fault(scheme: str, query: str) -> str:
    """Say what is wrong with the options of a URL, as the rest of the sentence "redis_url: …".

    Returns "" if nothing is.
    """
    for name, value in parse_qsl(query, keep_blank_values=True):
        form = _ANYWHERE.get(name) or _TLS_ONLY.get(name)
        if form is None:
            shown = name[:_SHOWN] if name.isidentifier() else "of another form"
            return f"has the option {shown}, which there is not: {_known(scheme)}"
        if name in _TLS_ONLY and scheme != "rediss":
            return f"has the option {name}, which is for TLS: write rediss://HOST:PORT/DB"
        if not form.fullmatch(value):
            return f"has an option {name} that cannot be read: {_known(scheme)}"
    return ""


def _known(scheme: str) -> str:
    options = [*_ANYWHERE, *(_TLS_ONLY if scheme == "rediss" else ())]
    return f"the options are {', '.join(options)}"


def files_of(query: str) -> list[tuple[str, str]]:
    """Return the options that name files, each with its path."""
    return [(name, value) for name, value in parse_qsl(query) if name in FILES]
