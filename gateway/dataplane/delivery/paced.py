"""What a delivery does that may send no faster than some rate: it asks before it sends (tokens/pacing.py)."""

from __future__ import annotations

from typing import Any, Final

from gateway.runtime.deferred import Deferred
from gateway.tokens.pacing import Pacer

SMALL_BYTES: Final = 16 * 1024
"""Up to here, copying into one write with the head is cheaper than two system calls."""


class Paced:
    """The part of every delivery that waits."""

    def __init__(self) -> None:
        self._waiting: Deferred[Any] | None = None
        self._is_queued = False  # by the scheduler or a pacer: nothing else may resume the delivery
        self._is_paced = False  # waits because of its rate, and not for the client
        self._pacers: tuple[Pacer, ...] = ()

    def pace(self, pacers: tuple[Pacer, ...]) -> None:
        """Send no faster than all of these allow. To be called before the delivery runs."""
        self._pacers = pacers

    async def _wait(self) -> None:
        """Wait until `_waiting`, which was just made, is set. Deliveries that are tasks override this."""
        assert self._waiting is not None
        await self._waiting

    @property
    def _most_at_once(self) -> int:
        """How many bytes may leave in one write."""
        return min([SMALL_BYTES, *(pacer.most for pacer in self._pacers)])

    async def _allowed(self, amount: int) -> int:
        """Wait until bytes may be sent. Returns how many of `amount`, at least one."""
        for number, pacer in enumerate(self._pacers):
            granted = 0
            while not granted:
                ticket = pacer.ask(amount)
                if not ticket.done:
                    self._waiting = ticket
                    self._is_queued = self._is_paced = True
                    try:
                        await self._wait()
                    finally:
                        self._is_queued = self._is_paced = False
                granted = ticket.value or 0  # None: something else has resumed the delivery
            for before in self._pacers[:number]:
                before.give_back(amount - granted)
            amount = granted
        return amount

    async def _all_allowed(self, amount: int) -> None:
        """Wait until so many bytes may be sent."""
        while self._pacers and amount > 0:
            amount -= await self._allowed(amount)

    def _give_back(self, amount: int) -> None:
        """Return bytes that were allowed and not sent."""
        if amount > 0:
            for pacer in self._pacers:
                pacer.give_back(amount)
