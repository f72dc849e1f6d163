"""Pages in Chromium, by Playwright: on a phone and a desktop, with scripts and without, light and dark.

    async with open_browser() as browser, open_page(browser, url, PHONE, scripts=False) as page:
        await page.goto("/my")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign in").click()
        await check_page(page)

A key, a click and `go_back` return before the browser has the next page. Each of them that leads to another
page stands in a block of `wait_for_page`, because a busy machine may take seconds for it.

A page that is closed without a failure is also asserted to have loaded nothing from elsewhere, to have kept
its Content-Security-Policy, and to have had no fault of a script. Tests that open a browser are `slow`.

With SCREENSHOTS=FOLDER in the environment, `take_picture` writes pictures there for a person to look at.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from weakref import WeakSet

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    async_playwright,
    expect,
)

from tests.support.programs import need, refuse

AXE = Path(__file__).parent / "axe/node_modules/axe-core/axe.min.js"
PATIENCE_MS = 30_000
"""How long a busy machine may take for a page or an element."""
expect.set_options(timeout=PATIENCE_MS)


_FIND_CUT: Final = """() => {
  const narrow = matchMedia("(max-width: 40rem)").matches;
  const tables = [...document.querySelectorAll(".scroll:has(> table.stack)")];
  const places = [...document.querySelectorAll("nav [aria-current]")];
  return [
    ...tables.filter((each) => narrow && each.scrollWidth > each.clientWidth),
    ...places.filter((each) => each.getBoundingClientRect().right > innerWidth),
  ].map((each) => each.getAttribute("aria-label") || each.innerText);
}"""

_SCRIPTLESS: WeakSet[BrowserContext] = WeakSet()


@dataclass(frozen=True)
class Screen:
    """The size of a window in CSS pixels, and whether it is a phone's."""

    name: str
    width: int
    height: int
    is_phone: bool = False


DESKTOP = Screen("desktop", 1280, 800)
PHONE = Screen("phone", 360, 740, is_phone=True)
NARROW = Screen("narrow", 320, 568, is_phone=True)
"""The narrowest screen that WCAG 2.2 asks for (success criterion 1.4.10)."""
SCREENS = (DESKTOP, PHONE)


@asynccontextmanager
async def open_browser(downloads: Path | None = None) -> AsyncIterator[Browser]:
    """Chromium without a window. The test is skipped where it is not installed.

    downloads: the folder in which downloads are kept, also unfinished ones, until their page is closed.
    """
    program = need("chromium")
    async with async_playwright() as playwright:
        # as root Chromium has no sandbox; small machines have a small /dev/shm
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
            downloads_path=downloads,
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser,
    base: str,
    screen: Screen = DESKTOP,
    *,
    scripts: bool = True,
    scheme: Literal["light", "dark"] = "light",
    language: str = "en-GB",
    zone: str = "Europe/Berlin",
    elsewhere: bool = False,
    allowed: tuple[str, ...] = (),
    options: dict[str, Any] | None = None,
) -> AsyncIterator[Page]:
    """A page in a browser profile of its own: no cookie of another page is known in it.

    base: what relative addresses begin with. elsewhere: it may load from elsewhere, as an attacker's page
    does. allowed: texts of messages of the console that are no fault. options: further ones of
    `Browser.new_context`.
    """
    context = await browser.new_context(
        base_url=base,
        viewport={"width": screen.width, "height": screen.height},
        is_mobile=screen.is_phone,
        has_touch=screen.is_phone,
        java_script_enabled=scripts,
        color_scheme=scheme,
        locale=language,
        timezone_id=zone,
        **(options or {}),
    )
    context.set_default_timeout(PATIENCE_MS)
    if not scripts:
        _SCRIPTLESS.add(context)
    faults: list[str] = []
    own = urlsplit(base)[:2]

    def note_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if not elsewhere and parts[:2] != own and parts.scheme not in ("data", "blob", "about"):
            faults.append(f"a request to {request.url}")

    def note_message(message: ConsoleMessage) -> None:
        # a refusal (4xx, 5xx) that a test asks for has a message, too; a test looks at statuses itself
        text = message.text
        is_refusal = text.startswith("Failed to load resource")
        if message.type == "error" and not is_refusal and not any(each in text for each in allowed):
            faults.append(f"on the console: {text}")

    context.on("request", note_request)
    context.on("console", note_message)
    context.on("weberror", lambda error: faults.append(f"in a script: {error.error}"))
    try:
        yield await context.new_page()
    finally:
        await context.close()
    assert faults == []


