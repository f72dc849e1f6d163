"""Telling customers of a new version: who, once, and going on after a crash. On both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.database.engine import Database
from gateway.database.mail_tables import ANNOUNCEMENT
from gateway.database.tables import (
    CUSTOMER,
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    MANIFEST,
    OUTBOX_MAIL,
    PRODUCT,
    VERSION,
)
from gateway.mail import announcing
from gateway.mail.announcing import announce, fill, has_readers
from gateway.mail.news import choose, read_choice
from tests.support.mail_server import MailServer
from tests.support.mails import Post

PUBLISHED = 5000


@pytest.fixture
async def shop(database: Database) -> Database:
    """A product with a version, and nobody who has it."""
    async with database.writing() as sql:
        await sql.execute(
            PRODUCT.insert().values(
                id="drums", name="Epic Drums", status="active", active="2.0", created=1, revision=1
            )
        )
        await sql.execute(MANIFEST.insert().values(digest="0" * 64, text=b"{}"))
        await sql.execute(
            VERSION.insert().values(
                product="drums",
                version="2.0",
                manifest="0" * 64,
                notes="Louder.",
                published=PUBLISHED,
                created=1,
            )
        )
    return database


async def give(database: Database, name: str, **fields: Any) -> None:
    """A customer with an entitlement."""
    values = {
        "id": f"e-{name}",
        "customer_id": f"c-{name}",
        "product_id": "drums",
        "scope": "all",
        "bought": 1,
        "base": [],
        "quantity": 1,
        "status": "active",
        "reasons": [],
        "enforced": "active",
        "created": 1,
        "updated": 1,
        **fields,
    }
    async with database.writing() as sql:
        await sql.execute(CUSTOMER.insert().values(id=f"c-{name}", created=1))
        await sql.execute(
            CUSTOMER_EMAIL.insert().values(
                email=f"{name}@example.com",
                customer_id=f"c-{name}",
                written=f"{name}@example.com",
                main=True,
                created=1,
            )
        )
        await sql.execute(ENTITLEMENT.insert().values(**values))


async def told(database: Database) -> list[str]:
    async with database.reading() as sql:
        rows = await sql.execute(select(OUTBOX_MAIL.c.customer_id).order_by(OUTBOX_MAIL.c.customer_id))
        return [each.removeprefix("c-") for (each,) in rows]


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({}, True),
        ({"scope": "until", "updates_until": PUBLISHED}, True),
        ({"scope": "until", "updates_until": PUBLISHED - 1}, False),
        ({"scope": "version", "version": "2.0"}, True),
        ({"scope": "version", "version": "1.0"}, False),
        ({"status": "revoked"}, False),
        ({"status": "suspended"}, False),
        ({"test": True}, False),
        ({"product_id": "bass"}, False),
        ({"created": 9_000_000_000_000}, False),
    ],
    ids=repr,
)
async def test_who_is_told(shop: Database, fields: dict[str, Any], is_told: bool) -> None:
    await give(shop, "ann", **fields)
    assert await has_readers(shop, "drums", "2.0") == is_told
    assert not await has_readers(shop, "drums", "3.0")
    assert await announce(shop, "drums", "2.0")
    while await fill(shop):
        pass
    assert await told(shop) == ["ann"] * is_told


async def test_nobody_is_told_twice_and_it_goes_on_where_it_was(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "AT_ONCE", 2)
    for number in range(5):
        await give(shop, f"ann{number}")
    async with shop.writing() as sql:  # one who has it twice
        row = (await sql.execute(select(ENTITLEMENT).where(ENTITLEMENT.c.id == "e-ann1"))).one()
        await sql.execute(ENTITLEMENT.insert().values(**{**row._mapping, "id": "e-again"}))
    assert await announce(shop, "drums", "2.0")
    assert not await announce(shop, "drums", "2.0")
    assert await fill(shop)
    assert await told(shop) == ["ann0", "ann1"]
    while await fill(shop):
        pass
    assert await told(shop) == [f"ann{number}" for number in range(5)]
    assert not await announce(shop, "drums", "2.0")
    assert not await fill(shop)
    async with shop.reading() as sql:
        row = (await sql.execute(select(ANNOUNCEMENT))).one()
    assert (row.mails, row.finished is not None) == (5, True)


async def test_the_outbox_is_not_filled_with_everybody_at_once(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "AT_ONCE", 2)
    monkeypatch.setattr(announcing, "MOST_WAITING", 3)
    for number in range(7):
        await give(shop, f"ann{number}")
    await announce(shop, "drums", "2.0")
    while await fill(shop):
        pass
    assert len(await told(shop)) == 4
    async with shop.writing() as sql:
        await sql.execute(update(OUTBOX_MAIL).values(state="sent", due=None))
    while await fill(shop):
        pass
    assert len(await told(shop)) == 7


async def test_what_the_mail_says_and_who_has_lost_the_right_meanwhile(
    shop: Database, tmp_path: Path
) -> None:
    post = Post(shop, tmp_path, {"mail_reply_to": "help@example.com", "language": "de"})
    for name in ("ann", "bob", "eve"):
        await give(shop, name)
    await announce(shop, "drums", "2.0")
    await fill(shop)
    async with shop.writing() as sql:
        await sql.execute(update(ENTITLEMENT).where(ENTITLEMENT.c.id == "e-bob").values(status="revoked"))
        await sql.execute(delete(CUSTOMER_EMAIL).where(CUSTOMER_EMAIL.c.email == "eve@example.com"))
    await post.send()
    states = {row.customer_id: row.state for row in await post.rows()}
    assert states == {"c-ann": "sent", "c-bob": "dropped", "c-eve": "dropped"}
    [file] = post.files()
    text = file.read_text()
    assert "Epic Drums: Version 2.0 ist da" in text
    assert "Louder." in text
    assert "https://shop.example/my" in text
    assert "List-Unsubscribe:" in text
    assert "token" not in text.lower()


@pytest.mark.parametrize("language", ["en", "de"])
async def test_whoever_wants_no_news_gets_none_and_every_mail_says_how(
    shop: Database, tmp_path: Path, language: str
) -> None:
    for name in ("ann", "bob", "eve"):
        await give(shop, name)
    async with shop.writing() as sql:
        await choose(sql, "c-bob", wanted=False, moment=5)
    await announce(shop, "drums", "2.0")
    await fill(shop)
    async with shop.writing() as sql:
        await choose(sql, "c-eve", wanted=False, moment=6)
    async with MailServer() as server:
        post = Post(shop, tmp_path, {"mail_url": server.url, "language": language})
        await post.send()
    assert {row.customer_id: row.state for row in await post.rows()} == {"c-ann": "sent", "c-eve": "dropped"}
    [mail] = server.mails
    async with shop.reading() as sql:
        secret, wanted = await read_choice(sql, "c-ann")
    assert wanted
    assert secret is not None
    assert len(secret) == 43
    link = f"https://shop.example/my/news/{secret}"
    assert mail.links[-1] == link
    assert link in mail.html
    assert str(mail.message["List-Unsubscribe"]).strip() == f"<{link}>"
    assert str(mail.message["List-Unsubscribe-Post"]) == "List-Unsubscribe=One-Click"
    text = {"en": "Send me no more mails about new versions", "de": "Keine Mails über neue Versionen mehr"}
    assert text[language] in mail.text
    async with shop.writing() as sql:
        await choose(sql, "c-ann", wanted=False, moment=7)
        await choose(sql, "c-ann", wanted=True, moment=8)
        assert await read_choice(sql, "c-ann") == (secret, True), "the links of older mails stay"


async def test_a_version_that_is_gone_tells_nobody(shop: Database) -> None:
    await give(shop, "ann")
    await announce(shop, "drums", "3.0")
    assert await fill(shop)
    assert not await fill(shop)
    assert await told(shop) == []
