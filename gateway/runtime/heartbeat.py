"""A child's sign of life: its event loop writes the time into the memory that the supervisor reads.

A process that was stopped, that waits for a disk in the kernel, or whose event loop is blocked, gives none.
`supervisor/watch.py` says what follows from that. How late it is, is a metric.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateway.runtime.metrics import EVENT_LOOP_LAG, Counters

BEAT_SECONDS: Final = 0.5
"""How often a child gives a sign of life. It costs a few microseconds, beside the requests."""


def start(counters: Counters) -> None:
    """Give a sign of life now and regularly from now on, for as long as the running event loop turns."""
    loop = asyncio.get_running_loop()

    def beat(due: int) -> None:
        now = time.monotonic_ns()
        counters.beat(now)
        counters.observe(EVENT_LOOP_LAG, max(0, now - due) / 1e9)
        loop.call_later(BEAT_SECONDS, beat, now + int(BEAT_SECONDS * 1e9))

    beat(time.monotonic_ns())
