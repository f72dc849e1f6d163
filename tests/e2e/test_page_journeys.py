"""The buyer's and the seller's journeys through the pages, in a browser, with real processes and mails."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from gateway.secrets import token_id
from tests.support.browser import (
    DESKTOP,
    Screen,
    check_page,
    note_texts,
    open_browser,
    open_page,
    wait_for_page,
    wait_until_true,
)
from tests.support.page_shop import LARGE, PageShop, break_off, open_page_shop, save
from tests.support.programs import need
from tests.support.timing import patience
from tests.support.users import PASSWORD
from tests.support.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

HANDSET = Screen("handset", 390, 844, is_phone=True)
WAYS = pytest.mark.parametrize(
    ("screen", "scripts"),
    [(HANDSET, True), (HANDSET, False), (DESKTOP, True), (DESKTOP, False)],
    ids=["phone", "phone-without-scripts", "desktop", "desktop-without-scripts"],
)
FIRST, SECOND = b"the first version " * 10_000, b"the second version " * 10_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PageShop]:
    async with open_page_shop(tmp_path_factory.mktemp("page-shop")) as running:
        yield running


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser keeps what it downloads."""
    return tmp_path_factory.mktemp("downloads")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(downloads: Path) -> AsyncIterator[Browser]:
    async with open_browser(downloads) as opened:
        yield opened


async def sell(shop: PageShop, product: str) -> str:
    """Publish a product, and let a platform tell of a purchase of it. Returns the buyer's address."""
    seller, story = shop.storefront, shop.new_story()
    paths = [shop.put(f"{product}/{name}", text) for name, text in (("kit.zip", FIRST), ("film.mp4", LARGE))]
    await shop.do(seller.ask, "product", "add", product, "1.0", *paths, "--name", f"The kit {product}")
    connection = await shop.do(seller.connect, "shopify", mail=True)
    first, second = story.items
    await shop.do(seller.map, connection, {first: product, second: "loops.bin"})
    assert await shop.do(seller.deliver, connection, *story.bought) == 200
    return story.email


async def sign_in_by_link(shop: PageShop, page: Page, address: str) -> None:
    """From the mail that the purchase is ready to the page, to the mail with the link, and in."""
    ready = await shop.mail(address, 1)
    [address_of_portal] = {each for each in ready.links if "/my" in each}
    await page.goto(address_of_portal)
    await check_page(page)
    await page.get_by_label("E-mail address").fill(address)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Send me a mail").click()
    letter = await shop.mail(address, 2)
    [link] = [each for each in letter.links if "/my/sign-in/" in each]
    await page.goto(link)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Show my purchases").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your purchases")


@WAYS
async def test_a_buyer_gets_what_was_bought_however_often_it_breaks_off(
    shop: PageShop, browser: Browser, downloads: Path, tmp_path: Path, screen: Screen, scripts: bool
) -> None:
    product = f"kit-{screen.name}-{scripts}".lower()
    address = await sell(shop, product)
    async with open_page(browser, shop.public, screen, scripts=scripts) as page:
        await sign_in_by_link(shop, page, address)
        await check_page(page)
        async with wait_for_page(page):
            await page.get_by_role("link", name=f"The kit {product}", exact=True).click()
        whole = page.get_by_role("button", name="Download kit.zip", exact=True)
        assert await save(page, whole.click, tmp_path / "kit.zip") == FIRST

        large = page.get_by_role("button", name="Download film.mp4", exact=True)
        name, part = await break_off(page, large.click, downloads, 1 << 20)
        assert name == "film.mp4"
        assert LARGE.startswith(part)
        (tmp_path / name).write_bytes(part)
        async with wait_for_page(page):
            await page.get_by_role("button", name="Continue a broken download film.mp4").click()
        await check_page(page)
        command = shlex.split(await page.locator("code", has_text="curl -fL -C -").inner_text())
        await shop.do(subprocess.run, [need("curl"), *command[1:]], cwd=tmp_path, check=True, timeout=60)
        assert (tmp_path / name).read_bytes() == LARGE
        fresh = token_id(urlsplit(command[-1]).path.split("/")[2])
        await until(lambda: bool(shop.storefront.entries(fresh)), 30)
        [entry] = shop.storefront.entries(fresh)
        assert (entry["range"], entry["sent"]) == (f"bytes={len(part)}-", len(LARGE) - len(part))

        update = shop.put(f"{product}/second/kit.zip", SECOND)
        await shop.do(shop.storefront.ask, "product", "add", product, "2.0", update, "--activate", "--notify")
        news = await shop.mail(address, 3)
        assert "2.0" in news.text
        await page.goto(next(each for each in news.links if "/my" in each))
        async with wait_for_page(page):
            await page.get_by_role("link", name=f"The kit {product}", exact=True).click()
        await page.get_by_role("heading", name="Version 2.0").first.wait_for()
        await check_page(page)
        assert await save(page, whole.click, tmp_path / "kit.zip") == SECOND
        async with wait_for_page(page):
            await page.get_by_role("link", name="Version 1.0").click()
        assert await save(page, whole.click, tmp_path / "kit.zip") == FIRST


