"""A delivery without a connection, for tests of what leases and takeovers ask of one."""

from __future__ import annotations

from collections.abc import Callable


class IdleDelivery:
    """Has sent `sent` bytes. most: what it was cut to. broken: whether it was broken off. lost: whether its
    client has gone.

    on_break_off: is called then, as the end of the transfer would settle it.
    """

    def __init__(self, sent: int = 0, on_break_off: Callable[[], None] = lambda: None) -> None:
        self.sent = sent
        self.most: int | None = None
        self.broken = self.lost = False
        self._on_break_off = on_break_off

    def left_machine(self) -> int:
        return self.sent

    def progress(self) -> int | None:
        return self.sent

    def cut(self, most: int) -> int:
        self.most = max(most, self.sent)
        return self.most

    def has_lost_client(self) -> bool:
        return self.lost

    def break_off(self) -> None:
        self.broken = True
        self._on_break_off()
