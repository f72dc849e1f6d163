"""What every handler of the mint service is handed, and the form of its answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.mint.models import GenerateDownloadUrl
from gateway.storage.registry import Storages
from gateway.tokens.store import TokenStore

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an ordinary body: metadata of 4 KiB can be six times as long when all of it is written \\uXXXX."""
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest: the 10,000 files it may hold take some 300 bytes each, and a little more."""


@dataclass(frozen=True)
class Context:
    """The service's parts. base: what download URLs begin with. default_ttl and max_ttl in seconds."""

    store: TokenStore
    storages: Storages
    base: str
    default_ttl: int
    max_ttl: int
    mint_model: type[GenerateDownloadUrl]


def json_answer(body: dict[str, Any], status: int = 200) -> web.Response:
    """Write an answer; none may be kept by a cache, for some hold tokens."""
    return web.Response(
        body=json.dumps(body, ensure_ascii=False).encode(),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
