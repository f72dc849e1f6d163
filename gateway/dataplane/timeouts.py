"""What a connection may wait for, and for how long."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

LINGER_SECONDS: Final = 2.0
"""How long a closed connection may still send, so that a reset does not overtake our answer."""


class Wait(enum.Enum):
    """What a connection is waiting for."""

    NOTHING = enum.auto()  # the store, the disk: they have limits of their own
    HEAD = enum.auto()  # the rest of a request head
    NEXT = enum.auto()  # the next request
    RECEIVER = enum.auto()  # the client to take bytes
    CLOSE = enum.auto()  # the client to close its side


@dataclass(frozen=True)
class Limits:
    """Seconds a connection may wait for each thing, and how large a request head may be."""

    header_timeout: float
    keepalive_timeout: float
    stall_timeout: float
    max_connections: int
    max_line: int
    max_field: int
    max_headers: int

    def seconds(self, wait: Wait) -> float:
        """How long a connection may wait for this."""
        return {
            Wait.NOTHING: float("inf"),
            Wait.HEAD: self.header_timeout,
            Wait.NEXT: self.keepalive_timeout,
            Wait.RECEIVER: self.stall_timeout,
            Wait.CLOSE: LINGER_SECONDS,
        }[wait]
