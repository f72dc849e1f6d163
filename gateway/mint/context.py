"""What every handler of the mint service is handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiohttp import web

from gateway.mint.models import GenerateDownloadUrl
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an ordinary body: metadata of 4 KiB can be six times as long when all of it is written \\uXXXX."""
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest: the 10,000 files it may hold take some 300 bytes each, and a little more."""


@dataclass(frozen=True)
class Context:
    """The service's parts. base: what download URLs begin with. default_ttl and max_ttl in seconds."""

    store: Repositories
    storages: Storages
    base: str
    default_ttl: int
    max_ttl: int
    mint_model: type[GenerateDownloadUrl]


class Request(web.BaseRequest):
    """A request, and what stands for the names in its route's path."""

    match_info: Mapping[str, str] = MappingProxyType({})
