"""Checks the files of certificates and keys that connections to storages and to the store need."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.redis_options import files_of
from gateway.config.settings import Settings
from gateway.runtime.system_errors import advise


def trust_faults(settings: Settings) -> list[str]:
    """Return a line for each file that cannot be used, so that it is noticed before a customer waits."""
    faults = []
    for name, table in sorted(settings.storage.items()):
        path = getattr(table, "ca_file", None)
        if path is not None and (fault := certificates_fault(path)):
            faults.append(f"storage.{name}.ca_file: {path} {fault}")
        path = getattr(table, "service_account", None)
        if path is not None and (fault := _unreadable(path)):
            faults.append(f"storage.{name}.service_account: {path} {fault}")
    return faults + list(_redis_faults(settings.redis_url or ""))


def _redis_faults(url: str) -> Iterator[str]:
    for name, path in files_of(urlsplit(url).query):
        if fault := _unreadable(Path(path)):
            yield f"redis_url: the file of its option {name} {fault}"


def certificates_fault(path: Path) -> str:
    """Say why a file cannot say which certificates to trust; "" if it can."""
    if fault := _unreadable(path):
        return fault
    try:
        ssl.create_default_context(cafile=str(path))
    except (ssl.SSLError, OSError):
        return "has no certificates in PEM form: it begins with -----BEGIN CERTIFICATE-----"
    return ""


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"cannot be read: {advise(error)}"
