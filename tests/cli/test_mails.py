"""`mail list`, `resend` and `test`, and `check` of the mail server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.checks import Level
from gateway.cli.checks.mail import check_mail
from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, OUTBOX_MAIL
from gateway.database.types import now
from gateway.mail.kinds import Kind
from gateway.mail.outbox import NewMail, add_mails
from tests.support.databases import new_database_url
from tests.support.mail_server import MailServer
from tests.support.store_server import StoreServer

FROM = "Shop <shop@example.com>"


async def test_list_and_resend(
    store: StoreServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = new_database_url()
    ids = [f"{number:026d}" for number in (1, 2)]
    async with Database.of(locate_database(url, tmp_path)) as database, database.writing() as sql:
        await sql.execute(CUSTOMER.insert().values(id="c1", created=1))
        mails = [
            NewMail(ids[0], Kind.SIGN_IN, {}, recipient="ann@example.com"),
            NewMail(ids[1], Kind.READY, {"order": "o1"}, customer_id="c1"),
        ]
        await add_mails(sql, mails, now())
        await sql.execute(OUTBOX_MAIL.update().values(state="failed", due=None, code=550, error="550 no"))
    where = ["--data", str(tmp_path), "--database-url", url, "--redis-url", store.url]

    async def run(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, ["mail", *words, *where])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = await run("list", "--state", "failed", "--json")
    assert (code, [each["id"] for each in json.loads(out)]) == (0, ids[::-1])
    code, out, _ = await run("list", "--email", "ANN@example.com ".strip().lower())
    assert (code, ids[0] in out, ids[1] in out, "550 no" in out) == (0, True, False, True)
    code, out, _ = await run("resend", ids[1], "--json")
    assert code == 0
    code, _, err = await run("resend", ids[0])
    assert (code, len(err.splitlines()), "link is gone" in err) == (1, 1, True)
    code, _, err = await run("resend", "nothing")
    assert (code, "no such mail" in err) == (1, True)
    code, out, _ = await run("list", "--state", "waiting", "--json")
    assert [each["kind"] for each in json.loads(out)] == ["ready"]


@pytest.mark.slow
async def test_a_test_mail(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with MailServer() as server:

        async def run(*words: str) -> tuple[int, str, str]:
            code = await asyncio.to_thread(main, ["mail", "test", *words, "--data", str(tmp_path)])
            said = capsys.readouterr()
            return code, said.out, said.err

        to_server = ("--mail-url", server.url, "--mail-from", FROM)
        code, _, err = await run("me@büro.example", *to_server)
        assert (code, server.url in err) == (0, True)
        [mail] = server.mails
        assert mail.recipients == ("me@xn--bro-hoa.example",)
        assert mail.sender == "shop@example.com"
        server.answers["RCPT"] = "550 5.1.1 no such mailbox"
        code, _, err = await run("me@example.com", *to_server)
        assert (code, len(err.splitlines()), "550 5.1.1 no such mailbox" in err) == (1, 1, True)
        code, out, _ = await run("me@example.com", *to_server, "--json")
        assert (code, json.loads(out)["sent"]) == (1, False)
        code, _, err = await run("nobody")
        assert (code, "ADDRESS" in err) == (1, True)
        code, out, _ = await run("me@example.com", "--json")
        assert code == 0
        [file] = (tmp_path / "mail").glob("*.eml")
        assert json.loads(out)["to"] == str(file)
        assert file.read_bytes().startswith(b"From: ")


async def findings(tmp_path: Path, **values: object) -> dict[str, tuple[Level, str]]:
    settings = Settings.model_validate(
        {
            "data": tmp_path,
            "database_url": new_database_url(),
            "mail_from": FROM,
            "mail_reply_to": "a@b.example",
            **values,
        }
    )
    found = await asyncio.to_thread(lambda: list(check_mail(settings)))
    return {each.subject: (each.level, each.line) for each in found}


@pytest.mark.parametrize(
    ("answers", "level", "words"),
    [
        ({}, Level.OK, "takes mails from shop@example.com"),
        ({"MAIL": "553 5.7.1 not yours"}, Level.FAIL, "set mail.from"),
        ({"MAIL": "530 5.7.0 sign in"}, Level.FAIL, "530 5.7.0 sign in"),
    ],
)
async def test_check_asks_the_server(
    tmp_path: Path, answers: dict[str, str], level: Level, words: str
) -> None:
    async with MailServer(dict(answers)) as server:
        found = await findings(tmp_path, mail_url=server.url)
    assert found["mail"][0] is level
    assert words in found["mail"][1]
    assert server.mails == []


@pytest.mark.slow
async def test_check_says_what_is_wrong_with_user_password_and_address(tmp_path: Path) -> None:
    async with MailServer(users={"shop": "right"}) as server:
        assert (await findings(tmp_path, mail_url=server.url_of("shop", "right")))["mail"][0] is Level.OK
        level, line = (await findings(tmp_path, mail_url=server.url_of("shop", "wrong")))["mail"]
        assert (level, "535" in line, "mail.password_file" in line) == (Level.FAIL, True, True)
        file = tmp_path / "password"
        file.write_text("right\n")
        found = await findings(tmp_path, mail_url=server.url_of("shop", "wrong"), mail_password_file=file)
        assert found["mail"][0] is Level.OK
        missing = tmp_path / "missing"
        found = await findings(tmp_path, mail_url=server.url_of("shop", "x"), mail_password_file=missing)
        assert found["mail"] == (
            Level.FAIL,
            "mail.password_file: it cannot be read: it or its folder does not exist: correct the path",
        )
    level, line = (await findings(tmp_path, mail_url=server.url))["mail"]
    assert (level, "refused" in line) == (Level.FAIL, True)


async def test_check_without_a_server_and_without_a_sender(tmp_path: Path) -> None:
    found = await findings(tmp_path)
    assert found["mail"][0] is Level.WARN
    assert str(tmp_path / "mail") in found["mail"][1]
    async with MailServer() as server:
        found = await findings(tmp_path, mail_url=server.url, mail_from=None)
        assert found["mail sender"][0] is Level.FAIL
        found = await findings(
            tmp_path,
            mail_url=server.url,
            mail_from=None,
            public_url="https://shop.example",
            mail_reply_to=None,
        )
        assert found["mail sender"][0] is Level.WARN
        assert "no-reply@shop.example" in found["mail sender"][1]


async def test_check_shows_what_waits_and_has_failed(tmp_path: Path) -> None:
    url = new_database_url()
    async with Database.of(locate_database(url, tmp_path)) as database, database.writing() as sql:
        for number, (state, created) in enumerate([("waiting", now() - 3_600_000), ("failed", now())]):
            await add_mails(sql, [NewMail(f"{number:026d}", Kind.TEST, {}, recipient="a@b.example")], created)
            await sql.execute(
                OUTBOX_MAIL.update().where(OUTBOX_MAIL.c.id == f"{number:026d}").values(state=state)
            )
    settings = Settings.model_validate({"data": tmp_path, "database_url": url})
    found = await asyncio.to_thread(lambda: list(check_mail(settings)))
    lines = [each.line for each in found if each.subject == "mails"]
    assert len(lines) == 2
    assert all("mail list --state" in line for line in lines)
