"""The pages of daily work in Chromium: on every size, light and dark, without scripts, by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from gateway.config.settings import Settings
from tests.support.browser import (
    DESKTOP,
    NARROW,
    PHONE,
    Screen,
    check_page,
    open_browser,
    open_page,
    tab_through,
    take_picture,
)
from tests.support.control_plane import Api
from tests.support.dashboard import PREFIX, Visitor
from tests.support.dashboard_data import OrdinaryDay, make_ordinary_day
from tests.support.users import PASSWORD

pytestmark = pytest.mark.slow

MOST_BYTES = 60_000
"""Of one page: what a slow phone takes in a second."""


def paths_of(day: OrdinaryDay) -> dict[str, str]:
    """Every page that shows something."""
    return {
        "home": "/",
        "products": "/products",
        "product-new": "/new-product",
        "product": "/products/drums",
        "token-new": "/products/drums/token",
        "publish": "/products/drums/publish",
        "tokens": "/tokens",
        "token": f"/tokens/{day.token}",
        "orders": "/orders",
        "order": f"/orders/{day.order}",
        "customers": "/customers",
        "customer": f"/customers/{day.customer}",
        "customer-erase": f"/customers/{day.customer}/erase",
        "usage": "/usage",
    }


async def sign_in(page: Page) -> None:
    await page.goto(f"{PREFIX}/sign-in")
    await page.get_by_label("Name").fill("maria")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Today")


@pytest.mark.parametrize(
    ("screen", "scripts"),
    [(DESKTOP, True), (PHONE, True), (NARROW, True), (DESKTOP, False)],
    ids=["desktop", "phone", "narrow", "scriptless"],
)
async def test_every_page_can_be_used(
    api: Api, owner: Visitor, settings: Settings, screen: Screen, scripts: bool
) -> None:
    assert isinstance(settings.storage["main"].root, Path)  # type: ignore[union-attr]
    day = await make_ordinary_day(api, settings)
    async with open_browser() as browser, open_page(browser, api.url, screen, scripts=scripts) as page:
        await sign_in(page)
        for name, path in paths_of(day).items():
            answer = await page.goto(PREFIX + path)
            assert answer is not None
            assert answer.status == 200, path
            assert len(await answer.body()) < MOST_BYTES, path
            await take_picture(page, f"{name}-{screen.name}{'' if scripts else '-scriptless'}")
            await check_page(page)


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
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="New product").focus()
        await page.keyboard.press("Enter")
        await page.get_by_label("Name").focus()
        await page.keyboard.type("Kits & Kicks")
        await page.keyboard.press("Tab")
        await page.keyboard.type("kits")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("Now publish its files")
        await check_page(page)
        await page.get_by_role("link", name="Publish the first version").focus()
        await page.keyboard.press("Enter")
        await page.get_by_label("kit/").focus()
        await page.keyboard.press("Space")
        await page.get_by_role("textbox", name="Version").focus()
        await page.keyboard.type("1.0.0")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("The version is published.")).to_be_visible()
        await take_picture(page, "job-desktop")
        await check_page(page)
        await page.get_by_role("link", name="To the product").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Generate Download Token").first.focus()
        await page.keyboard.press("Enter")
        await page.get_by_label("E-mail address").focus()
        await page.keyboard.type("ann@example.com")
        await page.keyboard.press("Enter")
        link = page.get_by_label("The link", exact=True)
        await take_picture(page, "token-made-desktop")
        await check_page(page)
        await page.get_by_role("button", name="Copy").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == await link.input_value()
        assert copied.endswith("/kick.wav")
        assert "Generate another one" in await tab_through(page)


async def test_forms_that_were_refused_can_be_used(api: Api, owner: Visitor, settings: Settings) -> None:
    day = await make_ordinary_day(api, settings)
    async with open_browser() as browser, open_page(browser, api.url, PHONE) as page:
        await sign_in(page)
        await page.goto(f"{PREFIX}/products/drums/token")
        await page.get_by_label("Works for").fill("soon")
        await page.get_by_role("button", name="Generate the link").click()
        await take_picture(page, "token-refused-phone")
        await check_page(page)
        await page.goto(f"{PREFIX}/customers/{day.customer}")
        await page.get_by_text("Revoke", exact=False).first.click()
        await page.get_by_label("Why").first.fill("Shared")
        await page.get_by_role("button", name="Revoke it; its links end").click()
        await expect(page.get_by_text("You revoked it.")).to_be_visible()
        await take_picture(page, "customer-revoked-phone")
        await check_page(page)
        await page.goto(f"{PREFIX}/orders?q=nothing-fits")
        await check_page(page)
