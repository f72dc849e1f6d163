"""The pages of daily work in Chromium: on every size, light and dark, without scripts, by keyboard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from gateway.config.settings import Settings
from gateway.usage.running import Running, RunningNow
from gateway.users.links import make_setup_link
from gateway.web.dashboard import live
from gateway.web.dashboard.application import SCREENS
from tests.support.browser import (
    DESKTOP,
    NARROW,
    PHONE,
    Screen,
    check_page,
    check_way_back,
    check_width,
    find_violations,
    note_texts,
    open_browser,
    open_page,
    tab_through,
    take_picture,
    wait_for_page,
    wait_until_true,
)
from tests.support.control_plane import Api
from tests.support.dashboard import PREFIX, Visitor, open_database_of, open_visitor
from tests.support.dashboard import sign_in as sign_in_by_form
from tests.support.dashboard_data import GIB, make_ordinary_day, record_shared_link
from tests.support.users import PASSWORD
from tests.support.webhooks import SECRETS, fixture, signature

pytestmark = pytest.mark.slow

MOST_BYTES = 60_000
"""Of one page: what a slow phone takes in a second."""


PAGES = tuple(
    screen.path for screen in SCREENS if screen.method == "GET" and not screen.path.endswith(".csv")
)
"""Every page that the dashboard has. One that is added is opened below, or its names are missing there."""
BEFORE_SIGN_IN = ("/first-visit", "/join", "/sign-in")


async def make_everything(api: Api, settings: Settings) -> dict[str, str]:
    """Fill the dashboard. Returns what stands for the names in the paths of PAGES."""
    day = await make_ordinary_day(api, settings)
    await record_shared_link(settings)
    body = {"kind": "woocommerce", "name": "Sample shop", "secrets": [SECRETS["woocommerce"]]}
    status, answer, _ = await api.ask("POST", "/api/connections", body)
    assert status == 201, answer
    connection = answer["connection"]
    order = json.dumps(fixture("woocommerce", "order_updated")).encode()
    fields = signature("woocommerce", order, SECRETS["woocommerce"], int(time.time()))
    hook = f"{api.url}/hooks/{connection['url'].partition('/hooks/')[2]}"
    async with api.session.post(hook, data=order, headers=fields) as response:
        assert response.status == 200
    _, answer, _ = await api.ask("GET", f"/api/connections/{connection['id']}/events")
    event = answer["events"][0]["id"]
    body = {"url": "https://hooks.example/here"}
    status, answer, _ = await api.ask("POST", "/api/webhooks", body)
    assert status == 201, answer
    async with open_visitor(api.url) as visitor:
        await sign_in_by_form(visitor)
        fields = {"storage": "main", "folder": "", "key": "a.bin", "version": "3.0.0"}
        published = await visitor.post("/products/drums/publish", **fields)
        assert published.status == 303, published.text
    return {
        "product": "drums",
        "token": day.token,
        "order": day.order,
        "customer": day.customer,
        "job": published.location.rpartition("/")[2],
        "kind": "stripe",
        "connection": connection["id"],
        "event": event,
        "webhook": answer["webhook"]["id"],
    }


async def say_what_runs(_client: object) -> RunningNow:
    """As workers would."""
    rows = [
        Running(f"{number:032x}", "drums", "1.0.0", "Epic Drums.zip", 3 * GIB, GIB // number, 9.5, "Firefox")
        for number in range(1, 6)
    ]
    return RunningNow(7, rows, 2)


async def check_light(page: Page) -> None:
    """As `check_page`, without the other colours: they are those of the desktop."""
    assert await find_violations(page) == [], page.url
    await check_width(page)


async def sign_in(page: Page) -> None:
    await page.goto(f"{PREFIX}/sign-in")
    await page.get_by_label("Name").fill("maria")
    await page.get_by_label("Password").fill(PASSWORD)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Today")


async def press_enter(page: Page) -> None:
    """Press the key that leads to the next page."""
    async with wait_for_page(page):
        await page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("screen", "scripts"),
    [(DESKTOP, True), (PHONE, True), (NARROW, True), (DESKTOP, False)],
    ids=["desktop", "phone", "narrow", "scriptless"],
)
async def test_every_page_can_be_used(
    api: Api, settings: Settings, screen: Screen, scripts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ask_what_runs", say_what_runs)
    check = {DESKTOP: check_page, PHONE: check_light, NARROW: check_width}[screen]
    async with open_database_of(settings) as database:
        link = await make_setup_link(database)
    async with open_browser() as browser, open_page(browser, api.url, screen, scripts=scripts) as page:

        async def look(path: str, picture: str, query: str = "") -> None:
            answer = await page.goto(f"{PREFIX}{path}{query}")
            assert answer is not None
            assert (answer.status, urlsplit(page.url).path) == (200, PREFIX + path)
            assert len(await answer.body()) < MOST_BYTES, path
            name = (
                picture.translate({ord(sign): None for sign in "{}"}).strip("/").replace("/", "-") or "home"
            )
            await take_picture(page, f"{name}-{screen.name}{'' if scripts else '-scriptless'}")
            await check(page)
            if path not in BEFORE_SIGN_IN:
                await check_way_back(page)

        await look("/first-visit", "first-visit")
        await look("/join", "join", f"?link={link}")
        await page.get_by_label("User name").fill("maria")
        await page.get_by_label("Password").fill(PASSWORD)
        async with wait_for_page(page):
            await page.get_by_role("button", name="Create the user").click()
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign out", exact=True).click()
        await look("/sign-in", "sign-in")
        await sign_in(page)
        names = await make_everything(api, settings)
        for path in PAGES:
            if path not in BEFORE_SIGN_IN:
                await look(path.format_map(names), path)
        answer = await page.goto(f"{PREFIX}/products/none")
        assert answer is not None
        assert answer.status == 404
        await take_picture(page, f"refusal-{screen.name}")
        await check(page)


async def test_a_seller_gets_from_a_product_to_a_link_by_keyboard_alone(
    api: Api, owner: Visitor, settings: Settings
) -> None:
    root = Path(settings.storage["main"].root)  # type: ignore[union-attr]
    (root / "kit").mkdir()
    (root / "kit" / "kick.wav").write_bytes(b"kick" * 1000)
    async with open_browser() as browser, open_page(browser, api.url, DESKTOP) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await sign_in(page)
        await page.get_by_role("link", name="Products", exact=True).focus()
        await press_enter(page)
        await page.get_by_role("link", name="New product").focus()
        await press_enter(page)
        await page.get_by_label("Name").focus()
        await page.keyboard.type("Kits & Kicks")
        await page.keyboard.press("Tab")
        await page.keyboard.type("kits")
        await press_enter(page)
        await expect(page.get_by_role("status")).to_contain_text("Now publish its files")
        await check_page(page)
        await page.get_by_role("link", name="Publish the first version").focus()
        await press_enter(page)
        await page.get_by_label("kit/").focus()
        await page.keyboard.press("Space")
        await page.get_by_role("textbox", name="Version").focus()
        await page.keyboard.type("1.0.0")
        await press_enter(page)
        await expect(page.get_by_text("The version is published.")).to_be_visible()
        await take_picture(page, "job-desktop")
        await check_page(page)
        await page.get_by_role("link", name="To the product").focus()
        await press_enter(page)
        await page.get_by_role("link", name="Generate Download Token").first.focus()
        await press_enter(page)
        await page.get_by_label("E-mail address").focus()
        await page.keyboard.type("ann@example.com")
        await press_enter(page)
        link = page.get_by_label("The link", exact=True)
        await take_picture(page, "token-made-desktop")
        await check_page(page)
        button = page.get_by_role("button", name="Copy")
        await button.focus()
        await note_texts(button)
        await page.keyboard.press("Enter")
        await wait_until_true(page, "seen.includes('Copied')")  # it says so for two seconds
        pressed = page.locator("[data-copy]")  # its name is "Copied" now
        await pressed.click()
        await page.wait_for_timeout(2100)
        await expect(pressed).to_have_text("Copy")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == await link.input_value()
        assert copied.endswith("/kick.wav")
        await expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
        refuse = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }"
        await page.evaluate(refuse)
        await page.keyboard.press("Enter")
        marked = "(({value, selectionStart, selectionEnd}) => value.slice(selectionStart, selectionEnd))"
        await wait_until_true(page, f"{marked}(document.querySelector('.copy input')) !== ''")
        assert await page.evaluate(f"{marked}(document.querySelector('.copy input'))") == copied
        assert "Generate another one" in await tab_through(page)


async def test_forms_that_were_refused_can_be_used(api: Api, owner: Visitor, settings: Settings) -> None:
    day = await make_ordinary_day(api, settings)
    async with open_browser() as browser, open_page(browser, api.url, PHONE) as page:
        await sign_in(page)
        await page.goto(f"{PREFIX}/products/drums/token")
        await page.get_by_label("Works for").fill("soon")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Generate the link").click()
        await take_picture(page, "token-refused-phone")
        await check_page(page)
        await page.goto(f"{PREFIX}/customers/{day.customer}")
        await page.get_by_text("Revoke", exact=False).first.click()
        await page.get_by_label("Why").first.fill("Shared")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Revoke it; its links end").click()
        await expect(page.get_by_text("You revoked it.")).to_be_visible()
        await take_picture(page, "customer-revoked-phone")
        await check_page(page)
        await page.goto(f"{PREFIX}/orders?q=nothing-fits")
        await check_page(page)
