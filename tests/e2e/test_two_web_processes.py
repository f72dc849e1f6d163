"""Two web processes on one PostgreSQL: events are applied once, tokens ended, and guesses count together."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.web.dashboard.attempts import OF_ADDRESS
from tests.support.dashboard import open_visitor, sign_in
from tests.support.listening import found_port
from tests.support.platform_stories import shopify
from tests.support.storefront import Storefront
from tests.support.waiting import wait_until

NUMBERS = itertools.count(3000)


@pytest.fixture
def second_port(storefront: Storefront, tmp_path: Path) -> Iterator[int]:
    """Where a second web process of the machine listens. It has the same store, database and secrets."""
    if storefront.postgres is None:
        pytest.skip("a file is for the processes of one machine")
    [store] = storefront.data.rglob("store.sock")
    log = tmp_path / "stderr"
    command = ["serve-web", "--redis-url", f"unix://{store}", "--dashboard-listen", "127.0.0.1:0"]
    command += ["--web-listen", "127.0.0.1:0"]
    environment = os.environ | storefront.variables
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command, "--log-level", "info"],
            cwd=storefront.folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        )
    try:
        wait_until(lambda: '"serving the admin API"' in log.read_text(), "the second one serves", 60)
        yield found_port(log.read_text(), "dashboard_listen")
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_each_event_is_applied_once(storefront: Storefront, second_port: int) -> None:
    shop = storefront.connect("shopify")
    stories = [shopify(next(NUMBERS)) for _ in range(10)]
    storefront.map(shop, stories[0].items)
    ports = itertools.cycle((storefront.dashboard, second_port))
    for story in stories:
        for message in (story.bought, story.one_refunded, story.bought):
            assert storefront.deliver(shop, *message, port=next(ports)) == 200
    links = []
    for story in stories:
        links.append(storefront.minted(storefront.becomes(story.email, status="active", quantity=2)))
    for story in stories:
        for _ in range(2):
            assert storefront.deliver(shop, *story.all_refunded, port=next(ports)) == 200
    for story in stories:
        storefront.becomes(story.email, status="revoked", quantity=0)
    wait_until(lambda: {storefront.probe(link) for link in links} == {403}, "all links have ended")
    wait_until(lambda: {each["state"] for each in storefront.events(shop)} == {"applied"}, "all are applied")
    assert len(storefront.events(shop)) == 30


@pytest.mark.slow
def test_who_guesses_has_one_line_for_both(storefront: Storefront, second_port: int) -> None:
    async def guess() -> list[tuple[int, int]]:
        found = []
        for number, port in zip(range(OF_ADDRESS.limit + 4), itertools.cycle(ports), strict=False):
            async with open_visitor(f"http://127.0.0.1:{port}") as visitor:
                found.append((port, (await sign_in(visitor, f"name {number}", "guess")).status))
        return found

    ports = (storefront.dashboard, second_port)
    found = asyncio.run(guess())
    assert [status for _, status in found] == [401] * OF_ADDRESS.limit + [429] * 4
    assert {port for port, status in found if status == 401} == set(ports)
