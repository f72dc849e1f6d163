"""The dialogue with a mail server: real servers, and every fault of theirs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config.mail_url import MailServer as Location
from gateway.config.mail_url import locate_mail_server
from gateway.mail.faults import MailFault
from gateway.mail.smtp import Outgoing, SmtpTransport
from gateway.mail.verdicts import Step, Verdict, judge, pause_after, server_pause, shown
from tests.support.certificates import make_certificate
from tests.support.mail_server import MailServer
from tests.support.ports import reserve_port
from tests.support.rows import each_row

USER, PASSWORD = "shop@example.com", "p@ss:w/ör d"
QUOTED = "shop%40example.com:p%40ss%3Aw%2F%C3%B6r%20d"
CONTENT = b"Subject: a\r\n\r\n.leading dot\r\nbody\r\n"
MAIL = Outgoing("0" * 26, "ready", "shop@example.com", "ann@example.net", CONTENT)
SHORT = 0.3


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def send(location: Location, *mails: Outgoing, seconds: float = 30, ca: Path | None = None) -> None:
    async with SmtpTransport(location, seconds=seconds, ca=ca).session() as session:
        for mail in mails or (MAIL,):
            await session.send(mail)


async def fault_of(location: Location, mail: Outgoing = MAIL, **options: Any) -> MailFault:
    with pytest.raises(MailFault) as caught:
        await send(location, mail, **options)
    return caught.value


@asynccontextmanager
async def scripted(*lines: bytes | None) -> AsyncIterator[Location]:
    """A server that says one line after the other, the first as its greeting; None: it closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for place, line in enumerate(lines):
            if place and not await reader.readline():
                break
            if line is None:
                break
            writer.write(line)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Location("127.0.0.1", server.sockets[0].getsockname()[1], is_local=True)


async def test_several_mails_go_over_one_connection() -> None:
    async with MailServer() as server:
        await send(locate_mail_server(server.url), MAIL, replace(MAIL, recipient="bob@example.net"))
    assert [mail.recipients for mail in server.mails] == [("ann@example.net",), ("bob@example.net",)]
    assert server.mails[0].content == CONTENT
    assert server.mails[0].sender == "shop@example.com"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("recipient", "has_utf8"),
    [
        ("ann@xn--bcher-kva.example", False),
        ("ünal@xn--bcher-kva.example", True),
        ('"a b"@example.net', False),
        ("o'neil+tag@example.net", False),
    ],
)
async def test_unusual_addresses_arrive(recipient: str, has_utf8: bool) -> None:
    async with MailServer(has_utf8=has_utf8) as server:
        await send(locate_mail_server(server.url), replace(MAIL, recipient=recipient))
    assert server.mails[0].recipients == (recipient,)
    assert ("SMTPUTF8" in server.mails[0].options) == has_utf8


async def test_an_international_address_needs_a_server_that_takes_such() -> None:
    async with MailServer(has_utf8=False) as server:
        fault = await fault_of(locate_mail_server(server.url), replace(MAIL, recipient="ünal@example.net"))
    assert fault.verdict is Verdict.FAILED
    assert server.mails == []


@pytest.mark.parametrize("is_smtps", [False, True], ids=["STARTTLS", "smtps"])
async def test_the_connection_is_secured_and_somebody_signs_in(tls: ssl.SSLContext, is_smtps: bool) -> None:
    async with MailServer(tls=tls, is_smtps=is_smtps, users={USER: PASSWORD}) as server:
        await send(locate_mail_server(server.url.replace("://", f"://{QUOTED}@")))
        assert (server.mails[0].is_secure, server.mails[0].user) == (True, USER)
        fault = await fault_of(locate_mail_server(server.url_of("shop", "wrong")))
    assert (fault.step, fault.code, fault.verdict) == (Step.AUTH, 535, Verdict.ALL_WAIT)
    assert "wrong" not in fault.advice
    assert "mail.password_file" in fault.remedy


@pytest.mark.parametrize("is_smtps", [False, True], ids=["STARTTLS", "smtps"])
async def test_a_certificate_must_be_valid_except_on_this_machine(
    tls: ssl.SSLContext, certificate: tuple[Path, Path], is_smtps: bool
) -> None:
    async with MailServer(tls=tls, is_smtps=is_smtps, needs_tls=False) as server:
        far = replace(locate_mail_server(server.url), is_local=False)
        fault = await fault_of(far)
        assert (fault.step, fault.verdict) == (Step.TLS, Verdict.ALL_WAIT)
        assert "certificate" in str(fault)
        assert server.mails == []  # nothing went without TLS
        await send(far, ca=certificate[0])
        assert server.mails[0].is_secure
        await send(locate_mail_server(server.url))


async def test_no_password_goes_out_without_tls() -> None:
    async with MailServer(users={USER: PASSWORD}) as server:
        far = replace(locate_mail_server(server.url_of("shop", "secret")), is_local=False)
        fault = await fault_of(far)
    assert (fault.step, fault.verdict) == (Step.AUTH, Verdict.ALL_WAIT)
    assert "TLS" in str(fault)


async def test_a_server_that_lets_nobody_sign_in_says_so() -> None:
    async with MailServer() as server:
        fault = await fault_of(locate_mail_server(server.url_of("shop", "secret")))
    assert (fault.step, fault.verdict) == (Step.AUTH, Verdict.ALL_WAIT)


