"""The customers' pages as a browser uses them, without the browser: cookies are kept, forms are sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from multidict import CIMultiDictProxy
from sqlalchemy import select

from gateway.catalogue.catalogue import Catalogue
from gateway.database.engine import Database
from gateway.database.tables import ENTITLEMENT
from gateway.mail.news import make_secrets, read_choice
from gateway.manifest import Manifest, ManifestFile
from gateway.orders.applying import tell
from gateway.orders.customer_store import find_customer
from gateway.orders.facts import Line, Person
from gateway.orders.order_writer import Source
from gateway.web.portal.visitors import hash_of_address, subject_of
from gateway.web.sessions import Sessions
from tests.support.control_plane import Api
from tests.support.facts import line, snapshot
from tests.support.raw_connection import PATIENCE_SECONDS
from tests.support.waiting import until

SHOP = Source("shop")
DAY = 86_400_000
KIT = line("1", "product:kit")
LIBRARY = line("1", "product:library")
ODD_NAMES = (
    "Drums/Kick <01>.wav",
    '\u202egnp."><img src=x onerror=alert(1)>.zip',
    "a\nb  checksum=x\r\u2028c\\d'$(id)`.zip",
)
"""Names that would break a page, a list of files or a command line."""


@dataclass
class Answer:
    """A status, the fields and the text of an answer."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def location(self) -> str:
        """Where a redirect leads to."""
        return self.headers.get("Location", "")

    @property
    def words(self) -> str:
        """The text without its tags."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.text)))

    def lines_of_code(self) -> list[str]:
        """What the page shows to be copied."""
        return [unescape(each) for each in re.findall(r"<pre[^>]*><code>([^<]*)</code>", self.text)]

    def values(self, name: str) -> list[str]:
        """The values of all fields and buttons of a name."""
        found = re.findall(rf'<(?:input|button)[^>]*\bname="{name}"[^>]*?\bvalue="([^"]*)"', self.text)
        return [unescape(each) for each in found]


@dataclass
class Visitor:
    """A browser at the portal, with cookies of its own."""

    api: Api
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = "2001:db8::1"
    agent: str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request; cookies of the answer are kept. path: below /my, if it does not begin with it."""
        headers = {"User-Agent": self.agent, "X-Forwarded-For": self.address, **options.pop("headers", {})}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = self.api.url + (path if path.startswith(("/my", "/download")) else f"/my{path}")
        options = {"allow_redirects": False, "headers": headers, **options}
        async with self.api.session.request(method, url, **options) as response:
            for name, morsel in response.cookies.items():
                self.cookies[name] = morsel.value
                if not morsel.value:
                    del self.cookies[name]
            text = (await response.read()).decode("utf-8", "replace")
            return Answer(response.status, response.headers, text)

    async def get(self, path: str = "/", **options: Any) -> Answer:
        """GET a page."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, headers: Any = None, **form: str) -> Answer:
        """Send a form."""
        fields = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return await self.ask("POST", path, data=urlencode(form), headers=fields)


@dataclass
class Letter:
    """A mail that was written to a file."""

    text: str
    html: str
    subject: str

    @property
    def link(self) -> str:
        """The path of its link to the portal."""
        found = re.search(r"https?://[^/\s]+(/my/\S*)", self.text)
        assert found is not None, self.text
        return found[1]

    @property
    def code(self) -> str:
        """Its code, as it is written."""
        found = re.search(r"\b(\d{4} \d{4})\b", self.text)
        assert found is not None, self.text
        return found[1]


@dataclass
class Portal:
    """The public side of a web process, the database behind it, and the folder where its mails are.

    read: the mails that were read already, by the names of their files: to whom, and what they say.
    """

    api: Api
    database: Database
    mails: Path
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    read: dict[str, tuple[str, Letter]] = field(default_factory=dict)

    def visitor(self) -> Visitor:
        """A browser that knows nothing yet, at an address of its own."""
        number = next(self.numbers)
        return Visitor(self.api, address=f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")

    def address(self, name: str = "ann") -> str:
        """An e-mail address that no other test has."""
        return f"{name}-{next(self.numbers)}@example.com"

    async def buy(self, email: str, *lines: Line, name: str = "Ann", **values: Any) -> str:
        """Tell of an order, of one kit if nothing else is said. Returns its id at the platform."""
        order_id = str(values.pop("order_id", f"order-{next(self.numbers)}"))
        as_of = int(values.pop("as_of", 1_700_000_000_000))
        values = {"references": (), **values}
        person = Person(None, email, name)
        fact = snapshot(as_of, *(lines or (KIT,)), order_id=order_id, customer=person, **values)
        await tell(self.database, SHOP, [fact])
        return order_id

    async def customer(self, email: str) -> str:
        """The id of the customer of an address."""
        async with self.database.reading() as sql:
            customer = await find_customer(sql, email)
        assert customer is not None
        return customer

    async def link_of_news(self, email: str) -> str:
        """The path of the link in the foot of mails about new versions."""
        customer = await self.customer(email)
        async with self.database.writing() as sql:
            await make_secrets(sql, [customer])
            secret, _ = await read_choice(sql, customer)
        return f"/my/news/{secret}"

    async def purchases(self, email: str) -> list[str]:
        """The ids of an address's entitlements, by product."""
        customer = await self.customer(email)
        async with self.database.reading() as sql:
            rows = await sql.execute(
                select(ENTITLEMENT.c.id)
                .where(ENTITLEMENT.c.customer_id == customer)
                .order_by(ENTITLEMENT.c.product_id, ENTITLEMENT.c.id)
            )
            return [each for (each,) in rows]

    async def signed_in(self, email: str) -> Visitor:
        """A browser in which the customer of an address is signed in."""
        visitor = self.visitor()
        subject = subject_of(await self.customer(email), hash_of_address(email))
        secret = await Sessions(self.api.store.client, "customer").make(subject, visitor.agent)
        visitor.cookies["customer"] = secret
        return visitor

    async def buyer(self, *lines: Line, **values: Any) -> tuple[Visitor, str, str]:
        """Somebody who has bought and signed in: the browser, the address, the id of the purchase."""
        email = self.address()
        await self.buy(email, *lines, **values)
        return await self.signed_in(email), email, (await self.purchases(email))[0]

    def letters(self, email: str) -> list[Letter]:
        """The mails to an address, in the order of their ids. Each file is read once."""
        for file in self.mails.glob("*.eml"):
            if file.name not in self.read:
                message = message_from_bytes(file.read_bytes(), policy=policy.default)
                plain, html = message.get_body(("plain",)), message.get_body(("html",))
                assert plain is not None
                assert html is not None
                letter = Letter(plain.get_content(), html.get_content(), str(message["Subject"]))
                self.read[file.name] = (str(message["To"]), letter)
        return [letter for _, (to, letter) in sorted(self.read.items()) if email in to]

    async def letter(self, email: str, number: int = 1) -> Letter:
        """The last of so many mails to an address, once it is there."""

        await until(lambda: len(self.letters(email)) >= number, PATIENCE_SECONDS)
        return self.letters(email)[-1]


async def publish_versions(portal: Portal) -> None:
    """Publish the kit in two versions of one file, and the library in one of three files with odd names."""
    catalogue = Catalogue(portal.database, portal.api.store)
    for day, version in enumerate(("1.0", "2.0"), 1):
        file = made_file("Epic Kit.zip", 1000 * day)
        notes = f"Notes of {version}.\n<script>alert(1)</script>"
        await catalogue.register(
            Manifest("kit", version, (file,)), "Epic Kit", activate=True, published=DAY * day, notes=notes
        )
    files = tuple(made_file(name, 10 + number) for number, name in enumerate(ODD_NAMES))
    await catalogue.register(Manifest("library", "1", files), "Library <b>& more</b>", published=DAY)


def made_file(name: str, size: int) -> ManifestFile:
    """A file of a manifest that is nowhere stored."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ManifestFile(name, size, "application/zip", digest, "0" * 8, "main", f"{size}.bin", 7)