async def become_owner(shop: PageShop, page: Page, name: str) -> None:
    """By the link that `up` has printed, or by one that the command line makes."""
    link = shop.setup_links.pop() if shop.setup_links else None
    if link is None:
        made = await shop.do(shop.storefront.ask, "user", "invite", "--dashboard-url", shop.private)
        link = made["url"]
    await page.goto(link)
    await page.get_by_label("User name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Create the user").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Today")


async def publish(shop: PageShop, page: Page, product: str) -> None:
    """Make a product, and publish a folder of the storage as its first version."""
    shop.put(f"{product}/kit.zip", FIRST)
    async with wait_for_page(page):
        await page.get_by_role("link", name="Products", exact=True).click()
    async with wait_for_page(page):
        await page.get_by_role("link", name="New product").click()
    await page.get_by_label("Name").fill(f"The kit {product}")
    await page.get_by_role("textbox", name="Id").fill(product)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Make the product").click()
    async with wait_for_page(page):
        await page.get_by_role("link", name="Publish the first version").click()
    if await page.get_by_role("navigation", name="Storages").count():
        async with wait_for_page(page):
            await page.get_by_role("link", name="main", exact=True).click()
    await page.get_by_label(f"{product}/", exact=True).check()
    await page.get_by_role("textbox", name="Version").fill("1.0")
    async with wait_for_page(page):
        await page.get_by_role("button", name="Publish").click()
    async with asyncio.timeout(patience(60)):
        while not await page.get_by_text("The version is published.").count():
            async with wait_for_page(page):
                await page.get_by_role("link", name="Look again").click()
    async with wait_for_page(page):
        await page.get_by_role("link", name="To the product").click()


@WAYS
async def test_a_seller_publishes_and_hands_out_a_link_and_sees_its_use(
    shop: PageShop, browser: Browser, tmp_path: Path, screen: Screen, scripts: bool
) -> None:
    product = f"wares-{screen.name}-{scripts}".lower()
    async with open_page(browser, shop.private, screen, scripts=scripts) as page:
        await become_owner(shop, page, f"maria of {product}")
        await publish(shop, page, product)
        async with wait_for_page(page):
            await page.get_by_role("link", name="Generate Download Token").first.click()
        await page.get_by_label("E-mail address").fill("ann@example.com")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Generate the link").click()
        link = await page.get_by_label("The link", exact=True).input_value()
        button = page.get_by_role("button", name="Copy")
        if scripts:
            await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            await note_texts(button)
            await button.click()
            await wait_until_true(page, "seen.includes('Copied')")  # it says so for two seconds
            assert await page.evaluate("navigator.clipboard.readText()") == link
        else:
            assert not await button.is_visible(), "it can do nothing"
            assert await page.locator(".link-text code").inner_text() == link
        await check_page(page)
        token = page.locator("dd a", has_text=token_id(urlsplit(link).path.split("/")[2]))
        async with wait_for_page(page):
            await token.click()
        await expect(page.get_by_text("Nothing yet.")).to_be_visible()

        curl = [need("curl"), "-sSfOJ", link]
        await shop.do(subprocess.run, curl, cwd=tmp_path, check=True, timeout=60)
        assert (tmp_path / "kit.zip").read_bytes() == FIRST
        async with asyncio.timeout(patience(30)):
            while await page.get_by_text("Nothing yet.").count():
                await page.reload()
        await expect(page.get_by_text("100 %")).to_be_visible()
        await check_page(page)
        async with wait_for_page(page):
            await page.get_by_role("link", name="Usage", exact=True).click()
        await page.get_by_label("Product id").fill(product)
        async with wait_for_page(page):
            await page.get_by_role("button", name="Search", exact=True).click()
        await expect(page.get_by_role("link", name=product, exact=True)).to_be_visible()
        figures = await page.locator(".figures .figure").all_inner_texts()
        assert figures[:2] == ["1", "1"]
        await check_page(page)
