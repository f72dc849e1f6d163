"""Settings and connections of the dashboard in Chromium: with scripts and without, by keyboard, attacked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from gateway.config.settings import Settings
from gateway.users.links import make_setup_link
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
    wait_for_page,
    wait_until_true,
)
from tests.support.control_plane import Api, listen, url_of
from tests.support.dashboard import Visitor, open_database_of
from tests.support.timing import patience
from tests.support.users import PASSWORD
from tests.support.webhooks import SECRETS, fixture, signature

pytestmark = pytest.mark.slow

NEW = "seven plums at noon"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


@pytest.fixture
def base(api: Api) -> str:
    """Where browsers allow passkeys."""
    return f"http://localhost:{api.port}"


async def set_up(page: Page, settings: Settings) -> None:
    """Become the owner by the link."""
    async with open_database_of(settings) as database:
        secret = await make_setup_link(database)
    await page.goto(f"/dashboard/join?link={secret}")
    await page.get_by_label("User name").fill("Maria Schmidt")
    await page.get_by_label("Password").fill(PASSWORD)
    await check_page(page)
    await take_picture(page, "dashboard-set-up")
    async with wait_for_page(page):
        await page.get_by_role("button", name="Create the user").click()


async def enter(page: Page, name: str = "maria schmidt", password: str = PASSWORD) -> None:
    await page.get_by_label("User name").fill(name)
    await page.get_by_label("Password").fill(password)
    async with wait_for_page(page):
        await page.get_by_role("button", name="Sign in", exact=True).click()


async def send_order(api: Api, address: str) -> None:
    """Let the shop tell of an order."""
    body = json.dumps(fixture("woocommerce", "order_updated")).encode()
    headers = signature("woocommerce", body, SECRETS["woocommerce"], int(time.time()))
    async with aiohttp.ClientSession() as session:
        path = "/hooks/" + address.rpartition("/")[2]
        async with session.post(api.url + path, data=body, headers=headers) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("screen", "scripts"),
    [(DESKTOP, True), (PHONE, False), (NARROW, True)],
    ids=lambda each: str(getattr(each, "name", each)),
)
async def test_an_owner_sets_up_connects_a_shop_and_invites(
    browser: Browser, api: Api, base: str, settings: Settings, screen: Screen, scripts: bool
) -> None:
    async with open_page(browser, base, screen, scripts=scripts) as page:
        picture = screen.name
        await page.goto("/")
        await check_page(page)
        assert "Set up the dashboard" in await page.inner_text("h1")
        await take_picture(page, f"dashboard-first-visit-{picture}")
        await set_up(page, settings)
        await page.goto("/dashboard/connections")
        await check_page(page)
        await take_picture(page, f"dashboard-connections-empty-{picture}")
        async with wait_for_page(page):
            await page.get_by_role("link", name="Connect a shop").click()
        await check_page(page)
        await take_picture(page, f"dashboard-platforms-{picture}")
        async with wait_for_page(page):
            await page.get_by_role("link", name="WooCommerce").click()
        await page.get_by_label("Name").fill("Sample shop")
        await check_page(page)
        async with wait_for_page(page):
            await page.get_by_role("button", name="Go on").click()
        await check_page(page)
        await take_picture(page, f"dashboard-connection-new-{picture}")
        address = await page.get_by_label("The address for webhooks").input_value()
        await page.get_by_label("Signing secret").fill(SECRETS["woocommerce"])
        async with wait_for_page(page):
            await page.get_by_role("button", name="Keep the secret").click()
        await send_order(api, address)
        async with asyncio.timeout(patience(60)):
            while await page.get_by_text("waits", exact=True).count() < 2:  # the filter's, and the event's
                await page.wait_for_timeout(100)
                await page.reload()
        await check_page(page)
        await take_picture(page, f"dashboard-connection-{picture}")
        async with wait_for_page(page):
            await page.get_by_role("link", name="order.updated").or_(page.locator("td a")).first.click()
        await check_page(page)
        await take_picture(page, f"dashboard-event-{picture}")
        await page.goto("/dashboard/unmapped")
        await check_page(page)
        await take_picture(page, f"dashboard-unmapped-{picture}")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Map").first.click()
        await check_page(page)
        assert "The item is mapped" in await page.inner_text(".notice")
        await page.goto("/dashboard/settings/users")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Make a link").click()
        assert "/dashboard/join?link=" in await page.get_by_label("The link").input_value()
        assert await page.get_by_role("button", name="Copy").is_visible() == scripts
        await check_page(page)
        await page.locator("details.ask summary").first.click()
        await check_page(page)
        await take_picture(page, f"dashboard-users-asking-{picture}")
        await page.goto("/dashboard/settings/keys")
        await page.get_by_label("Name").fill("Sample shop")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Make the key").click()
        assert (await page.get_by_label("The key").input_value()).startswith("gk_")
        await check_page(page)
        await take_picture(page, f"dashboard-key-made-{picture}")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign out", exact=True).click()
        await check_page(page)
        await take_picture(page, f"dashboard-sign-in-{picture}")
        await enter(page, password="not the password")
        await check_page(page)
        assert "is not right" in await page.inner_text(".notice.bad")
        await enter(page)
        await page.get_by_text("Maria Schmidt").first.wait_for()


async def test_a_passkey_of_a_device(browser: Browser, base: str, settings: Settings) -> None:
    """Chromium's virtual authenticator: a phone's lock, with a person at it."""
    async with open_page(browser, base) as page:
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        await set_up(page, settings)
        await page.goto("/dashboard/settings")
        await page.get_by_label("Name of the passkey").fill("My phone")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Add a passkey").click()
        await page.get_by_text("The passkey is added.").wait_for()
        assert await page.get_by_text("My phone").count() == 1
        await check_page(page)
        await take_picture(page, "dashboard-passkeys")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.get_by_role("button", name="Sign in with a passkey").click()
        await page.get_by_text("Maria Schmidt").first.wait_for()


async def test_everything_is_reached_by_keyboard(browser: Browser, base: str, settings: Settings) -> None:
    async with open_page(browser, base) as page:
        await set_up(page, settings)
        await page.goto("/dashboard/settings/users")
        names = await tab_through(page)
        for name in (
            "Go to the content",
            "Connections",
            "Sign out",
            "API keys",
            "Remove",
            "Role",
            "Make a link",
        ):
            assert name in names, names
        await page.goto("/dashboard/connect/stripe")
        await wait_until_true(page, "document.activeElement.matches('input')")  # a moment after it was loaded
        await page.keyboard.type("Shop of Stripe")
        async with wait_for_page(page):
            await page.keyboard.press("Enter")
        await page.get_by_text("The connection is made.").wait_for()
        await tab_through(page, 80)


@pytest.fixture
async def evil() -> AsyncIterator[str]:
    """Another site, with the pages of an attacker."""
    pages: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=pages.get("/", ""), content_type="text/html")

    async def put(request: web.Request) -> web.Response:
        pages["/"] = await request.text()
        return web.Response()

    application = web.Application()
    application.router.add_get("/", answer)
    application.router.add_put("/", put)
    runner = web.AppRunner(application)
    await runner.setup()
    sock = listen()
    await web.SockSite(runner, sock).start()
    yield url_of(sock).replace("127.0.0.1", "localhost")
    await runner.cleanup()


async def test_another_site_changes_nothing_and_shows_nothing(
    browser: Browser, api: Api, settings: Settings, evil: str
) -> None:
    """Requests by form, fetch, image and WebSocket with the owner's cookie, and a frame to click on."""
    target = f"{api.url}/dashboard"
    attack = f"""<body><form id=f method=post action="{target}/settings/users/invite" target=x>
      <input name=role value=owner></form><iframe name=x></iframe>
      <iframe name=y src="{target}/settings/users"></iframe>
      <img src="{target}/sign-out"><script>
      const body = new URLSearchParams({{name: "evil", role: "admin", expires: ""}});
      const done = [];
      for (const mode of ["no-cors", "cors"])
        done.push(fetch("{target}/settings/keys/create",
          {{method: "POST", credentials: "include", mode, body}})
          .then(() => mode + " went", () => mode + " was refused"));
      done.push(new Promise((resolve) => {{
        const socket = new WebSocket("{target.replace("http", "ws")}/settings/users");
        socket.onopen = () => resolve("socket is open"); socket.onerror = () => resolve("socket was refused");
      }}));
      f.submit();
      Promise.all(done).then((all) => {{ document.title = all.join(); }});
      </script>"""
    async with open_page(browser, api.url, elsewhere=True, allowed=("CORS", "frame", "WebSocket")) as page:
        await set_up(page, settings)
        keys = len(await api.store.keys.list_all())
        async with aiohttp.ClientSession() as session:
            await session.put(evil, data=attack)
        await page.goto(evil)
        await wait_until_true(page, "document.title")
        assert await page.title() == "no-cors was refused,cors was refused,socket was refused"
        frame = page.frame("y")
        assert frame is not None
        assert "maria" not in (await frame.content()).lower()
        assert len(await api.store.keys.list_all()) == keys
        actions = {each.action for each in await api.store.audit.latest(50)}
        assert actions == {"user.create"}
        await page.goto("/dashboard/settings/users")
        assert "Maria Schmidt" in await page.inner_text("main"), "still signed in"


async def test_a_page_is_not_kept_for_whoever_comes_next(
    browser: Browser, base: str, settings: Settings, owner: Visitor
) -> None:
    """After signing out, going back shows nothing that was private."""
    async with open_page(browser, base) as page:
        await page.goto("/dashboard/sign-in")
        await enter(page, "maria")
        await page.goto("/dashboard/settings/users")
        async with wait_for_page(page):
            await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.go_back()
        assert "/sign-in" in page.url
