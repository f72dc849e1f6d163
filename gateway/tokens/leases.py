"""Leases: what a limited transfer has reserved outlives its worker by seconds only.

The rules:

- A transfer that ends within `Times.after` costs nothing here but an entry in a table. Then it has a lease,
  written by the first checkpoint and renewed by one each `Times.every`. scripts.py has the ledger.
- One timer looks at those that are due, a few at a time, while there are any.
- The store away is no matter of a transfer's: checkpoints wait, and are made as soon as it is back. A
  transfer is broken off for one reason only: its lease was over, and others were given its unsent bytes.
- A renewal never makes a lease, only a first checkpoint does; one that is not known to have been carried out
  puts the lease `in_doubt` until it is.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.errors import StoreUnavailable
from gateway.store.commands import NotExecuted, ScriptCall
from gateway.store.key_names import token_key
from gateway.store.scripts import CHECKPOINT
from gateway.store.topology import Topology

_log = logging.getLogger("gateway")

SHARE: Final = 25
"""Checkpoints at a time: 0.1 ms."""
FEWEST_SHARES: Final = 16
MOST_SHARES: Final = 500
"""In how many parts a round is made: often enough for the first checkpoint, and no more often than timers are
exact."""
HELD, TAKEN, NOTHING = 1, 0, -1
"""What CHECKPOINT answers."""


@dataclass(frozen=True)
class Times:
    """When transfers are leased, in seconds.

    after: a transfer is leased when it has lasted so long. every: between two checkpoints. lasts: how long a
    lease holds. A customer whose worker died is refused what is reserved for at most `lasts`; he may get
    again, for nothing, what he was sent in `every`. Ten checkpoints in a row may fail before a living
    transfer is at risk, and only where its bytes are asked for meanwhile.
    """

    after: float = 1.0
    every: float = 3.0
    lasts: float = 30.0


class Sending(Protocol):
    """What is asked of a delivery."""

    def left_machine(self) -> int:
        """Bytes of the file that have left this machine."""

    def break_off(self) -> None:
        """Break the connection."""


class Lease:
    """One transfer's reservation: `amount` bytes of file number `file`. is_known: the store may hold it."""

    __slots__ = ("_unanswered", "amount", "due", "file", "identifier", "is_held", "name", "sending", "size")

    def __init__(self, identifier: str, file: int, amount: int, size: int, name: str) -> None:
        self.identifier = identifier
        self.file = file
        self.amount = amount
        self.size = size
        self.name = name
        self.sending: Sending | None = None
        self.due = 0.0
        self.is_held = False
        self._unanswered = 0

    @property
    def in_doubt(self) -> bool:
        """Whether the store may still come to carry out a first checkpoint."""
        return self._unanswered > 0

    @property
    def is_known(self) -> bool:
        """Whether the store holds the lease, or may."""
        return self.is_held or self.in_doubt

    @property
    def ending(self) -> tuple[str, int]:
        """The arguments of SETTLE that end it."""
        return self.name, int(self.in_doubt)

    def checkpoint(self, unsent: int, lasts: float) -> Checkpoint:
        """What to ask the store now; `Checkpoint.hear` must hear how it ended."""
        first = not self.is_held
        self._unanswered += first
        return Checkpoint(self, first, unsent, lasts)

    def hear(self, first: bool, reply: int | None) -> None:
        """A checkpoint was answered, or (None) was certainly not carried out."""
        self._unanswered -= first
        if reply == HELD:
            self.is_held = True


class Checkpoint(ScriptCall):
    """One question about a lease."""

    def __init__(self, lease: Lease, first: bool, unsent: int, lasts: float) -> None:
        self._lease = lease
        self._first = first
        super().__init__(
            CHECKPOINT,
            token_key(lease.identifier),
            lease.file,
            lease.name,
            unsent,
            lease.size,
            round(lasts * 1000),
            int(first),
        )

    def hear(self) -> int | None:
        """Tell the lease how it ended; the reply, or None when there is none."""
        reply: int | None = None
        try:
            reply = self.result()
        except NotExecuted:
            pass
        except StoreUnavailable:  # it may be carried out yet
            return None
        self._lease.hear(self._first, reply)
        return reply

    def on_late_reply(self, reply: Any) -> None:
        """The answer came after all; the next checkpoint sees to the rest."""
        self._lease.hear(self._first, reply)


class Leases:
    """The transfers of one worker that may last."""

    def __init__(self, topology: Topology, times: Times | None = None) -> None:
        self._topology = topology
        self._times = times or Times()
        self._loop = asyncio.get_running_loop()
        self._owner = secrets.token_hex(6)
        self._number = 0
        self._young: OrderedDict[Lease, None] = OrderedDict()
        self._held: OrderedDict[Lease, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._share = 0

    def open(self, identifier: str, file: int, amount: int, size: int, sending: Sending) -> Lease:
        """A transfer begins, for which `amount` bytes of file number `file` are reserved; `close` it."""
        self._number += 1
        lease = Lease(identifier, file, amount, size, f"{self._owner}{self._number:x}")
        lease.sending = sending
        lease.due = self._loop.time() + self._times.after
        self._young[lease] = None
        if self._timer is None:
            self._pace()
        return lease

    def close(self, lease: Lease) -> None:
        """The transfer has ended; what the store holds of it is the settling's."""
        lease.sending = None  # which would lead back here: only the collector frees a cycle
        self._young.pop(lease, None)
        self._held.pop(lease, None)

    def _pace(self) -> None:
        """Set the timer: a round takes half of `every`, so that one which was held up is made up for."""
        count = len(self._young) + len(self._held)
        if not count:
            self._timer = None
            return
        shares = min(max(FEWEST_SHARES, count // SHARE), MOST_SHARES)
        self._share = -(-count // shares)
        self._timer = self._loop.call_later(self._times.every / 2 / shares, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        left = self._share if self._topology.is_any_ready else 0
        for queue in (self._held, self._young):
            while left and queue and (lease := next(iter(queue))).due <= now:
                left -= 1
                del queue[lease]
                lease.due = now + self._times.every
                self._held[lease] = None
                self._checkpoint(lease)
        self._pace()

    def _checkpoint(self, lease: Lease) -> None:
        assert lease.sending is not None
        unsent = lease.amount - min(max(0, lease.sending.left_machine()), lease.amount)
        checkpoint = lease.checkpoint(unsent, self._times.lasts)
        self._topology.post(checkpoint, checkpoint.packed(), lease.identifier)
        checkpoint.add_done_callback(self._heard, lease)

    def _heard(self, checkpoint: Checkpoint, lease: Lease) -> None:
        reply = checkpoint.hear()
        if lease.sending is None:
            return
        if reply == TAKEN:
            _log.warning(
                "a download was broken off: it was cut off from the store, and others have its bytes now",
                extra={"token": lease.identifier},
            )
            lease.sending.break_off()
        elif reply == NOTHING:  # the token has expired; the transfer need not know
            self._held.pop(lease, None)
