"""Leases: bytes reserved for a limited transfer can be used again seconds after its worker has died.

The rules:

- A transfer that ends within `Times.after` costs nothing here but an entry in a table. After that it has a
  lease, which the first checkpoint writes and one checkpoint each `Times.every` renews.
  `gateway/store/scripts` describes the ledger that the scripts keep.
- One timer makes the checkpoints that are due, a few at a time, as long as there are transfers.
- A store that is away ends no transfer: checkpoints wait, and are made as soon as the store is back. A
  transfer is broken off for one reason only: its lease had run out, and its unsent bytes were given to
  others.
- Only a first checkpoint makes a lease; a renewal never does. As long as it is not known whether a first
  checkpoint was carried out, the lease is `in_doubt`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.http.ranges import Span
from gateway.store.commands import NotExecuted, ScriptCall
from gateway.store.key_names import token_key
from gateway.store.scripts import CHECKPOINT
from gateway.store.topology import Topology
from gateway.tokens.deliveries import Delivery, Watched

_log = logging.getLogger("gateway")

BATCH: Final = 25
"""About how many checkpoints are made at a time: they take 0.1 ms."""
FEWEST_BATCHES: Final = 16
"""A round consists of at least so many batches, so that a first checkpoint is made soon enough."""
MOST_BATCHES: Final = 500
"""A round consists of at most so many batches, because timers are not exact enough for more."""

HELD: Final = 1
"""The reply to a checkpoint: the store holds the lease."""
GIVEN_AWAY: Final = 0
"""The reply to a checkpoint: the lease had run out, and others have its unsent bytes now."""
NO_LEASE: Final = -1
"""The reply to a checkpoint: there is no lease, and none is needed."""


@dataclass(frozen=True)
class Times:
    """When transfers are leased, in seconds.

    after: how long a transfer lasts before it is leased. every: the time between two checkpoints. lasts: how
    long a lease holds. When a worker dies, its customers are refused what is reserved for at most `lasts`
    seconds, and may receive again, without a charge, what they were sent within the last `every` seconds. Ten
    checkpoints in a row may fail before a running transfer is at risk, and only if its bytes are wanted then.
    """

    after: float = 1.0
    every: float = 3.0
    lasts: float = 30.0


class Lease(Watched):
    """The lease of one transfer, for which `amount` bytes of file number `file` are reserved.

    spans: of the file, in the order in which they are sent. delivery: sends them; None once the transfer has
    ended. due: when the next checkpoint is made, in the event loop's seconds. is_held: whether the store
    holds the lease.
    """

    __slots__ = (
        "_unanswered",
        "amount",
        "due",
        "file",
        "identifier",
        "is_held",
        "name",
        "size",
        "spans",
    )

    def __init__(
        self, identifier: str, file: int, amount: int, size: int, name: str, spans: Sequence[Span] = ()
    ) -> None:
        super().__init__()
        self.identifier = identifier
        self.file = file
        self.spans = spans
        self.amount = amount
        self.size = size
        self.name = name
        self.due = 0.0
        self.is_held = False
        self._unanswered = 0

    @property
    def in_doubt(self) -> bool:
        """Whether the store may still carry out a first checkpoint."""
        return self._unanswered > 0

    @property
    def is_known(self) -> bool:
        """Whether the store holds the lease, or may hold it."""
        return self.is_held or self.in_doubt

    @property
    def ending(self) -> tuple[str, int]:
        """The arguments of SETTLE that end the lease."""
        return self.name, int(self.in_doubt)

    def checkpoint(self, unsent: int, lasts: float) -> Checkpoint:
        """Make the next checkpoint; its `record` must be called when it has been answered or has failed.

        unsent: reserved bytes that have not left this machine. lasts: seconds until the lease runs out.
        """
        first = not self.is_held
        self._unanswered += first
        return Checkpoint(self, first, unsent, lasts)

    def record(self, first: bool, reply: int | None) -> None:
        """Note that a checkpoint was answered, or (None) was certainly not carried out."""
        self._unanswered -= first
        if reply == HELD:
            self.is_held = True


class Checkpoint(ScriptCall):
    """The command that makes or renews a lease."""

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

    def record(self) -> int | None:
        """Note in the lease how the checkpoint ended. Return the reply, or None when there is none."""
        reply: int | None = None
        try:
            reply = self.result()
        except NotExecuted:
            pass
        except StoreUnavailable:  # the store may still carry it out
            return None
        self._lease.record(self._first, reply)
        return reply

    def on_late_reply(self, reply: Any) -> None:
        """Note a reply that came too late. The next checkpoint acts on it."""
        self._lease.record(self._first, reply)


class Leases:
    """The running transfers of one worker for which bytes are reserved."""

    def __init__(self, topology: Topology, times: Times | None = None) -> None:
        self._topology = topology
        self._times = times or Times()
        self._loop = asyncio.get_running_loop()
        self._owner = secrets.token_hex(6)
        self._number = 0
        self._young: OrderedDict[Lease, None] = OrderedDict()  # without a checkpoint so far
        self._leased: OrderedDict[Lease, None] = OrderedDict()
        self._by_file: dict[tuple[str, int], list[Lease]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._batch = 0

    def open(
        self,
        identifier: str,
        file: int,
        amount: int,
        size: int,
        delivery: Delivery,
        spans: Sequence[Span] = (),
    ) -> Lease:
        """Add a transfer that begins, for which `amount` bytes of file number `file` are reserved.

        The caller passes the lease to `close` when the transfer has ended.
        """
        self._number += 1
        lease = Lease(identifier, file, amount, size, f"{self._owner}{self._number:x}", spans)
        lease.delivery = delivery
        lease.due = self._loop.time() + self._times.after
        self._young[lease] = None
        self._by_file.setdefault((identifier, file), []).append(lease)
        if self._timer is None:
            self._set_timer()
        return lease

    def close(self, lease: Lease) -> None:
        """Make no more checkpoints: the transfer has ended. Settling ends the lease in the store."""
        lease.delivery = None  # it refers back to the lease: only the garbage collector would free both
        self._young.pop(lease, None)
        self._leased.pop(lease, None)
        others = self._by_file[lease.identifier, lease.file]
        others.remove(lease)
        if not others:
            del self._by_file[lease.identifier, lease.file]

    def of_file(self, identifier: str, file: int) -> tuple[Lease, ...]:
        """The leases of all transfers of one file by one token, the oldest first."""
        return tuple(self._by_file.get((identifier, file), ()))

    def _set_timer(self) -> None:
        """Set the timer for the next batch. A round takes half of `every`, so that a late one catches up."""
        count = len(self._young) + len(self._leased)
        if not count:
            self._timer = None
            return
        batches = min(max(FEWEST_BATCHES, count // BATCH), MOST_BATCHES)
        self._batch = -(-count // batches)
        self._timer = self._loop.call_later(self._times.every / 2 / batches, self._make_checkpoints)

    def _make_checkpoints(self) -> None:
        now = self._loop.time()
        left = self._batch if self._topology.is_any_ready else 0
        for queue in (self._leased, self._young):
            while left and queue and (lease := next(iter(queue))).due <= now:
                left -= 1
                del queue[lease]
                lease.due = now + self._times.every
                self._leased[lease] = None
                self._checkpoint(lease)
        self._set_timer()

    def _checkpoint(self, lease: Lease) -> None:
        assert lease.delivery is not None
        lease.idle_seconds(self._loop.time())
        unsent = lease.amount - min(max(0, lease.delivery.left_machine()), lease.amount)
        checkpoint = lease.checkpoint(unsent, self._times.lasts)
        self._topology.post(checkpoint, checkpoint.packed(), lease.identifier)
        checkpoint.add_done_callback(self._on_reply, lease)

    def _on_reply(self, checkpoint: Checkpoint, lease: Lease) -> None:
        reply = checkpoint.record()
        if lease.delivery is None:
            return
        if reply == GIVEN_AWAY:
            _log.warning(
                "a download was broken off: it was cut off from the store, and others have its bytes now",
                extra={"token": lease.identifier},
            )
            lease.delivery.break_off()
        elif reply == NO_LEASE:  # the token has expired, which does not end its transfers
            self._leased.pop(lease, None)
