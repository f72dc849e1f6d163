"""The settings of the cache of objects: a part of `Settings` (settings.py)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel

from gateway.config.readers import AbsolutePath, at_least, setting

DEFAULT_CACHE: Final = 10 * 2**30
MIN_CACHE: Final = 64 * 2**20
"""Eight slices. In a smaller cache, one download's read-ahead would evict what another is being sent."""


class CacheSettings(BaseModel):
    """Where the cache is, and how large it may grow."""

    cache_path: AbsolutePath | None = setting(
        None,
        "A folder on a local disk, which caches what was read from object storages. All workers share it.",
        unit="path",
        default_text="no cache",
    )
    cache_max_bytes: Annotated[int, at_least(MIN_CACHE)] = setting(
        DEFAULT_CACHE,
        "The largest size of the cache. The parts that were not requested for the longest time are removed "
        "first.",
        unit="size",
    )
