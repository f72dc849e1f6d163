"""Throttles clients that tried too many tokens: after each refusal, nothing is read from them for a moment.

The refusal itself is sent at once, and says when to come again. What the client sends meanwhile stays in the
kernel, so a flood over kept connections costs a worker almost nothing, however fast it is.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

MIN_SECONDS: Final = 0.25
"""How long nothing is read from a throttled connection, at least. A person who reloads a page does not
notice it."""
MAX_SECONDS: Final = 10.0
"""How long at most, where thousands of connections are throttled."""
REFUSALS_A_SECOND: Final = 250
"""How many refusals all throttled connections of a worker get together: they take 2 % of its time."""


class Throttled(Protocol):
    """The part of a connection that throttling needs."""

    transport: asyncio.Transport | None

    def read_again(self) -> None:
        """The moment is over."""


class Throttle:
    """Stops reading from connections for a moment. The connections of a worker share one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = 0  # of the connections that are throttled now

    def hold(self, connection: Throttled) -> None:
        """Read nothing from a connection; then call its `read_again`, also if it was lost meanwhile."""
        if connection.transport is not None:
            connection.transport.pause_reading()
        self._count += 1
        self._loop.call_later(throttle_seconds(self._count), self._release, connection)

    def _release(self, connection: Throttled) -> None:
        self._count -= 1
        connection.read_again()


def throttle_seconds(count: int) -> float:
    """How long nothing is read from a connection, where so many are throttled."""
    return min(max(MIN_SECONDS, count / REFUSALS_A_SECOND), MAX_SECONDS)
