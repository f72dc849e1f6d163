"""After signing in, a customer is where they wanted to go, and nowhere else."""

from __future__ import annotations

import pytest

from tests.support.portal import Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_who_had_to_sign_in_comes_back_to_the_page_that_was_asked_for(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    wanted = f"/my/purchases/{(await portal.purchases(email))[0]}"
    visitor = portal.visitor()
    assert (await visitor.get(wanted)).location == "/my/"
    assert (await visitor.post("/sign-in", email=email)).location == "/my/code"
    answer = await visitor.post("/code", code=(await portal.letter(email)).code)
    assert (answer.status, answer.location) == (303, wanted)
    assert (await visitor.get(wanted)).status == 200
    assert "wanted" not in visitor.cookies, "once"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/purchases/",
        "/sign-out",
        "/purchases/ä",
        "/purchases/" + "x" * 400,
        "",
    ],
)
async def test_a_cookie_leads_nowhere_else(portal: Portal, wanted: str) -> None:
    email = portal.address()
    await portal.buy(email)
    visitor = portal.visitor()
    await visitor.post("/sign-in", email=email)
    visitor.cookies["wanted"] = wanted
    answer = await visitor.post("/code", code=(await portal.letter(email)).code)
    assert (answer.status, answer.location) == (303, "/my/")


async def test_only_a_page_that_is_opened_is_remembered(portal: Portal) -> None:
    visitor = portal.visitor()
    for path in ("/purchases.csv", "/account/x/../../" + "y" * 400):
        await visitor.get(path)
        assert "wanted" not in visitor.cookies
    await visitor.post("/account/sessions", session="x")
    assert "wanted" not in visitor.cookies
