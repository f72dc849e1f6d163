"""Storages and catalogues of the clouds, made from a table of settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.config.storages import AzureSettings, CloudSettings, GoogleSettings
from gateway.storage.catalog import Catalog
from gateway.storage.obstore.bucket import address, make_store
from gateway.storage.obstore.catalog import CloudCatalog
from gateway.storage.obstore.storage import CloudStorage

Make = Callable[[dict[str, Any]], CloudStorage]


def settings_of(table: dict[str, Any]) -> CloudSettings:
    return GoogleSettings(**table) if table["type"] == "gs" else AzureSettings(**table)


def catalog_of(table: dict[str, Any], name: str = "cloud") -> Catalog:
    settings = settings_of(table)
    return CloudCatalog(name, lambda: make_store(name, settings), settings.prefix, address(settings))
