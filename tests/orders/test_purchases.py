"""What a person who has signed in may download: their own purchases and seats, and nothing of another's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.records import read_manifest
from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT
from gateway.errors import Declined
from gateway.orders.applying import tell
from gateway.orders.customer_store import find_customer, move_customer
from gateway.orders.entitlements import HandGrant, grant_by_hand
from gateway.orders.facts import Person, RefundSnapshot
from gateway.orders.mappings import Scope, Share
from gateway.orders.order_writer import Source
from gateway.orders.purchases import (
    Holder,
    find_holder,
    get_purchase,
    is_known,
    list_purchases,
    opened,
    with_versions,
)
from gateway.orders.purchases import Version as PurchaseVersion
from gateway.orders.seats import count_free, free_seat, invite_to_seat, list_seats, remove_seat
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.facts import PAYMENT, line, snapshot

WORD = Source("zapier")
BOB = Person(None, "bob@example.com", "Bob")


async def holder_of(database: Database, email: str) -> Holder:
    async with database.reading() as sql:
        customer = await find_customer(sql, email)
        assert customer is not None
        holder = await find_holder(sql, customer)
    assert holder is not None
    return holder


async def purchases_of(database: Database, holder: Holder) -> list[Any]:
    async with database.reading() as sql:
        return await with_versions(sql, await list_purchases(sql, holder))


@pytest.fixture
async def catalogue(database: Database, repos: Repositories) -> Catalogue:
    """Drums in three versions, of which the second is active; loops in one."""
    made = Catalogue(database, repos)
    for day, version in enumerate(("1.0", "2.0", "3.0-beta"), 1):
        await made.register(
            manifest("drums", version), "Epic Drums", published=1000 * day, notes=f"# {version}"
        )
    await made.update("drums", active="2.0")
    await made.register(manifest("loops", "1"), "Loops")
    return made


async def test_purchases_are_listed_with_product_order_date_and_the_versions_that_they_open(
    database: Database, catalogue: Catalogue
) -> None:
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums"), number="#1001", placed_at=5000)])
    await tell(database, WORD, [snapshot(1000, line("8", "product:loops"), order_id="1002", placed_at=9000)])
    newest, oldest = await purchases_of(database, await holder_of(database, "ann@example.com"))
    assert (newest.title, newest.order.name, newest.placed) == ("Loops", "1002", 9000)
    assert (oldest.title, oldest.order.name, oldest.placed) == ("Epic Drums", "#1001", 5000)
    assert [version.name for version in oldest.versions] == ["3.0-beta", "2.0", "1.0"]
    assert (oldest.offered.name, oldest.offered.notes, oldest.offered.published) == ("2.0", "# 2.0", 2000)
    assert oldest.version("1.0").name == "1.0"
    assert oldest.version("9") is None
    async with database.reading() as sql:
        found = await read_manifest(sql, oldest.offered.manifest)
        assert found == manifest("drums", "2.0")
        assert await read_manifest(sql, "0" * 64) is None
    assert catalogue


def version(name: str, published: int, *, is_active: bool = False) -> PurchaseVersion:
    return PurchaseVersion(name, None, published, "0" * 64, is_active)


LATEST_FIRST = (version("3", 3000), version("2", 2000, is_active=True), version("1", 1000))


@pytest.mark.parametrize(
    ("share", "names"),
    [
        (Share("drums"), ["3", "2", "1"]),
        (Share("drums", Scope.VERSION, "1"), ["1"]),
        (Share("drums", Scope.VERSION, "9"), []),
        (Share("drums", Scope.UNTIL, until=2000), ["2", "1"]),
        (Share("drums", Scope.UNTIL, until=1999), ["1"]),
        (Share("drums", Scope.UNTIL, until=0), []),
    ],
)
def test_a_purchase_opens_the_versions_of_its_scope_the_latest_first(share: Share, names: list[str]) -> None:
    assert [each.name for each in opened(share, LATEST_FIRST)] == names


async def test_a_purchase_of_another_customer_is_as_unknown_as_one_that_does_not_exist(
    database: Database, catalogue: Catalogue
) -> None:
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums"))])
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums"), order_id="2", customer=BOB)])
    ann, bob = await holder_of(database, "ann@example.com"), await holder_of(database, "bob@example.com")
    [of_ann] = await purchases_of(database, ann)
    [of_bob] = await purchases_of(database, bob)
    async with database.reading() as sql:
        assert (await get_purchase(sql, ann, of_ann.id)).id == of_ann.id  # type: ignore[union-attr]
        for holder, other in ((ann, of_bob), (bob, of_ann)):
            assert await get_purchase(sql, holder, other.id) is None
        for identifier in ("", "no", "\0", of_ann.id.upper(), "%"):
            assert await get_purchase(sql, ann, identifier) is None
    assert catalogue


async def test_what_was_returned_is_shown_with_its_reason_and_what_was_replaced_is_not(
    database: Database, catalogue: Catalogue
) -> None:
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums"), line("8", "product:loops"))])
    ann = await holder_of(database, "ann@example.com")
    await tell(database, WORD, [snapshot(2000, line("7", "product:drums"))])
    [drums] = await purchases_of(database, ann)
    assert (drums.product_id, drums.is_active) == ("drums", True)
    await tell(database, WORD, [RefundSnapshot(PAYMENT, 4000, whole=True)])
    [drums] = await purchases_of(database, ann)
    assert (drums.is_active, drums.reasons) == (False, ("order_refunded",))
    assert catalogue


async def test_a_product_that_is_gone_keeps_a_name_and_opens_nothing(database: Database) -> None:
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums", title="The drums"))])
    [drums] = await purchases_of(database, await holder_of(database, "ann@example.com"))
    assert (drums.title, drums.versions, drums.offered) == ("The drums", (), None)


async def test_what_was_granted_by_hand_has_no_order(database: Database, catalogue: Catalogue) -> None:
    async with database.writing() as sql:
        await grant_by_hand(sql, HandGrant("ann@example.com", "ann@example.com", Share("drums")), 7000)
    [drums] = await purchases_of(database, await holder_of(database, "ann@example.com"))
    assert (drums.order, drums.placed) == (None, 7000)
    assert catalogue


# --- Seats ---


@pytest.mark.parametrize(
    ("quantity", "taken", "number", "left"),
    [
        (0, (), None, 0),
        (1, (), None, 0),
        (2, (), 2, 1),
        (2, (2,), None, 0),
        (3, (2,), 3, 1),
        (3, (3,), 2, 1),
        (4, (2, 4), 3, 1),
        (2, (2, 3, 4), None, 0),  # some were returned
        (1_000_000_000, (2,), 3, 999_999_998),
    ],
)
def test_the_buyer_has_the_first_of_as_many_seats_as_were_bought(
    quantity: int, taken: tuple[int, ...], number: int | None, left: int
) -> None:
    assert free_seat(quantity, taken) == number
    assert count_free(quantity, taken) == left


@pytest.fixture
async def entitlement(database: Database, catalogue: Catalogue) -> str:
    """The id of what Ann has bought: three times the drums."""
    assert catalogue
    await tell(database, WORD, [snapshot(1000, line("7", "product:drums", quantity=3), number="#1001")])
    async with database.reading() as sql:
        return str((await sql.execute(select(ENTITLEMENT.c.id))).scalar_one())


async def invite(database: Database, entitlement: str, email: str, owner: str = "ann@example.com") -> int:
    holder = await holder_of(database, owner)
    async with database.writing() as sql:
        return await invite_to_seat(sql, entitlement, holder.customer_id, email, 5000)


async def seats_of(database: Database, entitlement: str, quantity: int = 3) -> list[tuple[Any, ...]]:
    async with database.reading() as sql:
        return [
            (each.number, each.email, each.is_open) for each in await list_seats(sql, entitlement, quantity)
        ]


async def test_seats_are_given_and_taken_away_and_open_the_purchase_meanwhile(
    database: Database, entitlement: str
) -> None:
    await tell(database, WORD, [snapshot(1000, line("1", "product:loops"), order_id="2", customer=BOB)])
    ann, bob = await holder_of(database, "ann@example.com"), await holder_of(database, "bob@example.com")
    async with database.reading() as sql:
        assert await get_purchase(sql, bob, entitlement) is None
        assert not await is_known(sql, "carol@example.com")
    assert await invite(database, entitlement, "bob@example.com") == 2
    assert await invite(database, entitlement, "carol@example.com") == 3
    assert await seats_of(database, entitlement) == [
        (2, "bob@example.com", True),
        (3, "carol@example.com", True),
    ]
    async with database.reading() as sql:
        assert await is_known(sql, "carol@example.com")
        assert await is_known(sql, "bob@example.com")
        assert not await is_known(sql, "dave@example.com")
    theirs = {each.product_id: each for each in await purchases_of(database, bob)}
    assert set(theirs) == {"loops", "drums"}
    assert (theirs["drums"].is_own, theirs["drums"].order) == (False, None)  # the order is the buyer's
    async with database.writing() as sql:
        assert await remove_seat(sql, entitlement, ann.customer_id, 2) == "bob@example.com"
    async with database.reading() as sql:
        assert await get_purchase(sql, bob, entitlement) is None
    assert await invite(database, entitlement, "dave@example.com") == 2


@pytest.mark.parametrize(
    ("email", "owner", "code"),
    [
        ("ann@example.com", "ann@example.com", "seat_own"),
        ("carol@example.com", "ann@example.com", "seat_given"),
        ("erin@example.com", "ann@example.com", "seats_taken"),
        ("erin@example.com", "bob@example.com", "entitlement_unknown"),
    ],
)
async def test_a_seat_is_not_given(
    database: Database, entitlement: str, email: str, owner: str, code: str
) -> None:
    await tell(database, WORD, [snapshot(1000, line("1", "product:loops"), order_id="2", customer=BOB)])
    await invite(database, entitlement, "bob@example.com")
    await invite(database, entitlement, "carol@example.com")
    with pytest.raises(Declined) as refused:
        await invite(database, entitlement, email, owner)
    assert refused.value.code == code
    assert len(await seats_of(database, entitlement)) == 2


@pytest.mark.parametrize(
    ("owner", "number", "code"),
    [("ann", 3, "seat_unknown"), ("ann", 1, "seat_unknown"), ("bob", 2, "entitlement_unknown")],
)
async def test_a_seat_is_not_taken_away(
    database: Database, entitlement: str, owner: str, number: int, code: str
) -> None:
    await tell(database, WORD, [snapshot(1000, line("1", "product:loops"), order_id="2", customer=BOB)])
    await invite(database, entitlement, "bob@example.com")
    holder = await holder_of(database, f"{owner}@example.com")
    with pytest.raises(Declined) as refused:
        async with database.writing() as sql:
            await remove_seat(sql, entitlement, holder.customer_id, number)
    assert refused.value.code == code


async def test_seats_above_the_quantity_open_nothing_and_a_suspended_purchase_gives_none(
    database: Database, entitlement: str
) -> None:
    await tell(database, WORD, [snapshot(1000, line("1", "product:loops"), order_id="2", customer=BOB)])
    bob = await holder_of(database, "bob@example.com")
    await invite(database, entitlement, "carol@example.com")
    await invite(database, entitlement, "bob@example.com")
    await tell(database, WORD, [snapshot(2000, line("7", "product:drums", quantity=3, refunded=1))])
    assert await seats_of(database, entitlement, 2) == [
        (2, "carol@example.com", True),
        (3, "bob@example.com", False),
    ]
    async with database.reading() as sql:
        assert await get_purchase(sql, bob, entitlement) is None
    async with database.writing() as sql:
        await sql.execute(
            update(ENTITLEMENT).where(ENTITLEMENT.c.id == entitlement).values(status="suspended")
        )
    with pytest.raises(Declined) as refused:
        await invite(database, entitlement, "erin@example.com")
    assert refused.value.code == "entitlement_not_active"


async def test_a_seat_moves_with_the_customer_who_has_it(database: Database, entitlement: str) -> None:
    await tell(database, WORD, [snapshot(1000, line("1", "product:loops"), order_id="2", customer=BOB)])
    await invite(database, entitlement, "bob@example.com")
    bob = await holder_of(database, "bob@example.com")
    async with database.writing() as sql:
        await move_customer(sql, bob.customer_id, "robert@example.com", "robert@example.com", 9000)
    assert await seats_of(database, entitlement) == [(2, "robert@example.com", True)]
    robert = await holder_of(database, "robert@example.com")
    async with database.reading() as sql:
        assert await get_purchase(sql, robert, entitlement) is not None
        assert await find_holder(sql, "nobody") is None
        emails = await sql.execute(select(CUSTOMER_EMAIL.c.email))
        assert {each for (each,) in emails} == {"ann@example.com", "robert@example.com"}
