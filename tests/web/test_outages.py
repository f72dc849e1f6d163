"""What everything that the web process answers says while the database or Redis hangs or is gone.

The table is `docs/outages.md`. Every row of the route tables of both applications is asked, signed in and
not, in both languages; RUNS has those that need nothing of what is away.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.users import hashing
from tests.support.databases import Databases
from tests.support.mail_server import MailServer
from tests.support.outages import (
    PATIENCE,
    WORDS_FOR_SELLERS,
    WORDS_OF_LIBRARIES,
    Outage,
    Reply,
    Row,
    hung,
    run_outage,
)
from tests.support.ports import reserve_port
from tests.support.postgres import PostgresServer
from tests.support.store_server import StoreServer, run_store
from tests.support.timing import lasts
from tests.support.users import QUICK
from tests.support.waiting import until

ONCE = {"guest": ("en",), "known": ("de",)}
KNOWN = {"known": ("de",)}
TWICE = {"guest": ("en", "de"), "known": ("de", "en")}
ALWAYS = {
    ("GET", "/dashboard"),
    ("GET", "/dashboard/static/{asset}"),
    ("GET", "/my"),
    ("GET", "/my/code"),
    ("POST", "/my/code"),
    ("POST", "/my/language"),
    ("GET", "/my/static/{asset}"),
}
"""Pages that need neither: they lead on, are files, or say that a code belongs to another browser."""
RUNS = {
    "store": ALWAYS,
    "database": ALWAYS | {("GET", "/my/sign-in/{secret}"), ("POST", "/my/sign-in/{secret}")},
}
"""What somebody who is signed in can use while a part is away. A link of a mail that nobody knows is refused
without the database."""
CODES = {"store": "store_unavailable", "database": "database_unavailable"}
UNCHANGED = {"en": "Nothing was changed.", "de": "Nichts wurde geändert."}
BOTH = {
    "en": "Neither the database nor Redis answers.",
    "de": "Weder die Datenbank noch Redis antwortet.",
}
HOME = Row("private", "GET", "/dashboard/")
PART = {"store": "Redis", "database": "Datenbank"}


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PasswordHasher", lambda: QUICK)
    monkeypatch.setattr(hashing, "NOBODYS", QUICK.hash("nobody's"))


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    with run_store() as server:
        yield server


def check(reply: Reply, part: str) -> None:
    """Assert that an answer is one of those of the table."""
    assert reply.status < 500 or reply.status == 503, reply
    assert not WORDS_OF_LIBRARIES.search(reply.text), reply
    if reply.row.path == "/healthz":
        assert reply.status == 200, reply
    if reply.status != 503:
        return
    assert int(reply.headers["Retry-After"]) > 0, reply
    assert reply.headers["Cache-Control"] == "no-store", reply
    if reply.row.method == "HEAD":
        assert reply.text == "", reply
        return
    if not reply.row.is_page:
        assert reply.headers["Content-Type"] == "application/problem+json", reply
        assert CODES[part] in reply.text, reply
        return
    assert f'<html lang="{reply.language}">' in reply.text, reply
    assert '<header class="top">' in reply.text, reply
    assert (UNCHANGED[reply.language] in reply.words) == (reply.row.method == "POST"), reply
    if reply.row.path.startswith("/my"):
        assert not WORDS_FOR_SELLERS.search(reply.words), reply
    else:
        assert "download-gateway check" in reply.words, reply
        assert reply.language == "en" or PART[part] in reply.words, reply


def check_walk(replies: list[Reply], part: str) -> None:
    """Assert that nobody is let in whom nothing vouches for, and that what can run does."""
    for reply in replies:
        check(reply, part)
    known = [each for each in replies if each.row.is_page and each.visitor == "known"]
    ran = {(each.row.method, each.row.path) for each in known if each.status != 503}
    ran = {row for row in ran if row[0] != "HEAD" and not row[1].startswith("/my/news/")}
    assert ran == RUNS[part]  # the link that ends mails about new versions needs no session
    ready = [each for each in replies if each.row.path == "/readyz"]
    assert {each.status for each in ready} == {503}


async def check_back(outage: Outage) -> None:
    """Assert that who was signed in still is, and that the pages are back."""
    await outage.until_back()
    for row in outage.rows:
        if row.is_page and row.method == "GET":  # a busy machine's Redis may be late once more
            reply = await outage.ask_until(row, lambda reply: reply.status != 503)
            assert reply.status < 500, reply
            if row.path in ("/dashboard/", "/my/account", "/my/purchases/{purchase}"):
                assert reply.status == 200, reply


@asynccontextmanager
async def running(
    store: StoreServer, folder: Path, server: PostgresServer | None = None, **options: Any
) -> AsyncIterator[Outage]:
    databases = Databases(folder / "databases", server, "outage")
    databases.folder.mkdir()
    async with run_outage(store, databases, folder, **options) as outage:
        yield outage


def _lock(link: sqlite3.Connection) -> bool:
    try:
        link.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:  # the process itself writes at this moment
        return False
    return True


@asynccontextmanager
async def locked(outage: Outage) -> AsyncIterator[None]:
    """Another process holds SQLite's lock. The service, which runs in this loop, may hold it before."""
    path = outage.settings.database_url
    assert path is not None
    with closing(sqlite3.connect(path.removeprefix("sqlite:///"), timeout=0, isolation_level=None)) as link:
        await until(lambda: _lock(link), 30)
        yield
        link.execute("ROLLBACK")


