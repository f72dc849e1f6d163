"""The settings of usage: a part of `Settings` (settings.py)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel

from gateway.config.readers import at_least, setting, whole

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
    sharing_networks: Annotated[int, whole(0, 1_000)] = setting(
        4,
        "From how many networks (IPv4 /24, IPv6 /48) one link is used before that speaks for being shared; "
        "0: it never does. Phones and some companies use several. The report has the other signs, too.",
        unit="networks",
    )
    sharing_overlap: Annotated[int, whole(0, 1_000)] = setting(
        3,
        "From how many networks at the same moment; 0: it never does. Two are usual for one person whose "
        "programs use IPv4 and IPv6.",
        unit="networks",
    )
    sharing_programs: Annotated[int, whole(0, 1_000)] = setting(
        3,
        "With how many kinds of programs; 0: it never does. A browser that hands over to a download manager "
        "has two.",
        unit="programs",
    )
    sharing_copies: Annotated[int, whole(0, 1_000_000)] = setting(
        4,
        "How often the size of its files is sent with one link; 0: it never does.",
        unit="times the size",
    )