@each_row(
    ("command", "answer", "code", "verdict"),
    [
        ("MAIL", "450 try later", 450, Verdict.ALL_WAIT),
        ("MAIL", "550 5.7.1 not from you", 550, Verdict.ALL_WAIT),
        ("MAIL", "530 5.7.0 sign in first", 530, Verdict.ALL_WAIT),
        ("MAIL", "552 too large", 552, Verdict.FAILED),
        ("RCPT", "450 4.2.0 greylisted", 450, Verdict.RETRY),
        ("RCPT", "451 4.7.1 try again", 451, Verdict.RETRY),
        ("RCPT", "452 4.2.2 mailbox full", 452, Verdict.RETRY),
        ("RCPT", "421 too busy", 421, Verdict.ALL_WAIT),
        ("RCPT", "550 5.1.1 <ann@example.net> unknown", 550, Verdict.FAILED),
        ("RCPT", "554 5.7.1 relay access denied", 554, Verdict.FAILED),
        ("RCPT", "close", None, Verdict.RETRY),
        ("RCPT", "hang", None, Verdict.RETRY),
        ("DATA", "451 4.3.0 later", 451, Verdict.RETRY),
        ("DATA", "554 5.6.0 spam", 554, Verdict.FAILED),
        ("DATA", "421 shutting down", 421, Verdict.ALL_WAIT),
        ("DATA", "close", None, Verdict.RETRY),
        ("DATA", "hang", None, Verdict.RETRY),
    ],
)
async def test_what_a_refusal_means(command: str, answer: str, code: int | None, verdict: Verdict) -> None:
    async with MailServer({command: answer}) as server:
        seconds = SHORT if answer == "hang" else 30
        fault = await fault_of(locate_mail_server(server.url), seconds=seconds)
        async with asyncio.timeout(60):  # a busy machine may need longer than SHORT for the steps before
            while answer == "hang" and fault.step not in (Step.RECIPIENT, Step.DATA, Step.CONTENT):
                fault = await fault_of(locate_mail_server(server.url), seconds=seconds)
        assert (fault.code, fault.verdict) == (code, verdict)
        assert "ann@" not in fault.log_text
        if code is not None:
            assert answer.split(" ", 1)[1] in str(fault)
        server.answers.clear()
        await send(locate_mail_server(server.url))


@each_row(
    ("lines", "step", "code"),
    [
        ([None], Step.CONNECT, None),
        ([b"554 go away\r\n"], Step.GREETING, 554),
        ([b"421 busy\r\n"], Step.GREETING, 421),
        ([b"HTTP/1.1 400 Bad Request\r\n"], Step.CONNECT, None),
        ([b"\x16\x03\x01\x00\xff\xfe\r\n"], Step.CONNECT, None),
        ([b"220 hello\r\n", None], Step.EHLO, None),
        ([b"220 hello\r\n", b"421 no\r\n"], Step.EHLO, 421),
        ([b"220 hello\r\n", b"500 no\r\n", b"500 no\r\n"], Step.EHLO, 500),
        ([b"220 hello\r\n", b"250-x\r\n250 STARTTLS\r\n", b"454 not now\r\n"], Step.TLS, 454),
        ([b"220 hello\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n", b"no TLS\r\n"], Step.TLS, None),
        ([b"220 hello\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n", None], Step.TLS, None),
    ],
    ids=repr,
)
async def test_a_server_that_takes_nothing_lets_all_mails_wait(
    lines: list[bytes | None], step: Step, code: int | None
) -> None:
    async with scripted(*lines) as location:
        fault = await fault_of(location)
    assert (fault.code, fault.verdict) == (code, Verdict.ALL_WAIT)
    assert fault.step is step
    assert "Traceback" not in fault.advice


async def test_a_server_that_never_greets_is_left() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        fault = await fault_of(Location("127.0.0.1", port, is_local=True), seconds=SHORT)
    assert (fault.step, fault.verdict) == (Step.CONNECT, Verdict.ALL_WAIT)


async def test_tls_where_the_server_speaks_none_is_told_apart() -> None:
    async with MailServer() as server:
        fault = await fault_of(replace(locate_mail_server(server.url), has_tls=True))
    assert fault.step is Step.TLS
    assert "smtp://" in fault.remedy


async def test_nobody_listens() -> None:
    with reserve_port() as port:
        fault = await fault_of(Location("127.0.0.1", port, is_local=True))
    assert (fault.step, fault.verdict) == (Step.CONNECT, Verdict.ALL_WAIT)
    assert "refused" in str(fault)


async def test_a_name_that_nobody_knows() -> None:
    fault = await fault_of(Location("no-such-host.invalid", 25))
    assert (fault.step, fault.verdict) == (Step.CONNECT, Verdict.ALL_WAIT)
    assert "host name" in str(fault) or "name server" in str(fault)


def test_every_step_has_a_verdict_for_every_answer() -> None:
    for step in Step:
        for code in (None, *range(400, 600)):
            verdict = judge(step, code)
            if code in (421, 530):
                assert verdict is Verdict.ALL_WAIT
            if step in (Step.RECIPIENT, Step.DATA, Step.CONTENT) and code is not None and code < 421:
                assert verdict is Verdict.RETRY


def test_pauses_grow_and_differ() -> None:
    for urgent in (True, False):
        pauses = [pause_after(attempts, urgent=urgent) for attempts in range(1, 30)]
        assert all(pause > 0 for pause in pauses)
        assert pauses[5] > pauses[0]
    assert len({pause_after(3, urgent=False) for _ in range(50)}) > 1
    assert 500 < server_pause(1) < 1500
    assert server_pause(100) <= 72_000


@pytest.mark.parametrize(
    ("answer", "line"),
    [("a\r\nb\x1b[31m\u202ec", "a b [31m c"), ("x" * 1000, "x" * 299 + "…"), ("", "")],
)
def test_what_a_server_says_is_shown_as_one_line(answer: str, line: str) -> None:
    assert shown(answer) == line
