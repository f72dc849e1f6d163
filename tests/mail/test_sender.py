"""From the outbox to a mail server: on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, OUTBOX_MAIL
from gateway.database.types import now
from gateway.mail.kinds import Kind
from gateway.mail.outbox import NewMail, Outbox, Pace, add_mails
from tests.support.mail_server import MailServer
from tests.support.mails import Post

LINK = "https://shop.example/my/sign-in#abcdefghijklmnop"
CODE = "482 113"


async def ask(post: Post, address: str = "ann@example.com", **options: Any) -> bool:
    return await post.mailer.send_sign_in(address, LINK, CODE, **options)


async def test_a_mail_to_sign_in_arrives_and_its_secrets_are_gone_afterwards(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway")
    async with MailServer() as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        assert await ask(post)
        [row] = await post.rows()
        assert LINK.encode() not in row.sealed
        assert CODE.encode() not in row.sealed
        assert (row.state, row.recipient) == ("waiting", "ann@example.com")
        await post.send()
    [mail] = server.mails
    assert mail.recipients == ("ann@example.com",)
    assert (mail.links[0], mail.code) == (LINK, CODE)
    assert LINK in mail.html
    assert CODE in mail.html
    [row] = await post.rows()
    assert (row.state, row.sealed, row.due, row.code) == ("sent", None, None, 250)
    assert post.counted("sign_in", "sent") == 1
    assert post.announced == []
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gateway")]
    assert not [line for line in ours if LINK in line or CODE in line or "ann@" in line]


@pytest.mark.parametrize(
    ("command", "answer", "state", "code"),
    [
        ("RCPT", "550 5.1.1 no such mailbox", "failed", 550),
        ("RCPT", "450 4.2.0 greylisted", "waiting", 450),
        ("DATA", "554 5.7.1 spam", "failed", 554),
        ("DATA", "451 4.3.0 later", "waiting", 451),
        ("DATA", "close", "waiting", None),
    ],
)
async def test_what_becomes_of_a_mail_that_is_refused(
    database: Database, tmp_path: Path, command: str, answer: str, state: str, code: int | None
) -> None:
    def for_ann(address: str) -> str | None:
        return answer if address.startswith("ann@") else None

    async with MailServer({command: for_ann}) as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        await ask(post)
        await ask(post, "bob@example.com")
        await post.send()
        assert await post.states() == [("sign_in", state, code), ("sign_in", "sent", 250)]
        [row, _] = await post.rows()
        assert row.attempts == 1
        assert (row.sealed is None) == (state == "failed")
        if code is not None:
            assert answer in row.error
        server.answers.clear()
        await post.hurry()
        await post.send()
    recipients = [mail.recipients[0] for mail in server.mails]
    assert recipients == ["bob@example.com"] + ["ann@example.com"] * (state == "waiting")
    outcome = "failed" if state == "failed" else "retried"
    assert post.counted("sign_in", outcome) == 1


async def test_greylisting_is_waited_for(database: Database, tmp_path: Path) -> None:
    tries: list[str] = []

    def greylist(address: str) -> str | None:
        tries.append(address)
        return "451 4.7.1 Greylisted, please try again" if len(tries) == 1 else None

    async with MailServer({"RCPT": greylist}) as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        await ask(post)
        await post.send()
        [row] = await post.rows()
        assert 8_000 <= row.due - row.tried <= 13_000
        await post.hurry()
        await post.send()
        [mail] = server.mails
    [row] = await post.rows()
    assert (row.state, row.attempts, row.error) == ("sent", 2, None)
    assert mail.message["Message-ID"] == f"<{row.id}@shop.example>"


@pytest.mark.slow
async def test_while_the_server_is_away_all_mails_wait_and_none_counts_as_tried(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with MailServer({"MAIL": "451 4.3.2 no"}) as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        for name in ("ann", "bob"):
            await ask(post, f"{name}@example.com")
        for _ in range(3):
            await post.send()
            await post.hurry()
        rows = await post.rows()
        assert [(row.state, row.attempts, row.tried) for row in rows] == [("waiting", 0, None)] * 2
        assert "no" in rows[0].error
        assert caplog.text.count("mails cannot be sent now") == 1
        server.answers.clear()
        await post.send()
        assert len(server.mails) == 2


async def test_what_has_expired_is_not_sent_and_a_newer_one_replaces_an_older(
    database: Database, tmp_path: Path
) -> None:
    async with MailServer() as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        await ask(post)
        await post.hurry(expires=5)
        await ask(post, "bob@example.com")
        await ask(post, "bob@example.com")
        await post.send()
    assert [mail.recipients[0] for mail in server.mails] == ["bob@example.com"]
    assert [state for _, state, _ in await post.states()] == ["dropped", "dropped", "sent"]
    assert [row.sealed for row in await post.rows()] == [None] * 3


async def test_what_nobody_has_taken_for_days_has_failed(database: Database, tmp_path: Path) -> None:
    async with MailServer() as server:
        post = Post(database, tmp_path, {"mail_url": server.url})
        await post.mailer.send_seat("ann@example.com", product="Drums", link=LINK)
        await post.hurry(created=5, error="the mail server cannot be reached")
        await post.send()
    [row] = await post.rows()
    assert (row.state, row.error, server.mails) == ("failed", "the mail server cannot be reached", [])


async def test_an_address_gets_no_flood(database: Database, tmp_path: Path) -> None:
    post = Post(database, tmp_path, {"mail_per_recipient": 3})
    assert [await ask(post) for _ in range(5)] == [True] * 3 + [False] * 2
    assert await ask(post, "bob@example.com")
    await post.send()
    assert len(post.files()) == 2  # each new one replaced the one before


async def test_all_together_are_not_faster_than_the_setting_and_signing_in_goes_first(
    database: Database, tmp_path: Path
) -> None:
    post = Post(database, tmp_path, {"mail_per_minute": 10})
    for number in range(12):
        await post.mailer.send_seat(f"ann{number}@example.com", product="Drums", link=LINK)
    await post.send()
    kinds = [row.kind for row in await post.rows() if row.state == "sent"]
    assert kinds == ["seat"] * 8  # a fifth is kept
    for number in range(4):
        await ask(post, f"bob{number}@example.com")
    await post.send()
    kinds = [row.kind for row in await post.rows() if row.state == "sent"]
    assert sorted(kinds) == ["seat"] * 8 + ["sign_in"] * 2


@pytest.mark.slow
async def test_two_processes_share_the_outbox(database: Database, tmp_path: Path) -> None:
    async with MailServer() as server:
        posts = [Post(database, tmp_path, {"mail_url": server.url}) for _ in range(2)]
        for number in range(25):
            await ask(posts[0], f"ann{number}@example.com")
        await asyncio.gather(*(post.send() for post in posts))
        while await posts[0].desk.outbox.count_waiting():
            await posts[0].send()
    recipients = [mail.recipients[0] for mail in server.mails]
    assert sorted(recipients) == sorted({f"ann{number}@example.com" for number in range(25)})


async def test_a_mail_of_a_process_that_died_is_taken_by_another_later(
    database: Database, tmp_path: Path
) -> None:
    post = Post(database, tmp_path)
    await ask(post)
    [row] = await post.desk.outbox.claim(60_000)
    assert await post.desk.outbox.claim(60_000) == []
    await post.hurry()
    [again] = await post.desk.outbox.claim(60_000)
    assert (again.id, again.attempts) == (row.id, 2)
    assert not await post.desk.outbox.settle(row, "sent")  # type: ignore[arg-type]
    assert await post.desk.outbox.settle(again, "sent")  # type: ignore[arg-type]


async def test_a_customer_who_has_moved_gets_the_mail_at_the_new_address(
    database: Database, tmp_path: Path
) -> None:
    post = Post(database, tmp_path)
    async with database.writing() as sql:
        await sql.execute(CUSTOMER.insert().values(id="c1", created=1))
        await sql.execute(
            CUSTOMER_EMAIL.insert().values(
                email="old@example.com", customer_id="c1", written="old@example.com", main=True, created=1
            )
        )
        await add_mails(sql, [NewMail("m1", Kind.TEST, {}, customer_id="c1")], now())
        await sql.execute(update(CUSTOMER_EMAIL).values(email="new@example.com"))
    await post.send()
    [row] = await post.rows()
    assert (row.state, row.recipient) == ("sent", "new@example.com")
    assert b"To: new@example.com" in post.files()[0].read_bytes()


async def test_a_mail_whose_customer_was_erased_while_it_was_sent_leaves_no_file(
    database: Database, tmp_path: Path
) -> None:
    post = Post(database, tmp_path)
    await ask(post)
    sender = post.desk.sender
    write = sender._transport.send  # type: ignore[attr-defined]

    async def erase_meanwhile(mail: Any) -> None:
        await write(mail)
        assert len(post.files()) == 1
        async with database.writing() as sql:
            await sql.execute(OUTBOX_MAIL.delete())

    sender._transport.send = erase_meanwhile  # type: ignore[attr-defined]
    await post.send()
    assert post.files() == []


async def test_a_mail_whose_key_is_gone_is_dropped(database: Database, tmp_path: Path) -> None:
    post = Post(database, tmp_path / "one")
    await ask(post)
    other = Post(database, tmp_path / "two")
    await ask(other, "bob@example.com")
    await other.send()
    rows = await post.rows()
    assert [row.state for row in rows] == ["dropped", "sent"]
    assert "key" in rows[0].error


async def test_old_mails_are_removed(database: Database, tmp_path: Path) -> None:
    post = Post(database, tmp_path)
    await ask(post)
    await ask(post, "bob@example.com")
    await post.send()
    async with database.writing() as sql:
        old = OUTBOX_MAIL.c.recipient == "ann@example.com"
        await sql.execute(update(OUTBOX_MAIL).where(old).values(created=5))
    await ask(post, "waits@example.com")
    assert not await Outbox(database, Pace(1, 1)).remove_old(30)
    assert [row.recipient for row in await post.rows()] == ["bob@example.com", "waits@example.com"]


async def test_a_trial_on_this_machine_prints_the_link(database: Database, tmp_path: Path) -> None:
    post = Post(database, tmp_path, {"public_url": "http://127.0.0.1:8080"})
    await ask(post)
    await post.send()
    [line] = post.announced
    assert LINK in line
    assert str(post.files()[0]) in line