@pytest.mark.slow
async def test_redis_hangs_is_gone_and_is_empty(own_store: StoreServer, tmp_path: Path) -> None:
    async with running(own_store, tmp_path) as outage:
        assert own_store.process is not None
        with hung(own_store.process.pid):
            check_walk(await outage.walk(20, ONCE), "store")
        await check_back(outage)
        own_store.stop()
        check_walk(await outage.walk(8, TWICE), "store")
        own_store.start()  # without what it had
        await outage.until_back()
        purchase = Row("public", "GET", "/my/purchases/{purchase}")
        page = await outage.ask_until(purchase, lambda reply: reply.status != 503)
        assert (page.status, page.headers["Location"]) == (303, "/my/")
        assert f"/purchases/{outage.names['purchase']}" in page.headers["Set-Cookie"]
        orders = Row("private", "GET", "/dashboard/orders")
        page = await outage.ask_until(orders, lambda reply: reply.status != 503)
        assert (page.status, page.headers["Location"]) == (303, "/dashboard/sign-in?next=%2Forders")


@pytest.mark.slow
async def test_postgresql_hangs_and_is_gone(
    own_store: StoreServer, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    async with running(own_store, tmp_path, own_postgres, redis_timeout=10.0) as outage:
        assert own_postgres.process is not None
        with hung(own_postgres.process.pid):
            check_walk(await outage.walk(400, KNOWN), "database")
        await outage.until_back()
        own_postgres.stop()
        check_walk(await outage.walk(8, ONCE), "database")
        own_postgres.start()
        await check_back(outage)


@pytest.mark.slow
async def test_sqlite_is_locked(own_store: StoreServer, tmp_path: Path) -> None:
    async with running(own_store, tmp_path, redis_timeout=10.0) as outage:
        async with locked(outage):
            check_walk(await outage.walk(400, KNOWN), "database")
        await check_back(outage)


@pytest.mark.slow
async def test_both_are_away(own_store: StoreServer, own_postgres: PostgresServer, tmp_path: Path) -> None:
    """One page names both, so that nobody mends the one and then finds the other."""
    async with running(own_store, tmp_path, own_postgres) as outage:
        sellers = [row for row in outage.rows if row.path.startswith("/dashboard")]
        outage.rows = sellers
        own_store.stop()
        own_postgres.stop()
        refused = [each for each in await outage.walk(8, TWICE) if each.status == 503]
        assert len({each.row.key for each in refused}) > len(sellers) // 2
        for reply in refused:
            if reply.row.method != "HEAD":
                assert BOTH[reply.language] in reply.words, reply
                assert "download-gateway check" in reply.words, reply
        own_postgres.start()
        page = Row("private", "GET", "/dashboard/orders")
        async with asyncio.timeout(PATIENCE):
            while BOTH["de"] in (reply := await outage.ask(page, "known", "de")).words:
                assert reply.status == 503
        assert "Redis antwortet nicht." in reply.words
        own_store.start()
        await outage.until_back()


@pytest.mark.slow
@pytest.mark.timing
async def test_no_page_waits_for_longer_than_ten_seconds(
    own_store: StoreServer, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    page = Row("public", "GET", "/my/account")
    async with running(own_store, tmp_path, own_postgres) as outage:
        assert own_postgres.process is not None
        assert own_store.process is not None
        with hung(own_postgres.process.pid), lasts(most=10):
            assert (await outage.ask(page, "known")).status == 503
        with hung(own_store.process.pid), lasts(most=10):
            assert (await outage.ask(page, "known")).status == 503
        for row, visitor in ((Row("private", "GET", "/dashboard/sign-in"), "guest"), (HOME, "known")):
            with hung(own_store.process.pid, own_postgres.process.pid), lasts(most=10):
                reply = await outage.ask(row, visitor)
            assert (reply.status, BOTH["en"] in reply.words) == (503, True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB. The test is skipped where nothing may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No byte more fits on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()


@pytest.mark.slow
async def test_the_disk_of_sqlite_is_full(own_store: StoreServer, tmp_path: Path) -> None:
    """What only reads goes on, and a link can still be had. What is to be kept is refused whole."""
    with small_disk(tmp_path / "disk") as disk:
        async with running(own_store, disk, redis_timeout=10.0) as outage:
            every = outage.rows
            outage.rows = [row for row in every if row.is_page and row.method == "GET"]
            shown = {each.row.key for each in await outage.walk(8, KNOWN) if each.status == 200}
            assert len(shown) > 30
            outage.rows = every
            with filled(disk):
                replies = await outage.walk(8, KNOWN)
                for reply in replies:
                    check(reply, "database")
                refused = {reply.row.key for reply in replies if reply.status == 503}
                assert {method for _, method, _ in refused} >= {"POST"}
                assert refused >= {
                    ("public", "POST", "/my/account/news"),
                    ("private", "POST", "/dashboard/products/{product}"),
                    ("private", "POST", "/dashboard/products/{product}/versions/{version}"),
                }
                assert not shown & refused
            await check_back(outage)
            reply = await outage.ask(Row("public", "POST", "/my/account/news"), "known")
            assert reply.status == 303


@asynccontextmanager
async def bad_mail_server(how: str) -> AsyncIterator[int]:
    """A mail server that is away or takes nothing. Yields its port."""
    if how == "gone":
        with reserve_port() as port:
            yield port
    elif how == "hangs":
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            yield silent.getsockname()[1]
    else:
        answers: dict[str, Any] = {
            "hangs later": {"MAIL": "hang"},
            "takes nothing": {"MAIL": "454 4.7.0 Try later"},
        }
        async with MailServer(answers=answers.get(how, {"RCPT": "550 5.1.1 No such mailbox"})) as server:
            yield server.port


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "state", "why"),
    [
        ("gone", "waits", "the mail server cannot be reached: the connection is refused"),
        ("hangs", "waits", "the mail server does not answer in time"),
        ("hangs later", "waits", "the mail server stopped answering"),
        ("takes nothing", "waits", "the mail server answered 454"),
        ("refuses the mail", "failed", "550 the mail server answered 550 5.1.1 No such mailbox"),
    ],
)
async def test_the_mail_server_is_away_or_refuses(
    own_store: StoreServer, tmp_path: Path, how: str, state: str, why: str
) -> None:
    """Who asks for a mail reads what everybody reads; the seller sees why it waits, and what to do."""
    async with bad_mail_server(how) as port:
        options: dict[str, Any] = {"mail_url": f"smtp://127.0.0.1:{port}", "mail_from": "shop@example.com"}
        seconds = {"hangs": 1.0, "hangs later": 5.0}.get(how, 30.0)  # a busy machine's server greets in time
        async with running(
            own_store, tmp_path, mail_timeout=seconds, redis_timeout=10.0, **options
        ) as outage:
            email, nobody = outage.portal.address(), outage.portal.address("nobody")
            await outage.portal.buy(email)
            for each in (email, nobody):
                answer = await outage.ask(Row("public", "POST", "/my/sign-in"), data={"email": each})
                assert (answer.status, answer.headers["Location"]) == (303, "/my/code")
            mails = Row("private", "GET", "/dashboard/settings/mails")
            page = await outage.ask_until(mails, lambda page: f"{state} {why}" in page.words)
            assert email in page.words
            assert nobody not in page.words
            assert not WORDS_OF_LIBRARIES.search(page.text)
            await outage.ask(Row("private", "POST", "/dashboard/settings/health/check"), "known")
            health = Row("private", "GET", "/dashboard/settings/health")
            page = await outage.ask_until(health, lambda page: " Checked " in page.words)
            found = f"wrong mail : smtp://127.0.0.1:{port}: {why}"
            if state == "failed":
                found = "look at it mails : 1 have failed in the last 7 days"
            assert found in page.words
            for each in ("/my", "/my/account", "/my/purchases/{purchase}"):
                assert (await outage.ask(Row("public", "GET", each), "known")).status in (200, 303)
