"""Mails about new versions: ended by their link without signing in, and switched on again in the account."""

from __future__ import annotations

import pytest

from gateway.mail.news import read_choice
from tests.support.portal import Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = "application/x-www-form-urlencoded"


async def link_of(portal: Portal, email: str) -> tuple[str, str]:
    """The customer of an address, and the path of the link in the mails."""
    link = await portal.link_of_news(email)
    return await portal.customer(email), link.removeprefix("/my")


async def wants_news(portal: Portal, customer: str) -> bool:
    async with portal.database.reading() as sql:
        return (await read_choice(sql, customer))[1]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": FORM}, b"List-Unsubscribe=One-Click"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\n--x--\r\n"),
        ({"Content-Type": FORM, "Sec-Fetch-Site": "same-origin"}, b""),
        ({"Content-Type": FORM, "Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example"}, b""),
        ({"Content-Type": FORM, "Origin": "null"}, b"List-Unsubscribe=One-Click"),
        ({}, b""),
    ],
)
async def test_one_click_ends_them_without_cookies(
    portal: Portal, headers: dict[str, str], body: bytes
) -> None:
    email = portal.address()
    await portal.buy(email)
    customer, link = await link_of(portal, email)
    for _ in range(2):
        done = await portal.visitor().ask("POST", link, headers=headers, data=body)
        assert done.status == 200
        assert "You get no more mails about new versions" in done.words
        assert "Set-Cookie" not in done.headers
        assert not await wants_news(portal, customer)


async def test_what_looks_at_the_link_changes_nothing_and_names_nobody(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    customer, link = await link_of(portal, email)
    visitor = portal.visitor()
    for method in ("GET", "HEAD"):
        assert (await visitor.ask(method, link)).status == 200
    german = await visitor.get(link, headers={"Accept-Language": "de"})
    assert "Keine mehr schicken" in german.words
    page = await visitor.get(link)
    assert f'<form method="post" action="/my{link}">' in page.text
    assert email not in page.text
    assert email not in link
    assert await wants_news(portal, customer)


async def test_a_link_that_is_nobodys(portal: Portal) -> None:
    for path in ("/news/" + "A" * 43, "/news/x", "/news/%00", "/news/" + "A" * 5000):
        for method in ("GET", "POST"):
            answer = await portal.visitor().ask(method, path, data=b"")
            assert answer.status in (400, 404), path
            assert "Traceback" not in answer.text


async def test_other_pages_are_still_guarded(portal: Portal) -> None:
    visitor, email, _ = await portal.buyer()
    customer = await portal.customer(email)
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    _, link = await link_of(portal, email)
    for path in ("/account/news", "/news", "/sign-out", link):
        assert (await visitor.post(path, foreign, news="off")).status in (403, 404)
    assert await wants_news(portal, customer)


async def test_the_account_switches_them(portal: Portal) -> None:
    visitor, email, _ = await portal.buyer()
    customer, link = await link_of(portal, email)
    await portal.visitor().ask(
        "POST", link, data=b"List-Unsubscribe=One-Click", headers={"Content-Type": FORM}
    )
    page = await visitor.get("/account")
    assert "You get no mails about new versions." in page.words
    assert page.values("news") == ["on"]
    assert (await visitor.post("/account/news", news="on")).location == "/my/account"
    assert await wants_news(portal, customer)
    assert (await visitor.get("/account")).values("news") == ["off"]
    await visitor.post("/account/news", news="off")
    assert not await wants_news(portal, customer)
    assert (await portal.visitor().post("/account/news", news="on")).location == "/my/"


@pytest.mark.parametrize("other_has_link", [True, False])
async def test_whoever_wanted_none_wants_none_after_two_customers_became_one(
    portal: Portal, other_has_link: bool
) -> None:
    from gateway.orders.customer_store import move_customer  # noqa: PLC0415

    ann, bob = portal.address(), portal.address("bob")
    for email in (ann, bob):
        await portal.buy(email)
    _, link = await link_of(portal, ann)
    if other_has_link:
        await link_of(portal, bob)
    await portal.visitor().ask("POST", link, data=b"", headers={"Content-Type": FORM})
    async with portal.database.writing() as sql:
        kept = await move_customer(sql, await portal.customer(ann), bob, bob, 5)
    assert not await wants_news(portal, kept)
