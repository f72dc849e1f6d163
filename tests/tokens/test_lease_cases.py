"""What the scripts keep of leases: the table of cases in gateway/store/scripts, row by row."""

from __future__ import annotations

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.commands import NotExecuted, ScriptCall
from gateway.store.scripts import CLAIM, READ_AND_CLAIM
from gateway.tokens.leases import GIVEN_AWAY, HELD, NO_LEASE, Lease
from tests.support.lease_ledger import ALLOWANCE, KEY, LONG, SIZE, TOKEN, Wire, answer, ask, lease_of


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
