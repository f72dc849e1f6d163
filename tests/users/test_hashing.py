"""Hashes of passwords: only the right one fits, nobody's takes the same way, and work is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from gateway.users.hashing import NOBODYS, THREADS, WAITING, PasswordHashes, TooBusy
from tests.support.users import QUICK


@pytest.fixture
def hashes() -> Iterator[PasswordHashes]:
    made = PasswordHashes(QUICK)
    yield made
    made.close()


async def test_only_the_password_fits_its_hash(hashes: PasswordHashes) -> None:
    known = await hashes.make("violet-harbour-94-tin")
    assert known.startswith("$argon2id$")
    assert "violet" not in known
    assert await hashes.verify("violet-harbour-94-tin", known)
    for wrong in ("", "violet-harbour-94-ti", "Violet-harbour-94-tin", "violet-harbour-94-tin ", "x" * 10**6):
        assert not await hashes.verify(wrong, known)
    assert await hashes.make("violet-harbour-94-tin") != known


async def test_keyboards_that_write_a_sign_in_two_ways_make_one_password(hashes: PasswordHashes) -> None:
    known = await hashes.make("e\u0301clair au citron 9")
    assert await hashes.verify("\u00e9clair au citron 9", known)


@pytest.mark.slow
async def test_nobody_is_checked_in_the_same_way(
    hashes: PasswordHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work for a name that nobody has is the work for a name that somebody has."""
    checked: list[str] = []
    verify = PasswordHasher.verify

    def note(self: PasswordHasher, known: str, password: str) -> bool:
        checked.append(known)
        return verify(self, known, password)

    monkeypatch.setattr(PasswordHasher, "verify", note)
    assert not await hashes.verify("whatever it may be", None)
    assert checked == [NOBODYS]
    usual = PasswordHasher()
    assert NOBODYS.split("$")[:4] == usual.hash("x").split("$")[:4], "the cost of a user's hash"


async def test_a_damaged_hash_fits_nothing(hashes: PasswordHashes) -> None:
    for damaged in ("", "x", "$argon2id$v=19$m=65536", "$2b$12$abcdefghijklmnopqrstuv"):
        assert not await hashes.verify("violet-harbour-94-tin", damaged or "x")


async def test_a_hash_of_other_parameters_is_outdated(hashes: PasswordHashes) -> None:
    assert hashes.is_outdated(NOBODYS)
    assert not hashes.is_outdated(await hashes.make("violet-harbour-94-tin"))


@pytest.mark.slow
async def test_work_beyond_the_bound_is_refused_at_once(hashes: PasswordHashes) -> None:
    go_on = threading.Event()
    try:
        waiting = [asyncio.create_task(hashes._run(go_on.wait)) for _ in range(THREADS + WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy):
            await hashes.verify("violet-harbour-94-tin", None)
    finally:
        go_on.set()
    assert all(await asyncio.gather(*waiting))
    assert not await hashes.verify("violet-harbour-94-tin", None)
