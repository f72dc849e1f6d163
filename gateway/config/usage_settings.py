"""The settings of usage: a part of `Settings` (settings.py)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel

from gateway.config.readers import at_least, setting

DEFAULT_WAITING: Final = 256 * 2**20
MIN_WAITING: Final = 2**20
"""A few batches for each stream."""


class UsageSettings(BaseModel):
    """What becomes of the events of usage."""

    usage_max_bytes: Annotated[int, at_least(MIN_WAITING)] = setting(
        DEFAULT_WAITING,
        "How much usage may wait in the store while nobody writes it into the database: about 4 million "
        "requests in 256 MiB.",
        unit="size",
    )
    usage_file_max_bytes: Annotated[int, at_least(0)] = setting(
        DEFAULT_WAITING,
        "How much usage each worker may keep in a file below `data` while the store takes none. What has no "
        "room is dropped, counted and logged.",
        unit="size",
    )
