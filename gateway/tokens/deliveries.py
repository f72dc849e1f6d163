"""What leases and places need to know of a delivery, which sends bytes to one client."""

from __future__ import annotations

from typing import Protocol


class Delivery(Protocol):
    """What is needed of the delivery that sends a transfer's bytes. sent: bytes that the kernel has taken."""

    sent: int

    def left_machine(self) -> int:
        """Bytes of the file that have left this machine."""

    def progress(self) -> int | None:
        """A number that grows by the bytes that the client takes; None while the client is not awaited."""

    def cut(self, most: int) -> int:
        """Send no more than `most` bytes of files in all; returns how many will be sent at most."""

    def has_lost_client(self) -> bool:
        """Whether the client has broken the connection, also where the event loop has not seen it yet."""

    def break_off(self) -> None:
        """Break the connection."""


class Watched:
    """A delivery, and for how long its client has taken nothing. delivery: None once it has ended."""

    __slots__ = ("_progress", "_progress_at", "delivery")

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self._progress: int | None = None
        self._progress_at = 0.0

    def idle_seconds(self, now: float) -> float:
        """For how long the client has taken nothing, as far as earlier calls can tell."""
        progress = None if self.delivery is None else self.delivery.progress()
        if progress is None or progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at
