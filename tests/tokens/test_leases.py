"""The leases of one worker: when they are made and renewed, and which transfer is broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from gateway.store.commands import Command
from gateway.store.pipeline import Pipeline
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.leases import BATCH, Lease, Leases, Times
from tests.support.deliveries import IdleDelivery
from tests.support.lease_ledger import ALLOWANCE, LONG, SIZE, TOKEN, Wire
from tests.support.store_server import DURABLE, STORE_SECONDS, StoreServer
from tests.support.waiting import until


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
