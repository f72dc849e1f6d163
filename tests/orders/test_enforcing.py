"""Tokens of entitlements: made from active ones only, ended when these are revoked, also after a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, update

from gateway.database.engine import Database
from gateway.database.tables import ENTITLEMENT, LINK
from gateway.errors import Declined
from gateway.orders.applying import tell
from gateway.orders.enforcing import Enforcer
from gateway.orders.entitlement_rules import Override
from gateway.orders.entitlements import HandGrant, get_entitlement, grant_by_hand, override_entitlement
from gateway.orders.facts import Dispute, RefundSnapshot
from gateway.orders.mappings import Scope, Share
from gateway.orders.minting import Terms, choose_version, mint_from_entitlement
from gateway.orders.order_writer import Source
from gateway.orders.states import DisputeState
from gateway.products.repository import Product
from gateway.runtime.background import running
from gateway.secrets import token_id
from gateway.tokens.records import MintedToken
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.facts import PAYMENT, line, snapshot
from tests.support.rows import each_row
from tests.support.timing import patience

WORD = Source("zapier")
DRUMS = line("7", "product:drums")


@pytest.fixture
async def entitlement(database: Database, repos: Repositories) -> str:
    """The id of the one entitlement there is: of the product drums, which has two versions."""
    await repos.products.register(manifest("drums", "1.0"))
    await repos.products.register(manifest("drums", "2.0"))
    await tell(database, WORD, [snapshot(1000, DRUMS)])
    async with database.reading() as sql:
        [(identifier,)] = await sql.execute(select(ENTITLEMENT.c.id))
    return str(identifier)


@pytest.fixture
def enforcer(database: Database, repos: Repositories) -> Enforcer:
    return Enforcer(database, repos.tokens)


async def mint(database: Database, repos: Repositories, entitlement: str, **terms: Any) -> MintedToken:
    url = await mint_from_entitlement(database, repos, entitlement, Terms(**terms))
    record = await repos.tokens.get(token_id(url.token))
    assert record is not None
    assert record.expires == url.expires
    return MintedToken(url.token, record)


async def is_live(repos: Repositories, minted: MintedToken) -> bool:
    record = await repos.tokens.get(minted.record.id)
    return record is not None and record.revoked is None


async def test_a_token_is_ended_when_its_entitlement_is_suspended_or_revoked(
    database: Database, repos: Repositories, entitlement: str, enforcer: Enforcer
) -> None:
    first = await mint(database, repos, entitlement)
    assert (first.record.version, first.record.email) == ("1.0", "ann@example.com")
    assert not await enforcer.enforce()
    assert await is_live(repos, first)
    await tell(database, WORD, [Dispute("d", PAYMENT, 2000, DisputeState.OPEN)])
    await enforcer.enforce()
    assert not await is_live(repos, first)
    with pytest.raises(Declined) as refused:
        await mint(database, repos, entitlement)
    assert refused.value.code == "entitlement_not_active"
    await tell(database, WORD, [Dispute("d", PAYMENT, 3000, DisputeState.WON)])
    await enforcer.enforce()
    second = await mint(
        database, repos, entitlement, version="2.0", values={"max_downloads": 1}, expires_in=60
    )
    await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
    await enforcer.enforce()
    assert not await is_live(repos, second)
    async with database.reading() as sql:
        rows = list(await sql.execute(select(LINK)))
        [row] = await sql.execute(select(ENTITLEMENT))
    assert all(each.ended for each in rows)
    assert [each.version for each in rows] == ["1.0", "2.0"]
    assert rows[1].expires == second.record.expires
    assert row.status == row.enforced == "revoked"


async def test_what_a_crash_left_undone_is_done_at_the_next_start(
    database: Database, repos: Repositories, entitlement: str, enforcer: Enforcer
) -> None:
    minted = await mint(database, repos, entitlement)
    await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
    async with running(enforcer.run()), asyncio.timeout(patience(5)):
        while await is_live(repos, minted):  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.05)


async def test_a_token_that_the_enforcer_could_not_see_is_told_to_nobody(
    database: Database,
    repos: Repositories,
    entitlement: str,
    enforcer: Enforcer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Revoked, and its tokens ended, after the link was written and before the token is there."""
    create = repos.tokens.create

    async def create_late(*given: Any, **more: Any) -> MintedToken:
        await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
        await enforcer.enforce()
        return await create(*given, **more)

    monkeypatch.setattr(repos.tokens, "create", create_late)
    with pytest.raises(Declined) as refused:
        await mint(database, repos, entitlement)
    assert refused.value.code == "entitlement_not_active"
    async with database.reading() as sql:
        [(token_id,)] = await sql.execute(select(LINK.c.token_id))
    record = await repos.tokens.get(token_id)
    assert record is not None
    assert record.revoked is not None