@asynccontextmanager
async def wait_for_page(page: Page) -> AsyncIterator[None]:
    """Wait until the page that is opened in the block is there, and its scripts have run.

    A key and a click return before the browser has the answer, so that what follows would sometimes look at
    the page before. Nor is it enough to wait for a text of the new page: that is there before the rest is.
    """
    async with page.expect_navigation(wait_until="domcontentloaded"):
        yield


async def wait_until_true(page: Page, expression: str) -> None:
    """Wait until an expression of JavaScript is true in the page.

    Playwright's own `wait_for_function` is not for our pages: where it has to ask a second time, the page's
    Content-Security-Policy refuses it.
    """
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await page.evaluate(expression):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.02)


async def note_texts(element: Locator) -> None:
    """From now on keep each text that an element has in `seen`, a list of the page.

    A text that goes away by itself may be gone before a test that a busy machine holds up looks at it.
    """
    await element.evaluate(
        """element => {
          window.seen = [];
          const note = () => window.seen.push(element.textContent);
          new MutationObserver(note).observe(element, {childList: true, characterData: true, subtree: true});
        }"""
    )


@cache
def _axe() -> str:
    if not AXE.exists():
        refuse("axe-core is not installed (npm ci --prefix tests/support/axe)")
    return AXE.read_text(encoding="utf-8")


async def find_violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is shown now: each rule with the elements."""
    await page.evaluate(_axe())
    found = (await page.evaluate("axe.run(document, {resultTypes: ['violations']})"))["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes']]}" for each in found
    ]


async def check_page(page: Page) -> None:
    """Assert that people can use the page: axe-core finds nothing in light and dark, and nothing is cut off.

    axe-core is a script: where the page has none, only the width is looked at.
    """
    for scheme in ("light", "dark") if page.context not in _SCRIPTLESS else ():
        await page.emulate_media(color_scheme=scheme)
        assert await find_violations(page) == [], f"{page.url} ({scheme})"
    await page.emulate_media(color_scheme="light")
    await check_width(page)


async def check_width(page: Page) -> None:
    """Assert that nothing is cut off: the page does not scroll sideways (WCAG 2.2, criterion 1.4.10).

    Nor does a table whose rows are stacked on a narrow screen, and where one is can be seen in each menu.
    """
    wide, room = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room, f"{page.url} is {wide} pixels wide on {room}"
    cut = await page.evaluate(_FIND_CUT)
    assert cut == [], f"{page.url} cuts off {cut} on {room} pixels"


async def check_way_back(page: Page) -> None:
    """Assert that a link of the page itself leads on, besides the name of the shop at its top."""
    ways = await page.locator("nav a, main a").count()
    assert ways, f"{page.url} has no way back"


async def tab_through(page: Page, most: int = 60) -> list[str]:
    """Press Tab until the page's end: the name of each element that got the focus, all of them visible."""
    names: list[str] = []
    await page.evaluate("document.activeElement && document.activeElement.blur()")
    for _ in range(most):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            """() => {
              const element = document.activeElement;
              if (!element || element === document.body) return null;
              const box = element.getBoundingClientRect(), style = getComputedStyle(element);
              const label = element.labels && element.labels[0];
              return {
                name: (label || element).innerText.trim() || element.getAttribute('aria-label') || '',
                visible: box.width > 0 && box.height > 0,
                marked: style.outlineStyle !== 'none' || style.boxShadow !== 'none',
              };
            }"""
        )
        if found is None:
            break
        assert found["visible"], f"{found['name']} has the focus and cannot be seen"
        assert found["marked"], f"{found['name']} does not show that it has the focus"
        names.append(found["name"])
    return names


async def take_picture(page: Page, name: str) -> None:
    """Write pictures of the whole page to SCREENSHOTS, in light and dark. name: what the files begin with."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.screenshot(path=Path(folder) / f"{name}-{scheme}.png", full_page=True)
        await page.emulate_media(color_scheme="light")
