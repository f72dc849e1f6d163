"""What transfers give up for a newer request of the same token: the rules, and the ledger in a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from gateway.errors import LIMIT_REACHED, Refused
from gateway.http.ranges import Span
from gateway.runtime.deferred import stepped
from gateway.store.key_names import token_key
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens import takeovers
from gateway.tokens.claims import Claims
from gateway.tokens.leases import Lease, Leases, Times
from gateway.tokens.takeovers import Demand, Question, Takeovers, bytes_before, has_sent
from tests.support.deliveries import IdleDelivery
from tests.support.rows import each_row
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import until

TOKEN = "0123456789abcdef" * 2
SIZE = 100
WHOLE = (Span(0, SIZE),)
PARTS = (Span(0, 10), Span(50, 60), Span(30, 40))


@each_row(
    ("sending", "sent", "wanted", "before", "passed"),
    [
        (WHOLE, 0, [Span(40, 100)], 40, False),
        (WHOLE, 39, [Span(40, 100)], 40, False),
        (WHOLE, 40, [Span(40, 100)], 40, False),
        (WHOLE, 41, [Span(40, 100)], 41, True),
        (WHOLE, 41, [Span(40, 50)], 41, True),
        (WHOLE, 50, [Span(40, 50)], None, True),
        (WHOLE, 100, [Span(40, 100)], None, True),
        (WHOLE, 20, [Span(60, 70), Span(30, 35)], 30, False),
        ((Span(20, 30),), 0, [Span(0, 20), Span(30, 99)], None, False),
        ((Span(20, 30),), 0, [Span(0, 21)], 0, False),
        (PARTS, 0, [Span(35, 100)], 10, False),  # byte 50 is sent before byte 35
        (PARTS, 15, [Span(35, 100)], 15, True),
        (PARTS, 20, [Span(35, 45)], 25, False),
        (PARTS, 0, [Span(10, 30)], None, False),
        ((), 0, [Span(0, 100)], None, False),
    ],
)
def test_where_a_transfer_is_cut(
    sending: tuple[Span, ...], sent: int, wanted: list[Span], before: int | None, passed: bool
) -> None:
    assert bytes_before(sending, sent, wanted) == before
    assert has_sent(sending, sent, wanted) is passed


@pytest.mark.parametrize("demand", Demand)
@pytest.mark.parametrize("spans", [WHOLE, PARTS, (Span(0, 1 << 60),)])
def test_a_question_is_read_back(demand: Demand, spans: tuple[Span, ...]) -> None:
    question = Question(TOKEN, 7, demand, spans)
    assert Question.decode(question.encode().split(" ")) == question


@pytest.mark.parametrize(
    "words",
    ["", TOKEN, f"{TOKEN} x range 0-1", f"{TOKEN} 0 other 0-1", f"{TOKEN} 0 range 0", f"{TOKEN} 0 range a-b"],
)
def test_what_is_no_question(words: str) -> None:
    with pytest.raises(ValueError, match="no question"):
        Question.decode(words.split(" "))


@dataclass
class Worker:
    """One worker's part: its transfers, and what it asks others."""

    topology: Topology
    claims: Claims
    leases: Leases
    takeovers: Takeovers
    client: redis.Redis
    running: list[tuple[Lease, IdleDelivery]] = field(default_factory=list)

    @property
    def charged(self) -> int:
        return int(self.client.hget(token_key(TOKEN), "charged:0") or 0)

    async def begin(self, *spans: Span, sent: int) -> IdleDelivery:
        """A transfer that has sent `sent` bytes, and takes no more."""
        amount = sum(stop - start for start, stop in spans)
        await stepped(self.claims.claim(TOKEN, 0, amount, SIZE)).as_future()
        delivery = IdleDelivery(sent)
        lease = self.leases.open(TOKEN, 0, amount, SIZE, delivery, spans)

        def settle() -> None:
            self.leases.close(lease)
            self.claims.settle(TOKEN, 0, lease.amount - delivery.sent, lease)

        delivery._on_break_off = settle
        self.running.append((lease, delivery))
        return delivery

    async def ask(self, demand: Demand, *spans: Span) -> int:
        return await self.takeovers.make_room(Question(TOKEN, 0, demand, spans))