async def test_the_seller_overrides_both_ways(
    database: Database, repos: Repositories, entitlement: str, enforcer: Enforcer
) -> None:
    minted = await mint(database, repos, entitlement)

    async def override(decision: Override | None, reason: str | None) -> tuple[str, list[str], int]:
        async with database.writing() as sql:
            assert await override_entitlement(sql, entitlement, decision, reason, 5)
        async with database.reading() as sql:
            row = await get_entitlement(sql, entitlement)
        assert row is not None
        return row.status, row.reasons, row.quantity

    assert await override(Override.REVOKE, "shared") == ("revoked", ["seller_revoked"], 1)
    await enforcer.enforce()
    assert not await is_live(repos, minted)
    await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
    assert await override(Override.GRANT, "kept") == ("active", ["seller_granted", "order_refunded"], 1)
    await tell(database, WORD, [snapshot(5000, DRUMS)])
    assert await override(None, None) == ("revoked", ["order_refunded"], 0)


async def test_what_is_granted_by_hand_needs_no_order(database: Database, repos: Repositories) -> None:
    await repos.products.register(manifest("drums", "1.0"))
    async with database.writing() as sql:
        given = HandGrant("bob@example.com", "Bob@example.com", Share("drums"), "Bob", 2, "a review copy")
        identifier = await grant_by_hand(sql, given, 5)
    assert (await mint(database, repos, identifier)).record.email == "bob@example.com"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scope": "version", "version": "9.9"}, "version_not_included"),
        ({"scope": "until", "updates_until": 1}, "version_not_included"),
        ({"product_id": "gone"}, "product_unknown"),
    ],
)
async def test_why_no_token_is_made(
    database: Database, repos: Repositories, entitlement: str, change: dict[str, Any], code: str
) -> None:
    async with database.writing() as sql:
        await sql.execute(update(ENTITLEMENT).values(**change))
    with pytest.raises(Declined) as refused:
        await mint(database, repos, entitlement)
    assert refused.value.code == code


async def test_an_unknown_entitlement_makes_no_token(database: Database, repos: Repositories) -> None:
    with pytest.raises(Declined) as refused:
        await mint(database, repos, "nothing")
    assert refused.value.code == "entitlement_unknown"


PRODUCT = Product("drums", "Drums", "archived", "2", 50, {"1": "a", "2": "b", "3": "c", "old": "d"})
PUBLISHED = {"3": 300, "2": 200, "1": 100, "removed": 10}


@each_row(
    ("share", "wanted", "chosen"),
    [
        (Share("drums"), None, "2"),
        (Share("drums"), "3", "3"),
        (Share("drums"), "old", "old"),
        (Share("drums"), "removed", None),
        (Share("drums"), "4", None),
        (Share("drums", Scope.VERSION, "1"), None, "1"),
        (Share("drums", Scope.VERSION, "1"), "2", None),
        (Share("drums", Scope.UNTIL, until=150), None, "1"),
        (Share("drums", Scope.UNTIL, until=150), "3", None),
        (Share("drums", Scope.UNTIL, until=250), None, "2"),
        (Share("drums", Scope.UNTIL, until=60), None, "old"),
        (Share("drums", Scope.UNTIL, until=40), None, None),
    ],
)
def test_the_version_of_a_token(share: Share, wanted: str | None, chosen: str | None) -> None:
    assert choose_version(share, PRODUCT, PUBLISHED, wanted) == chosen


@pytest.mark.slow
async def test_many_entitlements_take_few_transactions(
    database: Database, repos: Repositories, enforcer: Enforcer
) -> None:
    """An order of 450 lines is refunded: each transaction waits for the disk."""
    await repos.products.register(manifest("drums", "1.0"))
    lines = [line(str(number), "product:drums") for number in range(450)]
    await tell(database, WORD, [snapshot(1000, *lines)])
    async with database.reading() as sql:
        first, *_, last = await sql.scalars(select(ENTITLEMENT.c.id).order_by(ENTITLEMENT.c.id))
    minted = [await mint(database, repos, each) for each in (first, first, last)]
    await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
    assert await enforcer.enforce()
    assert await enforcer.enforce()
    assert not await enforcer.enforce()
    assert not any([await is_live(repos, each) for each in minted])
    async with database.reading() as sql:
        left = await sql.scalar(select(func.count()).where(ENTITLEMENT.c.status != ENTITLEMENT.c.enforced))
    assert left == 0
