"""Lines of refused API keys and of webhooks with a wrong signature, which count apart from each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.mint.service import serve as serve_mint
from gateway.secrets import new_key
from gateway.web.service import serve as serve_web
from tests.support.control_plane import PUBLIC_URL, Api, Serve, check_problem, run_api
from tests.support.databases import Databases, url_of
from tests.support.webhooks import SECRETS

LINE = 5


@pytest.fixture(params=["mint", "web"])
async def guarded(
    settings: Settings, databases: Databases, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Api, str, str]]:
    """A service behind a front proxy on this machine, and a URL of it that needs a key."""
    serve: Serve = serve_mint if request.param == "mint" else serve_web
    location = await databases.make()
    update = {
        "max_key_attempts": LINE,
        "max_hook_attempts": LINE,
        "database_url": url_of(location),
        "trusted_proxies": (ip_network("127.0.0.1"),),
    }
    method, path = ("POST", "/api/generate-download-url") if serve is serve_mint else ("GET", "/api/orders")
    async with run_api(serve, settings.model_copy(update=update)) as api:
        yield api, method, path
    await databases.remove(location)


async def test_a_line_of_keys(guarded: tuple[Api, str, str]) -> None:
    api, method, path = guarded

    async def ask(key: str, client: str = "203.0.113.1") -> tuple[int, Any, Any]:
        body = {"productId": "drums"} if method == "POST" else None
        return await api.ask(method, path, body, key=key, headers={"X-Forwarded-For": client})

    assert (await ask(api.key))[0] == 200
    statuses = [(await ask(new_key() if number % 2 else "é" * 200))[0] for number in range(LINE)]
    assert statuses == [401] * LINE
    fresh = (await api.store.keys.create("fresh")).key
    for key in (new_key(), fresh):
        status, body, response = await ask(key)
        check_problem(status, body, response.content_type)
        assert (status, body["code"]) == (429, "too_many_attempts")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert (await ask(api.key))[0] == 200  # it was valid a moment ago
    assert (await ask(fresh, "203.0.113.2"))[0] == 200
    assert (await ask("", "203.0.113.3"))[0] == 401


async def test_a_line_of_signatures(guarded: tuple[Api, str, str]) -> None:
    """For each connection: whoever sends junk to one does not stop the others of the same platform."""
    api, method, _ = guarded
    if method == "POST":
        pytest.skip("the mint service takes no webhooks")
    headers = {"X-Forwarded-For": "203.0.113.4"}
    paths = []
    for name in ("one", "other"):
        shop = {"kind": "stripe", "name": name, "secrets": [SECRETS["stripe"]]}
        _, answer, _ = await api.ask("POST", "/api/connections", shop, headers=headers)
        paths.append(answer["connection"]["url"].removeprefix(PUBLIC_URL))

    async def deliver(path: str, client: str = "203.0.113.4") -> int:
        given = {"X-Forwarded-For": client, "Stripe-Signature": "t=1,v1=00"}
        async with api.session.post(api.url + path, data=b"{}", headers=given) as response:
            if response.status == 429:
                assert 1 <= int(response.headers["Retry-After"]) <= 60
            return response.status

    assert [await deliver(paths[0]) for _ in range(LINE + 2)] == [401] * LINE + [429] * 2
    assert (await deliver(paths[1]), await deliver(paths[0], "203.0.113.5")) == (401, 401)
    assert (await api.ask("GET", "/api/connections", headers=headers))[0] == 200
