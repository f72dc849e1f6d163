"""*Tokens* in the dashboard: found, shown with the bytes that were received, made longer, and ended."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.usage_tables import TOKEN
from gateway.usage.known_tokens import KnownToken
from gateway.usage.repository import apply_events
from tests.support.control_plane import MAX_TTL, Api
from tests.support.dashboard import Visitor, open_database_of
from tests.support.usage import FILE, event

NAUGHTY = "<script>alert(1)</script>\u202e"
OLD = "0123456789abcdef" * 2


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database_of(settings) as found:
        yield found


async def make(api: Api, **values: Any) -> tuple[str, str]:
    """A token of drums, and its id."""
    minted = await api.store.tokens.create("drums", **values)
    return minted.token, minted.record.id


async def ids(owner: Visitor, query: str = "") -> set[str]:
    """The ids of a list, by its file."""
    found = await owner.get(f"/tokens.csv{query}")
    assert found.status == 200
    return {row["tokenId"] for row in csv.DictReader(io.StringIO(found.text))}


async def test_tokens_are_found_by_customer_product_and_status(api: Api, owner: Visitor) -> None:
    _, ann = await make(api, email="ann@example.com")
    _, ben = await make(api, email="ben@example.com")
    await api.store.tokens.revoke(ben)
    assert await ids(owner) == {ann, ben}
    assert await ids(owner, "?email=Ann@Example.com") == {ann}
    assert await ids(owner, "?product=drums&status=revoked") == {ben}
    assert await ids(owner, "?status=active") == {ann}
    assert await ids(owner, "?product=bass") == set()
    page = await owner.get("/tokens?email=nobody@example.com")
    assert "Nothing here fits" in page.text
    assert (await owner.get(f"/tokens?id={ann.upper()}")).location == f"/tokens/{ann}"
    assert "32 digits" in (await owner.get("/tokens?id=abc")).text
    assert (await owner.get("/tokens?after=zzz")).status == 400


async def test_a_list_of_many_tokens_has_pages(api: Api, owner: Visitor) -> None:
    for _ in range(55):
        await make(api)
    page = await owner.get("/tokens")
    assert page.text.count('data-label="Token id"') == 50
    path = page.text.partition('href="/dashboard/tokens?after=')[2].partition('"')[0]
    page = await owner.get(f"/tokens?after={path}")
    assert page.text.count('data-label="Token id"') == 5
    assert len(await ids(owner)) == 55


async def test_expired_tokens_come_from_the_database(api: Api, owner: Visitor, database: Database) -> None:
    values = {"id": OLD, "product": "drums", "version": "1.0.0", "email": NAUGHTY, "created": 1, "expires": 2}
    async with database.writing() as sql:
        await sql.execute(insert(sql, TOKEN).values(**values))
    assert await ids(owner, "?status=expired") == {OLD}
    page = await owner.get(f"/tokens/{OLD}")
    assert page.status == 200
    assert "Expired" in page.text
    assert "<script>" not in page.text
    assert "Revoke the link" not in page.text
    assert await ids(owner, "?status=expired&product=bass") == set()


async def test_a_token_shows_what_it_downloaded(api: Api, owner: Visitor, database: Database) -> None:
    _, identifier = await make(api, max_downloads=2, email="ann@example.com", metadata={"order": NAUGHTY})
    file = FILE._replace(name=f"{NAUGHTY}.zip")
    known = {identifier: KnownToken(None, None, test=False)}
    async with database.writing() as sql:
        await apply_events(sql, [event(0, token=identifier, file=file, spans=((0, 250), (500, 750)))], known)
    page = await owner.get(f"/tokens/{identifier}")
    assert page.text.count('class="part"') == 2
    assert 'x="50%"' in page.text
    assert "50 %" in page.text
    assert "<script>" not in page.text
    assert "\u202e" not in page.text


async def test_a_link_works_longer_but_not_longer_than_allowed(api: Api, owner: Visitor) -> None:
    _, identifier = await make(api, expires_in=600)
    before = await api.store.tokens.get(identifier)
    assert before is not None
    page = await owner.send(f"/tokens/{identifier}", by="1d")
    assert "longer" in page.notice
    after = await api.store.tokens.get(identifier)
    assert after is not None
    assert after.expires == before.expires + 86_400_000
    for _ in range(2):
        await owner.send(f"/tokens/{identifier}", by="30d")
    after = await api.store.tokens.get(identifier)
    assert after is not None
    assert after.expires - after.created <= 1000 * MAX_TTL + 60_000


async def test_the_number_of_downloads_is_changed(api: Api, owner: Visitor) -> None:
    _, identifier = await make(api, max_downloads=1)
    for text, expected in (("5", 5), ("", None)):
        await owner.send(f"/tokens/{identifier}", maxDownloads=text)
        record = await api.store.tokens.get(identifier)
        assert record is not None
        assert record.max_downloads == expected
    page = await owner.send(f"/tokens/{identifier}", maxDownloads="none")
    assert "maxDownloads" in page.notice


async def test_a_link_is_ended(api: Api, owner: Visitor) -> None:
    _, identifier = await make(api)
    page = await owner.send(f"/tokens/{identifier}/revoke")
    assert "Revoked" in page.text
    record = await api.store.tokens.get(identifier)
    assert record is not None
    assert record.status == "revoked"
    assert [(each.action, each.by) for each in await api.store.audit.latest(1)] == [("token.revoke", "maria")]
    page = await owner.send(f"/tokens/{identifier}", by="1d")
    assert "revoked" in page.notice


async def test_the_token_of_a_pasted_link_is_found_and_not_kept(api: Api, owner: Visitor) -> None:
    token, identifier = await make(api)
    for text in (token, f"<https://downloads.example/download?token={token}>.", f" {token}\n"):
        answer = await owner.post("/tokens/find", link=text)
        assert answer.location == f"/tokens/{identifier}", text
    for text in ("", "hello", token[:20], f"{token} {'ct_' + 43 * 'x'}"):
        answer = await owner.post("/tokens/find", link=text)
        assert answer.location == "/tokens"
    assert token not in (await owner.get("/tokens")).text


@pytest.mark.parametrize("identifier", ["f" * 32, "x", "..%2f", "%00", "0" * 33])
async def test_an_unknown_token_is_not_found(api: Api, owner: Visitor, identifier: str) -> None:
    assert (await owner.get(f"/tokens/{identifier}")).status == 404
    assert (await owner.post(f"/tokens/{identifier}/revoke")).location in ("/tokens", "")
