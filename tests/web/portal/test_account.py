"""The account: sessions that can be ended, and moving to another address with a code from both mailboxes."""

from __future__ import annotations

import pytest

from gateway.web.portal.codes import MAX_TRIES
from tests.support.portal import Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_sessions_are_listed_and_each_can_be_ended(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    one, two, three = [await portal.signed_in(email) for _ in range(3)]
    page = await one.get("/account")
    ids = [each for each in page.values("session") if each != "others"]
    assert len(ids) == 3
    assert "Firefox on Linux" in page.words
    own = page.text.partition("This browser")[2].partition('name="session" value="')[2].partition('"')[0]
    assert one.cookies["customer"] not in page.text
    assert (await one.post("/account/sessions", session="others")).location == "/my/account"
    for each, is_in in ((one, True), (two, False), (three, False)):
        assert ((await each.get("/account")).status == 200) == is_in
    assert (await one.post("/account/sessions", session=own)).location == "/my/"
    assert (await one.get("/account")).location == "/my/"


async def test_another_customers_session_cannot_be_ended(portal: Portal) -> None:
    (ann, _, _), (bob, _, _) = await portal.buyer(), await portal.buyer()
    of_bob = next(each for each in (await bob.get("/account")).values("session") if each != "others")
    await ann.post("/account/sessions", session=of_bob)
    assert (await bob.get("/account")).status == 200


@pytest.mark.slow
async def test_moving_needs_a_code_from_both_mailboxes(portal: Portal) -> None:
    visitor, old, purchase = await portal.buyer()
    elsewhere = await portal.signed_in(old)
    new = portal.address("new")
    sent = await visitor.post("/account/address", email=new)
    assert (sent.status, sent.location) == (303, "/my/account/move")
    page = await visitor.get("/account/move")
    assert (old in page.words, new in page.words) == (True, True)
    codes = {"old": (await portal.letter(old)).code, "new": (await portal.letter(new)).code}
    assert (await elsewhere.post("/account/move", **codes)).location == "/my/account", "another browser"
    swapped = {"old": codes["new"], "new": codes["old"]}
    assert (await visitor.post("/account/move", **swapped)).status == 403
    assert (await visitor.post("/account/move", old=codes["old"], new="")).status == 422
    moved = await visitor.post("/account/move", **codes)
    assert (moved.status, moved.location) == (303, "/my/account")
    assert new in (await visitor.get("/account")).words
    assert "Epic Kit" in (await visitor.get(f"/purchases/{purchase}")).words
    assert (await elsewhere.get("/account")).location == "/my/", "sessions of the former address end"
    await portal.letter(old, 2)
    await portal.letter(new, 2)
    assert (await visitor.post("/account/move", **codes)).location == "/my/account"


async def test_codes_of_a_move_are_guessed_a_few_times_only(portal: Portal) -> None:
    visitor, old, _ = await portal.buyer()
    new = portal.address("new")
    await visitor.post("/account/address", email=new)
    codes = {"old": (await portal.letter(old)).code, "new": (await portal.letter(new)).code}
    for _ in range(MAX_TRIES):
        assert (await visitor.post("/account/move", old=codes["old"], new="00000000")).status == 403
    assert (await visitor.post("/account/move", **codes)).status == 403
    assert old in (await visitor.get("/account")).words


@pytest.mark.parametrize("typed", ["", "x", "a@b@c", "ann@example.com\nBcc: x@example.com"])
async def test_what_is_no_address_is_told(portal: Portal, typed: str) -> None:
    visitor, old, _ = await portal.buyer()
    assert (await visitor.post("/account/address", email=typed)).status == 422
    assert (await visitor.post("/account/address", email=old)).status == 422
    assert (await visitor.get("/account/move")).location == "/my/account"


async def test_the_language_is_chosen_and_leads_back_to_our_own_pages_only(portal: Portal) -> None:
    visitor, _, _ = await portal.buyer()
    answer = await visitor.post("/language", language="de", back="/my/account")
    assert answer.location == "/my/account"
    assert "Konto" in (await visitor.get("/account")).words
    for back in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/my//evil.example",
        "/my/\\evil",
        "javascript:x",
        "/mything",
        "/my\r\nX: y",
    ):
        answer = await visitor.post("/language", language="en", back=back)
        assert answer.location in ("/my/", "/my/thing"), back
        assert "evil" not in answer.location
