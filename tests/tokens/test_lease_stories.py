"""Leases in any order of events: what the scripts keep of them is right in the end, with a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StoreUnavailable
from gateway.store.commands import NotExecuted
from gateway.tokens.leases import GIVEN_AWAY, NO_LEASE, Checkpoint, Lease
from tests.support.examples import examples
from tests.support.lease_ledger import ALLOWANCE, LIMIT, LONG, SIZE, Wire, answer, lease_of


@dataclass(eq=False)
class Transfer:
    """What one transfer's worker knows, and the least unsent that it has `reported` to the store."""

    lease: Lease
    sent: int = 0
    reported: int | None = None
    late: list[Checkpoint] = field(default_factory=list)
    refund: tuple[int, Lease | None] | None = None
    ended: bool = False
    killed: bool = False

    @property
    def unsent(self) -> int:
        return self.lease.amount - self.sent


class World:
    """Transfers of one token by several workers, whose messages may be refused, late, or answered in vain."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.transfers: list[Transfer] = []
        self.overdraft = 0
        wire.reset()

    def pick(self, number: int) -> Transfer | None:
        running = [each for each in self.transfers if not each.ended]
        return running[number % len(running)] if running else None

    def claim(self, _: int, amount: int) -> None:
        if self.wire.claim(amount):
            self.transfers.append(Transfer(lease_of(amount, f"n{len(self.transfers)}")))
            assert self.wire.charged <= ALLOWANCE

    def send(self, number: int, amount: int) -> None:
        if transfer := self.pick(number):
            transfer.sent += min(amount, transfer.unsent)

    @contextmanager
    def charging(self, transfer: Transfer) -> Iterator[None]:
        """More is charged than there is room for only by what was sent since the last checkpoint."""
        before, since = self.wire.charged, transfer.unsent if transfer.reported is None else transfer.reported
        yield
        risen = self.wire.charged - before
        if self.wire.charged > ALLOWANCE and risen > 0:
            assert risen <= since - transfer.unsent
            self.overdraft += risen

    def run(self, transfer: Transfer, checkpoint: Checkpoint, unsent: int) -> int:
        with self.charging(transfer):
            reply: int = self.wire.ask(checkpoint)
        if reply != NO_LEASE:
            transfer.reported = unsent if transfer.reported is None else min(transfer.reported, unsent)
        return reply

    def checkpoint(self, number: int, how: int) -> None:
        if not (transfer := self.pick(number)):
            return
        checkpoint = transfer.lease.checkpoint(transfer.unsent, LONG)
        match how % 5:
            case 0:
                answer(checkpoint, NotExecuted("not connected"))
            case 1:  # carried out, and not answered
                self.run(transfer, checkpoint, transfer.unsent)
                answer(checkpoint, StoreUnavailable("no answer"))
            case 2:
                answer(checkpoint, StoreUnavailable("no answer"))
                transfer.late.append(checkpoint)
                checkpoint.unsent = transfer.unsent  # type: ignore[attr-defined]
            case _:
                reply = self.run(transfer, checkpoint, transfer.unsent)
                answer(checkpoint, reply)
                if reply == GIVEN_AWAY:
                    self.send(number, how % 7)  # until the connection is broken
                    self.end(transfer)

    def arrive(self, number: int, how: int) -> None:
        """What was late is carried out, and perhaps answered."""
        waiting = [(each, checkpoint) for each in self.transfers for checkpoint in each.late]
        if waiting:
            transfer, checkpoint = waiting[number % len(waiting)]
            transfer.late.remove(checkpoint)
            reply = self.run(transfer, checkpoint, checkpoint.unsent)  # type: ignore[attr-defined]
            if how % 2:
                checkpoint.on_late_reply(reply)

    def end(self, transfer: Transfer) -> None:
        transfer.ended = True
        transfer.refund = (transfer.unsent, transfer.lease if transfer.lease.is_known else None)

    def finish(self, number: int, _: int) -> None:
        if transfer := self.pick(number):
            self.end(transfer)

    def kill(self, number: int, _: int) -> None:
        if transfer := self.pick(number):
            transfer.ended = transfer.killed = True

    def settle(self, number: int, how: int) -> None:
        """A refund is carried out, and perhaps not answered: then it is asked for again."""
        waiting = [each for each in self.transfers if each.refund]
        if waiting:
            transfer = waiting[number % len(waiting)]
            assert transfer.refund
            amount, lease = transfer.refund
            with self.charging(transfer):
                self.wire.settle(amount, *(lease.ending if lease else ()))
            if lease is None or how % 2:
                transfer.refund = None

    def expire(self, _: int, how: int) -> None:
        self.wire.expire()
        if how % 2:
            self.sweep()

    def sweep(self) -> None:
        assert not self.wire.claim(ALLOWANCE + 1)

    def close(self) -> None:
        """All ends, and the last lease runs out."""
        while transfer := self.pick(0):
            self.end(transfer)
        for act in (self.settle, self.arrive, self.settle):
            while any(each.refund if act == self.settle else each.late for each in self.transfers):
                act(0, 1)
        self.wire.expire()
        self.sweep()


ACTS = ("claim", "send", "send", "checkpoint", "checkpoint", "arrive", "finish", "kill", "settle", "expire")
STORY = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 9), st.integers(1, SIZE)), min_size=12, max_size=60
)


@pytest.mark.slow
@settings(
    max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STORY)
def test_any_order_of_events(wire: Wire, story: list[tuple[str, int, int]]) -> None:
    world = World(wire)
    for act, number, amount in [*[("claim", 0, SIZE)] * LIMIT, ("claim", 0, SIZE // 2), *story]:
        getattr(world, act)(number, amount)
        assert world.wire.charged <= ALLOWANCE + world.overdraft
    world.close()
    for each in world.transfers:
        value = wire.lease(each.lease)
        if each.killed:
            assert value in (None, "settled") if each.reported is None else value == f"{each.reported}:swept"
        else:
            assert value in (None, "settled")
    charged = sum(
        each.lease.amount - (each.reported or 0) if each.killed else each.sent for each in world.transfers
    )
    assert wire.charged == charged
    given_out = sum(each.sent for each in world.transfers)
    since_the_last = sum(
        each.sent - (each.lease.amount - each.reported)
        for each in world.transfers
        if each.killed and each.reported
    )
    assert given_out <= ALLOWANCE + world.overdraft + since_the_last
