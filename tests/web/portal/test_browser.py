"""The portal in a real browser: each page on a phone and a desktop, by keyboard, with and without scripts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from gateway.web.portal.application import PAGES as PORTAL_PAGES
from gateway.web.portal.application import PREFIX
from tests.support.browser import (
    DESKTOP,
    NARROW,
    PHONE,
    Screen,
    check_page,
    check_way_back,
    open_browser,
    open_page,
    tab_through,
    take_picture,
    wait_for_page,
)
from tests.support.facts import line
from tests.support.portal import LIBRARY, Portal

PAGES = frozenset(
    page.path for page in PORTAL_PAGES if page.method == "GET" and not page.path.endswith((".csv", "SUMS"))
)
"""Every page that the portal has: one that is added must be looked at below."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


async def sign_in(portal: Portal, page: Page, email: str) -> None:
    """As a person does: type the address, then the code of the mail."""
    await page.goto("/my")
    await page.get_by_label("E-mail address").fill(email)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Send me a mail").click()
    await page.get_by_label("Code from the mail").fill((await portal.letter(email)).code)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Your purchases").wait_for()


@pytest.mark.parametrize(
    ("screen", "scripts"),
    [(DESKTOP, True), (PHONE, True), (PHONE, False), (NARROW, True)],
    ids=["desktop", "phone", "phone-without-scripts", "narrow"],
)
async def test_a_buyer_goes_through_every_page(
    portal: Portal, browser: Browser, screen: Screen, scripts: bool
) -> None:
    email = portal.address()
    await portal.buy(email, LIBRARY, number="#1002")
    await portal.buy(email, line("1", "product:kit", title="Epic Kit", quantity=3), number="#1001")
    picture = f"{screen.name}{'' if scripts else '-plain'}"
    looked_at: set[str] = set()
    async with open_page(browser, portal.api.url, screen, scripts=scripts) as page:

        async def look(name: str) -> None:
            path = urlsplit(page.url).path.removeprefix(PREFIX) or "/"
            looked_at.update(each for each in PAGES if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each), path))
            await check_page(page)
            if name not in ("sign-in", "german", "link"):
                await check_way_back(page)
            await take_picture(page, f"{name}-{picture}")

        await page.goto("/my")
        await look("sign-in")
        await page.get_by_label("E-mail address").fill(email)
        async with wait_for_page(page):
            await page.get_by_role("button", name="Send me a mail").click()
        await look("code")
        letter = await portal.letter(email)
        await page.get_by_label("Code from the mail").fill("00000000")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text("This is not the code").wait_for()
        await look("wrong-code")
        await page.goto(letter.link)
        await look("link")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Show my purchases").click()
        await look("purchases")
        async with wait_for_page(page):
            await page.get_by_role("link", name="Epic Kit", exact=True).click()
        await look("purchase")
        await page.get_by_label("Invite an address").fill(portal.address("guest"))
        async with wait_for_page(page):
            await page.get_by_role("button", name="Invite").click()
        await page.get_by_role("button", name="Take away").wait_for()
        await look("seats")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Continue a broken download").click()
        await page.get_by_text("curl -fL -C -").first.wait_for()
        await look("continue")
        async with wait_for_page(page):
            await page.get_by_role("link", name="Back", exact=True).click()
        async with wait_for_page(page):
            await page.get_by_role("link", name="Receipt").click()
        await look("receipt")
        async with wait_for_page(page):
            await page.get_by_role("link", name="Account").click()
        await look("account")
        await page.get_by_label("New e-mail address").fill(portal.address("new"))
        async with wait_for_page(page):
            await page.get_by_role("button", name="Send the codes").click()
        await look("move")
        await page.goto(await portal.link_of_news(email))
        await look("news")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Send me no more of them").click()
        await page.get_by_role("heading", name="You get no more mails about new versions").wait_for()
        await look("news-ended")
        await page.goto("/my/account")
        await page.get_by_role("button", name="Send me these mails").wait_for()
        await page.goto("/my/account/move")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Deutsch").click()
        async with wait_for_page(page):
            await page.get_by_role("button", name="Abmelden").click()
        await page.get_by_label("E-Mail-Adresse").wait_for()
        await look("german")
        await page.goto("/my/nowhere")
        await look("refusal")
    assert looked_at == PAGES


async def test_the_whole_way_by_keyboard(portal: Portal, browser: Browser) -> None:
    email = portal.address()
    await portal.buy(email, number="#1")
    async with open_page(browser, portal.api.url) as page:
        await sign_in(portal, page, email)
        names = await tab_through(page)
        assert names[0] == "Go to the content"
        assert [each for each in names if "Epic Kit" in each]
        await page.get_by_role("link", name="Epic Kit", exact=True).focus()
        async with wait_for_page(page):
            await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Version 2.0").first.wait_for()
        names = await tab_through(page)
        assert [each for each in names if each.startswith("Download") and "Epic Kit.zip" in each]
        assert [each for each in names if each.startswith("Continue a broken download")]


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "not-allowed"])
async def test_a_download_that_redirects_to_a_bucket_is_followed(
    portal: Portal, browser: Browser, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers hold a form to its policy where its answer redirects: see `Pages.policy_of_downloads`."""
    from gateway.web.pages import Pages  # noqa: PLC0415
    from gateway.web.portal import downloads  # noqa: PLC0415

    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        head = f"HTTP/1.1 200 {HTTPStatus.OK.phrase}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    bucket = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{bucket.sockets[0].getsockname()[1]}"
    monkeypatch.setattr(downloads, "download_path", lambda *_: f"{origin}/object")
    real = Pages.respond

    def respond(self: Pages, *arguments: object, **values: object) -> object:
        headers = dict(values.pop("headers", None) or {})  # type: ignore[call-overload]
        if allowed and "Content-Security-Policy" in headers:
            policy = headers["Content-Security-Policy"]
            headers["Content-Security-Policy"] = policy.replace("form-action", f"form-action {origin}")
        return real(self, *arguments, headers=headers, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(Pages, "respond", respond)
    email = portal.address()
    await portal.buy(email)
    said = () if allowed else ("form-action",)
    async with open_page(browser, portal.api.url, elsewhere=True, allowed=said) as page:
        await sign_in(portal, page, email)
        async with wait_for_page(page):
            await page.get_by_role("link", name="Epic Kit", exact=True).click()
        await page.get_by_role("button", name=re.compile("^Download")).click()
        if allowed:
            async with asyncio.timeout(30):
                await asked.wait()
        else:
            await page.wait_for_timeout(1000)
            assert not asked.is_set()
    bucket.close()
