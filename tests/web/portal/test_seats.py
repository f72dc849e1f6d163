"""Seats in the portal: the buyer invites, who is invited downloads, and whose seat is taken away does not."""

from __future__ import annotations

import pytest

from gateway.secrets import token_id
from tests.support.facts import line
from tests.support.portal import Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")
THREE = line("1", "product:kit", quantity=3)


async def test_who_is_invited_gets_a_mail_and_downloads_until_the_seat_is_taken_away(portal: Portal) -> None:
    owner, _, purchase = await portal.buyer(THREE, number="#seats")
    email = portal.address("guest")
    assert "2 places are free" in (await owner.get(f"/purchases/{purchase}")).words
    sent = await owner.post(f"/purchases/{purchase}/seats", email=f" {email} ")
    assert (sent.status, sent.location) == (303, f"/my/purchases/{purchase}#seats")
    letter = await portal.letter(email)
    assert letter.link == "/my/"
    guest = portal.visitor()
    await guest.post("/sign-in", email=email)
    letter = await portal.letter(email, 2)
    assert (await guest.post("/code", code=letter.code)).status == 303
    page = await guest.get(f"/purchases/{purchase}")
    assert "Epic Kit.zip" in page.words
    assert "#seats" not in page.words, "the order is the buyer's"
    assert page.values("number") == []
    answer = await guest.post(f"/purchases/{purchase}/download", version="2.0", file="0")
    identifier = token_id(answer.location.split("/")[2])
    record = await portal.api.store.tokens.get(identifier)
    assert record is not None
    assert (record.email, record.revoked) == (email, None)
    owners = await owner.post(f"/purchases/{purchase}/download", version="2.0", file="0")
    await owner.post(f"/purchases/{purchase}/seats/remove", number="2")
    assert (await guest.get(f"/purchases/{purchase}")).status == 404
    assert (await guest.post(f"/purchases/{purchase}/download", version="2.0", file="0")).status == 404
    record = await portal.api.store.tokens.get(identifier)
    assert record is not None
    assert record.revoked is not None
    kept = await portal.api.store.tokens.get(token_id(owners.location.split("/")[2]))
    assert kept is not None
    assert kept.revoked is None


async def test_what_cannot_be_invited_says_why(portal: Portal) -> None:
    owner, email, purchase = await portal.buyer(THREE)
    guests = [portal.address("guest") for _ in range(3)]
    path = f"/purchases/{purchase}/seats"
    for address, status, text in (
        ("no address", 422, "This is no e-mail address"),
        (email, 409, "This is your own address"),
        (guests[0], 303, ""),
        (guests[0], 409, "has a place already"),
        (guests[1], 303, ""),
        (guests[2], 409, "All places are taken"),
    ):
        answer = await owner.post(path, email=address)
        assert (answer.status, text in answer.words) == (status, True)


async def test_seats_are_managed_by_the_buyer_alone(portal: Portal) -> None:
    owner, _, purchase = await portal.buyer(THREE)
    stranger, _, _ = await portal.buyer()
    email = portal.address("guest")
    await owner.post(f"/purchases/{purchase}/seats", email=email)
    await portal.buy(email)
    guest = await portal.signed_in(email)
    for visitor, found in ((stranger, 404), (guest, 200)):
        assert (await visitor.get(f"/purchases/{purchase}")).status == found
        invited = await visitor.post(f"/purchases/{purchase}/seats", email=portal.address("third"))
        assert invited.status in (404, 409)
        removed = await visitor.post(f"/purchases/{purchase}/seats/remove", number="2")
        assert removed.status in (404, 303)
    assert (await guest.get(f"/purchases/{purchase}")).status == 200
    for number in ("", "x", "-1", "9" * 3000):
        assert (await owner.post(f"/purchases/{purchase}/seats/remove", number=number)).status == 404
