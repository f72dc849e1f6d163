"""What tests of the repositories share: a manifest, many tokens, and all pages of a list."""

from __future__ import annotations

import asyncio

from gateway.manifest import Manifest, ManifestFile
from gateway.tokens.listing import TokenFilter
from gateway.tokens.repositories import Repositories


def manifest(product: str, version: str, *sizes: int, sha256: str = "0" * 64) -> Manifest:
    files = [
        ManifestFile(f"{index}.bin", size, "application/zip", sha256, "0" * 8, "main", f"{index}", 7)
        for index, size in enumerate(sizes or (100,))
    ]
    return Manifest(product, version, tuple(files))


async def list_ids(repos: Repositories, only: TokenFilter | None = None, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await repos.tokens.list_page(only, limit, cursor)
        assert len(page.tokens) <= limit
        found += [record.id for record in page.tokens]
        if page.cursor is None:
            return found
        cursor = page.cursor


async def create_many(repos: Repositories, count: int) -> set[str]:
    made: set[str] = set()
    while len(made) < count:  # in parts, so that no batch takes longer than a command may
        part = min(count - len(made), 250)
        minted = await asyncio.gather(*(repos.tokens.create("p") for _ in range(part)))
        made.update(one.record.id for one in minted)
    return made
