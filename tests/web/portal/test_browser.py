"""The portal in a real browser: every page on a phone and a desktop, in light and dark."""

from __future__ import annotations

import pytest

from tests.support.browser import SCREENS, Screen, check_page, open_browser, open_page, take_picture
from tests.support.portal import LIBRARY, Portal

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_every_page_can_be_used(portal: Portal, screen: Screen) -> None:
    email = portal.address()
    await portal.buy(email, LIBRARY, number="#1002")
    await portal.buy(email, number="#1001")
    visitor = await portal.signed_in(email)
    kit, library = await portal.purchases(email)
    async with open_browser() as browser, open_page(browser, portal.api.url, screen) as page:
        await page.goto("/my/")
        await check_page(page)
        await take_picture(page, f"sign-in-{screen.name}")
        await page.context.add_cookies(
            [{"name": name, "value": value, "url": portal.api.url} for name, value in visitor.cookies.items()]
        )
        for name, path in (
            ("list", "/"),
            ("kit", f"/purchases/{kit}"),
            ("library", f"/purchases/{library}"),
            ("account", "/account"),
        ):
            await page.goto(f"/my{path}")
            await check_page(page)
            await take_picture(page, f"{name}-{screen.name}")
