"""A seller's machine for journeys through the pages: `up`, a mail server, a storage, and a platform.

Downloads are slow enough to be broken off in the middle, and to go on afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import Download, Page

from tests.support.mail_server import Mail, MailServer
from tests.support.platform_stories import Story, shopify
from tests.support.storefront import Storefront
from tests.support.timing import patience
from tests.support.waiting import until
from tests.support.webhooks import changed

T = TypeVar("T")

BYTES_A_SECOND = 3 << 20
"""What one download gets."""
LARGE = random.Random(21).randbytes(24 << 20)
"""A file that takes eight seconds, so that a busy machine, too, breaks it off before it is over."""
_NUMBERS = itertools.count(1)


@dataclass
class PageShop:
    """What the seller, the platform and the customer of a journey use."""

    storefront: Storefront
    server: MailServer
    setup_links: list[str]
    """The link that sets the dashboard up, until somebody has used it."""

    @property
    def public(self) -> str:
        """Where customers are."""
        return f"http://127.0.0.1:{self.storefront.port}"

    @property
    def private(self) -> str:
        """Where the seller is."""
        return f"http://127.0.0.1:{self.storefront.dashboard}"

    @property
    def files(self) -> Path:
        """The storage."""
        return self.storefront.folder / "files"

    async def do(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Do something that blocks, while mails are taken."""
        return await asyncio.to_thread(work, *arguments, **options)

    async def mail(self, address: str, number: int) -> Mail:
        """A mail to an address, by its number in the order in which they arrive."""

        def mails() -> list[Mail]:
            return [each for each in self.server.mails if address in each.recipients]

        await until(lambda: len(mails()) >= number, 30)
        return mails()[number - 1]

    def put(self, name: str, content: bytes) -> str:
        """Put a file into the storage. Returns its path."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def new_story(self) -> Story:
        """A purchase of this minute in a shop on Shopify."""
        story = shopify(next(_NUMBERS))
        order, fields = story.bought
        now = datetime.now(UTC).isoformat(timespec="seconds")
        bought = (changed(order, processed_at=now, created_at=now, updated_at=now), fields)
        return replace(story, bought=bought)


@asynccontextmanager
async def open_page_shop(folder: Path) -> AsyncIterator[PageShop]:
    """Start everything."""
    storefront = Storefront(folder)
    async with MailServer() as server:
        (folder / "files").mkdir()
        (folder / "config").mkdir()
        (folder / "config/gateway.toml").write_text(
            f'max_connection_rate = {BYTES_A_SECOND}\n[storage.main]\nroot = "{folder / "files"}"\n'
        )
        storefront.variables |= {
            "GATEWAY_MAIL_URL": server.url,
            "GATEWAY_MAIL_FROM": "shop@example.com",
            "GATEWAY_MAIL_PER_RECIPIENT": "1000",
        }
        try:
            await asyncio.to_thread(storefront.open)
            links = [each.strip() for each in storefront.output if "/join?link=" in each]
            yield PageShop(storefront, server, links)
        finally:
            await asyncio.to_thread(storefront.close)


async def save(page: Page, press: Callable[[], Any], target: Path) -> bytes:
    """Press a button that downloads, wait for the whole file, and read it."""
    async with page.expect_download() as begun:
        await press()
    download = await begun.value
    await download.save_as(target)
    return await asyncio.to_thread(target.read_bytes)


async def break_off(page: Page, press: Callable[[], Any], folder: Path, after: int) -> tuple[str, bytes]:
    """Press a button that downloads, and abort once more than `after` bytes are there.

    folder: where the browser keeps what it downloads. Returns the name of the file, and what a person finds
    of it on the disk.
    """
    known = await asyncio.to_thread(_names, folder)
    async with page.expect_download() as begun:
        await press()
    download: Download = await begun.value
    async with asyncio.timeout(patience(30)):
        while len(part := await asyncio.to_thread(_read_new, folder, known)) <= after:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    await download.cancel()
    assert await download.failure() == "canceled", "it was over before"
    return download.suggested_filename, part


def _names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def _read_new(folder: Path, known: set[str]) -> bytes:
    """What the one new file of a folder holds; nothing where there is none yet."""
    new = [each for each in folder.iterdir() if each.name not in known]
    return new[0].read_bytes() if new else b""