async def start_worker(store: StoreServer, client: redis.Redis, times: Times | None) -> Worker:
    topology = Topology.connect([store.url], timeout=STORE_SECONDS, queue=100, scripts=SCRIPTS)
    topology.start()
    await until(lambda: topology.is_ready)
    leases = Leases(topology, times)
    worker = Worker(topology, Claims(topology), leases, Takeovers(topology, leases, [store.url]), client)
    worker.takeovers.start()
    return worker


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may keep workers and store from running for seconds; a test says what is late."""
    monkeypatch.setattr(takeovers, "ANSWER_SECONDS", 30.0)
    monkeypatch.setattr(takeovers, "STALLED_SECONDS", 600.0)
    monkeypatch.setattr(takeovers, "FRUITLESS_SECONDS", 600.0)


@pytest.fixture(params=["young", "leased"])
async def workers(store: StoreServer, request: pytest.FixtureRequest) -> AsyncIterator[list[Worker]]:
    """Two workers, whose transfers have no lease yet, or have one at once."""
    times = Times(0, 0.02, 1000) if request.param == "leased" else None
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        values: dict[Any, Any] = {"manifest": "d" * 64, "max": 1, "charged:0": SIZE // 2}
        client.hset(token_key(TOKEN), mapping=values)
        made = [await start_worker(store, client, times) for _ in range(2)]

        def both_listen() -> bool:
            counts: Any = client.pubsub_numsub(takeovers.EVERY_WORKER)
            return bool(counts[0][1] == 2)

        await until(both_listen)
        yield made
        for worker in made:
            await worker.takeovers.stop()
            await worker.topology.stop()


async def leased(worker: Worker, request: pytest.FixtureRequest) -> None:
    if "leased" in request.node.name:
        await until(lambda: all(lease.is_held for lease, _ in worker.running))


@pytest.mark.parametrize("owner", [0, 1], ids=["own", "other"])
async def test_a_transfer_is_cut_where_a_range_begins(
    workers: list[Worker], request: pytest.FixtureRequest, owner: int
) -> None:
    asking, owning = workers[0], workers[owner]
    delivery = await owning.begin(*WHOLE, sent=20)
    await leased(owning, request)
    assert await asking.ask(Demand.FROM_RANGE, Span(60, 100)) == 1
    assert (delivery.most, delivery.broken) == (60, False)
    assert asking.charged == SIZE // 2 + 60
    delivery.sent = 60
    delivery.break_off()  # its end
    await stepped(owning.claims.check()).as_future()
    assert asking.charged == SIZE // 2 + 60


@pytest.mark.parametrize("owner", [0, 1], ids=["own", "other"])
async def test_by_force(workers: list[Worker], request: pytest.FixtureRequest, owner: int) -> None:
    """Last bytes are given up, as many as are wanted. Only then does the transfer end that has sent them."""
    asking, owning = workers[0], workers[owner]
    passed = await owning.begin(Span(0, 50), sent=45)
    other = await owning.begin(Span(50, 100), sent=10)
    await leased(owning, request)
    assert await asking.ask(Demand.BY_FORCE, Span(40, 50)) == 2
    assert (passed.most, passed.broken, other.most, other.broken) == (45, False, 45, False)
    assert asking.charged == SIZE // 2 + 45 + 45
    assert await asking.ask(Demand.BY_FORCE, Span(0, 50)) == 1
    assert (passed.broken, other.most, other.broken) == (True, 10, False)
    assert asking.charged == SIZE // 2 + 45 + 10


async def test_only_stalled_transfers_end_for_a_whole_file(
    workers: list[Worker], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, owning = workers
    delivery = await owning.begin(*WHOLE, sent=30)
    await leased(owning, request)
    assert await asking.ask(Demand.STALLED, *WHOLE) == 1
    assert not delivery.broken
    monkeypatch.setattr(takeovers, "STALLED_SECONDS", 0.0)
    assert await asking.ask(Demand.STALLED, *WHOLE) == 0
    assert delivery.broken
    assert asking.charged == SIZE // 2 + 30


@pytest.mark.parametrize("demand", Demand)
async def test_a_transfer_whose_client_has_gone_ends(
    workers: list[Worker], request: pytest.FixtureRequest, demand: Demand
) -> None:
    asking, owning = workers
    delivery = await owning.begin(*WHOLE, sent=30)
    await leased(owning, request)
    delivery.lost = True
    assert await asking.ask(demand, *WHOLE) == 0
    assert delivery.broken
    assert asking.charged == SIZE // 2 + 30


async def test_a_settled_transfer_gives_nothing(workers: list[Worker]) -> None:
    asking, owning = workers
    delivery = await owning.begin(*WHOLE, sent=SIZE)
    delivery.break_off()
    for demand in Demand:
        assert await asking.ask(demand, *WHOLE) == 0
    assert asking.charged == SIZE // 2 + SIZE


async def test_after_a_question_that_did_not_help_nobody_is_asked_for_a_while(workers: list[Worker]) -> None:
    asking, _ = workers
    question = Question(TOKEN, 0, Demand.STALLED, WHOLE)
    asking.takeovers.note_fruitless(question, takeovers.DOWNLOADED_ALREADY)
    with pytest.raises(Refused) as caught:
        await asking.takeovers.make_room(question)
    assert caught.value.refusal is takeovers.DOWNLOADED_ALREADY
    for number in range(2 * takeovers.FRUITLESS_KEPT):
        asking.takeovers.note_fruitless(Question(f"{number:032x}", 0, Demand.STALLED, WHOLE), LIMIT_REACHED)
    assert len(asking.takeovers._fruitless) == takeovers.FRUITLESS_KEPT


@pytest.mark.parametrize(
    "text", ["", "ask", "ask x 1", "ask x 1 a b c", "answer", "answer me 1 x", "other a b c", "ask " * 5000]
)
async def test_other_messages_change_nothing(workers: list[Worker], text: str) -> None:
    _, owning = workers
    delivery = await owning.begin(*WHOLE, sent=20)
    owning.client.publish(takeovers.EVERY_WORKER, text)
    owning.client.publish(owning.takeovers._name, text)
    assert await workers[0].ask(Demand.STALLED, *WHOLE) == 1
    assert (delivery.most, delivery.broken) == (None, False)
