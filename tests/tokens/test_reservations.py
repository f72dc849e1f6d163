"""The reservation of one request: claimed, leased, and returned if not received, with a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from gateway.errors import LIMIT_REACHED, TOKEN_INVALID, Refused
from gateway.http.plans import Plan, Segment
from gateway.http.ranges import Span
from gateway.runtime.deferred import stepped
from gateway.store.key_names import token_key
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.claims import Claims
from gateway.tokens.leases import Leases, Times
from gateway.tokens.reservations import Reservation
from gateway.tokens.takeovers import Takeovers
from tests.support.deliveries import IdleDelivery
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import until

TOKEN = "0123456789abcdef" * 2
SIZE = 100
WHOLE = Plan(200, b"", (Segment(b"", 0, Span(0, SIZE)),), b"", SIZE)


@dataclass
class Ledger:
    """A limited token in a real store, and what reserves its bytes."""

    claims: Claims
    leases: Leases
    takeovers: Takeovers
    client: redis.Redis

    def put(self, maximum: int = 2, **fields: str | int) -> None:
        values: dict[Any, str | int] = {"manifest": "d" * 64, "max": maximum}
        self.client.hset(token_key(TOKEN), mapping=values | fields)

    def charged(self, file: int = 0) -> int:
        return int(self.client.hget(token_key(TOKEN), f"charged:{file}") or 0)

    def has_lease(self) -> bool:
        names: Any = self.client.hkeys(token_key(TOKEN))
        return any(name.startswith("lease:") for name in names)

    async def reserve(self, reservation: Reservation, file: int = 0) -> None:
        await stepped(reservation.reserve(file, WHOLE, SIZE)).as_future()

    async def settle(self, reservation: Reservation, sent: int) -> None:
        reservation.settle(sent)
        await stepped(self.claims.check()).as_future()  # answered in order

    def reservation(self, amount: int = 0) -> Reservation:
        return Reservation(self.claims, self.leases, self.takeovers, TOKEN, amount)


@pytest.fixture
async def ledger(store: StoreServer) -> AsyncIterator[Ledger]:
    topology = Topology.connect([store.url], timeout=STORE_SECONDS, queue=100, scripts=SCRIPTS)
    topology.start()
    await until(lambda: topology.is_ready)
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        client.delete(token_key(TOKEN))
        leases = Leases(topology, Times(0, 0.05, 1000))
        yield Ledger(Claims(topology), leases, Takeovers(topology, leases), client)
    await topology.stop()


@pytest.mark.parametrize(("sent", "charged"), [(0, 0), (30, 30), (100, 100)])
async def test_what_was_not_received_is_returned(ledger: Ledger, sent: int, charged: int) -> None:
    ledger.put()
    reservation = ledger.reservation()
    await ledger.reserve(reservation, 3)
    assert (reservation.amount, ledger.charged(3)) == (100, 100)
    await ledger.settle(reservation, sent)
    assert ledger.charged(3) == charged


async def test_what_reading_the_token_reserved_is_returned(ledger: Ledger) -> None:
    """Also if the request fails before it is known which file it is for: only the first can be reserved."""
    ledger.put(**{"charged:0": 100})
    await ledger.settle(ledger.reservation(100), 0)
    assert ledger.charged() == 0


async def test_without_bytes_nothing_is_reserved_or_returned(ledger: Ledger) -> None:
    ledger.put(**{"charged:0": 100})
    await ledger.settle(ledger.reservation(), 0)
    assert ledger.charged() == 100


async def test_all_may_be_charged(ledger: Ledger) -> None:
    ledger.put()
    reservation = ledger.reservation()
    await ledger.reserve(reservation)
    reservation.charge_all()
    await ledger.settle(reservation, 0)
    assert ledger.charged() == 100


@pytest.mark.parametrize(
    ("maximum", "revoked", "refusal"), [(0, {}, LIMIT_REACHED), (2, {"revoked": 1}, TOKEN_INVALID)]
)
async def test_a_refused_claim_reserves_nothing(
    ledger: Ledger, maximum: int, revoked: dict[str, int], refusal: object
) -> None:
    ledger.put(maximum, **revoked)
    reservation = ledger.reservation()
    with pytest.raises(Refused) as caught:
        await ledger.reserve(reservation)
    assert caught.value.refusal is refusal
    assert reservation.amount == 0
    await ledger.settle(reservation, 0)
    assert ledger.charged() == 0


async def test_a_lease_ends_with_the_reservation(ledger: Ledger) -> None:
    ledger.put()
    reservation = ledger.reservation()
    await ledger.reserve(reservation)
    reservation.lease_to(IdleDelivery(10), WHOLE)
    await until(ledger.has_lease)
    await ledger.settle(reservation, 10)
    await until(lambda: not ledger.has_lease())
    assert ledger.charged() == 10


async def test_a_lease_ends_also_if_all_was_received(ledger: Ledger) -> None:
    ledger.put()
    reservation = ledger.reservation()
    await ledger.reserve(reservation)
    reservation.lease_to(IdleDelivery(10), WHOLE)
    await until(ledger.has_lease)
    await ledger.settle(reservation, 100)
    await until(lambda: not ledger.has_lease())
    assert ledger.charged() == 100


async def test_nothing_reserved_needs_no_lease(ledger: Ledger) -> None:
    ledger.put()
    reservation = ledger.reservation()
    reservation.lease_to(IdleDelivery(10), WHOLE)
    await ledger.settle(reservation, 0)
    assert not ledger.has_lease()
