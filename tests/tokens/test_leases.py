"""Leases: the record that the scripts keep of them, in every order of events, with a real store."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, NotExecuted, ScriptCall, pack
from gateway.store.key_names import token_key
from gateway.store.pipeline import Pipeline
from gateway.store.scripts import CLAIM, READ_AND_CLAIM, SCRIPTS, SETTLE
from gateway.store.topology import Topology
from gateway.tokens.leases import BATCH, GIVEN_AWAY, HELD, NO_LEASE, Checkpoint, Lease, Leases, Times
from tests.support.deliveries import IdleDelivery
from tests.support.examples import examples
from tests.support.store_server import DURABLE, STORE_SECONDS, StoreServer
from tests.support.waiting import until

TOKEN = "0123456789abcdef" * 2
KEY = token_key(TOKEN)
SIZE, LIMIT = 100, 3
ALLOWANCE = SIZE * LIMIT + SIZE // 2
LONG = 1000.0


class Wire:
    """A connection to the store, for commands as they are packed."""

    def __init__(self, store: StoreServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(store.socket))
        self._reader = hiredis.Reader()
        self.client = redis.Redis.from_url(store.url, decode_responses=True)

    def ask(self, run: ScriptCall) -> Any:
        """Run a script; its reply."""
        self._socket.sendall(run.with_script_text())
        return self._read()

    def _read(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        assert not isinstance(reply, Exception), reply
        return reply

    def close(self) -> None:
        self._socket.close()
        self.client.close()

    @property
    def token(self) -> dict[str, str]:
        fields: Any = self.client.hgetall(KEY)
        return dict(fields)

    @property
    def charged(self) -> int:
        return int(self.token.get("charged:0", 0))

    def lease(self, lease: Lease) -> str | None:
        return self.token.get(f"lease:0:{lease.name}")

    def reset(self, **fields: str | int) -> None:
        values: dict[Any, str | int] = {"manifest": "d" * 64, "max": LIMIT, "size": SIZE}
        self.client.delete(KEY)
        self.client.hset(KEY, mapping=values | fields)

    def expire(self) -> None:
        """Let the time of every lease run out that is not renewed."""
        if fields := self._expired():
            self.client.hset(KEY, mapping=fields)

    def _expired(self) -> dict[Any, str | int]:
        token = self.token
        fields: dict[Any, str | int] = {"leased": 1} if "leased" in token else {}
        for name, value in token.items():
            unsent, _, deadline = value.partition(":")
            if name.startswith("lease:") and deadline.isdigit():
                fields[name] = f"{unsent}:1"
        return fields

    def expire_and_claim(self, amount: int) -> bool:
        """Do both in one transaction, so that no worker renews a lease in between."""
        changes = [part for pair in self._expired().items() for part in pair]
        for packed in (
            pack(("MULTI",)),
            pack(("HSET", KEY, *changes)),
            ScriptCall(CLAIM, KEY, 0, amount, SIZE).with_script_text(),
            pack(("EXEC",)),
        ):
            self._socket.sendall(packed)
        _, _, _, [_, claimed] = [self._read() for _ in range(4)]
        assert claimed in (0, 1)
        return bool(claimed)

    def claim(self, amount: int) -> bool:
        reply = self.ask(ScriptCall(CLAIM, KEY, 0, amount, SIZE))
        assert reply in (0, 1)
        return bool(reply)

    def fill(self) -> None:
        """Use the allowance up."""
        assert self.claim(ALLOWANCE)

    def settle(self, refund: int, *ending: str | int) -> None:
        self.ask(ScriptCall(SETTLE, KEY, 0, refund, *ending))


@pytest.fixture
def wire(store: StoreServer) -> Iterator[Wire]:
    made = Wire(store)
    made.reset()
    yield made
    made.close()


def lease_of(amount: int, name: str = "a") -> Lease:
    return Lease(TOKEN, 0, amount, SIZE, name)


def answer(checkpoint: Checkpoint, reply: Any) -> None:
    """A reply, or the exception in its place."""
    if isinstance(reply, Exception):
        checkpoint.set_exception(reply)
    else:
        checkpoint.set_result(reply)
    checkpoint.record()


def ask(wire: Wire, lease: Lease, unsent: int) -> int:
    """A checkpoint that goes well."""
    checkpoint = lease.checkpoint(unsent, LONG)
    reply: int = wire.ask(checkpoint)
    answer(checkpoint, reply)
    return reply


# --- the table of cases in gateway/store/scripts, row by row ------------------------------------------------


def test_a_transfer_without_a_lease_is_settled(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    assert not lease.is_known
    wire.settle(40)
    assert wire.charged == 60


def test_held(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    assert ask(wire, lease, 90) == HELD
    assert ask(wire, lease, 60) == HELD
    assert ask(wire, lease, 70) == HELD  # an older one that comes late
    assert (wire.lease(lease) or "").startswith("60:")
    assert not wire.claim(ALLOWANCE - 99)  # nothing is over yet
    assert wire.charged == 100
    wire.settle(10, *lease.ending)
    assert (wire.charged, wire.lease(lease)) == (90, None)
    wire.settle(10, *lease.ending)  # the answer got lost, and it is asked again
    assert wire.charged == 90


@pytest.mark.parametrize("by_reading", [False, True])
def test_a_dead_workers_lease_is_swept(wire: Wire, by_reading: bool) -> None:
    lease = lease_of(100)
    wire.fill()
    assert ask(wire, lease, 100) == HELD
    wire.expire()
    assert wire.charged == ALLOWANCE  # nobody has asked for it yet
    if by_reading:
        assert wire.ask(ScriptCall(READ_AND_CLAIM, KEY))[4] == 100
    else:
        assert wire.claim(100)
    assert (wire.charged, wire.lease(lease)) == (ALLOWANCE, "100:swept")
    assert "leased" not in wire.token
    assert not wire.claim(1)  # and not twice


def test_what_was_swept_does_not_help_if_it_is_too_little(wire: Wire) -> None:
    lease = lease_of(300)
    wire.fill()
    assert ask(wire, lease, 30) == HELD
    wire.expire()
    assert wire.ask(ScriptCall(READ_AND_CLAIM, KEY))[4] == -1
    assert wire.charged == ALLOWANCE - 30
    assert not wire.claim(31)
    assert wire.claim(30)


def test_a_swept_lease_of_a_living_worker_is_reserved_again(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    assert ask(wire, lease, 80) == HELD
    wire.expire()
    assert not wire.claim(ALLOWANCE + 1)
    assert wire.charged == 20
    assert ask(wire, lease, 50) == HELD
    assert wire.charged == 100
    wire.settle(0, *lease.ending)
    assert wire.charged == 100


def test_living_and_swept_without_room(wire: Wire) -> None:
    """The connection is broken, and what was sent meanwhile is charged, also above the allowance."""
    lease = lease_of(300)
    wire.fill()
    assert ask(wire, lease, 200) == HELD
    wire.expire()
    assert wire.claim(200)
    assert wire.charged == ALLOWANCE
    assert ask(wire, lease, 150) == GIVEN_AWAY
    assert (wire.charged, wire.lease(lease)) == (ALLOWANCE + 50, "150:swept")
    assert ask(wire, lease, 150) == GIVEN_AWAY  # the answer got lost
    assert wire.charged == ALLOWANCE + 50
    wire.settle(130, *lease.ending)
    assert (wire.charged, wire.lease(lease)) == (ALLOWANCE + 70, None)


def test_a_first_checkpoint_that_comes_after_the_settling(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    checkpoint = lease.checkpoint(80, LONG)
    answer(checkpoint, StoreUnavailable("no answer"))
    assert lease.in_doubt
    wire.settle(40, *lease.ending)
    assert wire.ask(checkpoint) == NO_LEASE
    wire.expire()
    assert not wire.claim(ALLOWANCE + 1)
    assert wire.charged == 60
    wire.settle(40, *lease.ending)
    assert wire.charged == 60


def test_a_checkpoint_that_was_not_executed_makes_no_lease(wire: Wire) -> None:
    lease = lease_of(100)
    answer(lease.checkpoint(80, LONG), NotExecuted("not connected"))
    assert not lease.is_known


def test_a_renewal_makes_no_lease(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    assert ask(wire, lease, 80) == HELD
    renewal = lease.checkpoint(70, LONG)
    wire.settle(40, *lease.ending)
    assert wire.ask(renewal) == NO_LEASE
    assert (wire.charged, wire.lease(lease)) == (60, None)


def test_an_expired_token_stays_expired(wire: Wire) -> None:
    lease = lease_of(100)
    assert wire.claim(100)
    assert ask(wire, lease, 80) == HELD
    wire.client.delete(KEY)
    assert ask(wire, lease, 70) == NO_LEASE
    wire.settle(40, *lease.ending)
    assert not wire.client.exists(KEY)


def test_leases_of_several_files(wire: Wire) -> None:
    """A sweep returns all that is over, to each file its own, and nothing else."""
    for number, name in ((0, "a"), (7, "b"), (7, "c")):
        wire.client.hset(KEY, f"charged:{number}", 100)
        assert ask(wire, Lease(TOKEN, number, 100, SIZE, name), 10 + number) == HELD
    wire.expire()
    assert ask(wire, Lease(TOKEN, 7, 100, SIZE, "d"), 40) == HELD
    assert not wire.claim(ALLOWANCE + 1)
    token = wire.token
    assert (token["charged:0"], token["charged:7"]) == ("90", "66")
    assert token["lease:7:d"] == f"40:{token['leased']}"


@pytest.mark.parametrize("size", [5 << 30, (1 << 51) - 1])
def test_large_files(wire: Wire, size: int) -> None:
    wire.reset(**{"max": 1, "charged:0": size})
    lease = Lease(TOKEN, 0, size, size, "a")
    assert ask(wire, lease, size - 1) == HELD
    wire.expire()
    assert wire.ask(ScriptCall(CLAIM, KEY, 0, size - 1, size)) == 1
    assert wire.ask(ScriptCall(CLAIM, KEY, 0, size // 2 + 1, size)) == 0
    assert wire.ask(ScriptCall(CLAIM, KEY, 0, size // 2, size)) == 1
    assert wire.charged == size + size // 2


# --- any order of events ------------------------------------------------------------------------------------


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


# --- the table of one worker --------------------------------------------------------------------------------


class Watched(Pipeline):
    """Counts the commands of a turn of the event loop."""

    now = most = total = 0

    def post(self, command: Command, packed: bytes, key: str = "") -> None:
        if not self.now:
            self._loop.call_soon(self._next_turn)
        self.now += 1
        self.total += 1
        self.most = max(self.most, self.now)
        super().post(command, packed, key)

    def _next_turn(self) -> None:
        self.now = 0


@asynccontextmanager
async def watched(store: StoreServer) -> AsyncIterator[Watched]:
    pipeline = Watched(store.url, timeout=STORE_SECONDS, queue=10_000, scripts=SCRIPTS)
    pipeline.start()
    await until(lambda: pipeline.is_ready)
    yield pipeline
    await pipeline.stop()


def has_reported(wire: Wire, lease: Lease, unsent: int) -> bool:
    return (wire.lease(lease) or "").startswith(f"{unsent}:")


async def test_a_transfer_is_leased_once_it_has_lasted(store: StoreServer, wire: Wire) -> None:
    async with watched(store) as pipeline:
        leases, delivery = Leases(Topology([pipeline]), Times(0.05, 0.05, LONG)), IdleDelivery()
        wire.fill()
        brief = leases.open(TOKEN, 0, 100, SIZE, IdleDelivery())
        leases.close(brief)
        lease = leases.open(TOKEN, 0, 100, SIZE, delivery)
        assert not lease.is_known
        for sent in (0, 30, 100):
            delivery.sent = sent
            await until(partial(has_reported, wire, lease, 100 - sent))
        leases.close(lease)
        assert lease.ending == (lease.name, 0)
        assert not brief.is_known
        assert not delivery.broken


async def test_a_transfer_is_broken_off_only_if_others_have_its_bytes(store: StoreServer, wire: Wire) -> None:
    async with watched(store) as pipeline:
        leases = Leases(Topology([pipeline]), Times(0, 0.2, LONG))
        lucky, unlucky, expired = IdleDelivery(), IdleDelivery(), IdleDelivery()
        wire.fill()
        first = leases.open(TOKEN, 0, 100, SIZE, lucky)
        second = leases.open(TOKEN, 0, 100, SIZE, unlucky)
        leases.open("f" * 32, 0, 100, SIZE, expired)
        await until(lambda: first.is_held and second.is_held)
        assert wire.expire_and_claim(100)
        await until(lambda: unlucky.broken or lucky.broken)
        await until(lambda: wire.charged == ALLOWANCE)  # the other one has its bytes again
        assert [lucky.broken, unlucky.broken].count(True) == 1
        assert not expired.broken


async def test_checkpoints_of_many_transfers_are_spread(store: StoreServer, wire: Wire) -> None:
    wire.reset(**{"charged:0": SIZE})
    async with watched(store) as pipeline:
        leases = Leases(Topology([pipeline]), Times(0, 0.5, LONG))
        opened = [leases.open(TOKEN, 0, 1, SIZE, IdleDelivery()) for _ in range(1000)]
        await until(lambda: all(lease.is_held for lease in opened))
        assert pipeline.most <= 2 * BATCH
        for lease in opened:
            leases.close(lease)
        await until(lambda: not any(lease.in_doubt for lease in opened))
        asked = pipeline.total
        await asyncio.sleep(0.1)
        assert pipeline.total == asked


async def test_checkpoints_wait_for_the_store(tmp_path: Path) -> None:
    own_store = StoreServer(tmp_path, DURABLE)  # it has the token at once when it is back
    own_store.start()
    wire = Wire(own_store)
    wire.reset(**{"charged:0": 1})
    wire.close()
    async with watched(own_store) as pipeline:
        leases = Leases(Topology([pipeline]), Times(0, 0.01, LONG))
        own_store.stop()
        await until(lambda: not pipeline.is_ready)
        asked = pipeline.total
        lease = leases.open(TOKEN, 0, 1, SIZE, IdleDelivery())
        await asyncio.sleep(0.1)
        assert (pipeline.total, lease.is_known) == (asked, False)
        own_store.start()
        await until(lambda: lease.is_held)
        leases.close(lease)
    own_store.stop()
