"""A real SMTP server for tests: it keeps what it got, and may refuse, delay or break off as a test wants."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Mail:
    """A mail that the server took. sender, recipients: of the envelope."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_secure: bool
    user: str | None = None
    options: tuple[str, ...] = ()

    @property
    def message(self) -> EmailMessage:
        found = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def _part(self, subtype: str) -> str:
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    @property
    def links(self) -> list[str]:
        """The URLs in the text."""
        return re.findall(r"https?://[^\s<>\"]+", self.text)

    @property
    def code(self) -> str:
        """What is to be typed: the one indented line of the text."""
        [code] = re.findall(r"^    (\S.*)$", self.text, re.MULTILINE)
        return str(code)


@dataclass
class MailServer:
    """A server on this machine.

    answers: what it says to a command (RCPT, MAIL, DATA for the content) in place of 250; a text, or a
    function of the address (of MAIL and RCPT) that returns one, or None for 250. `close` closes the
    connection, `hang` never answers. users: who may sign in, with passwords; they must, if there are any.
    tls: for STARTTLS, or from the first byte (`is_smtps`).
    """

    answers: dict[str, str | Callable[[str], str | None]] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    is_smtps: bool = False
    has_utf8: bool = True
    needs_tls: bool = True
    mails: list[Mail] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._server = await loop.create_server(
            self._make, "127.0.0.1", self.port, ssl=self.tls if self.is_smtps else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _make(self) -> SMTP:
        self.connections += 1
        starts_tls = self.tls is not None and not self.is_smtps
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that passwords are taken without TLS, as some tests want
            return self._server_of(starts_tls=starts_tls)

    def _server_of(self, *, starts_tls: bool) -> SMTP:
        return SMTP(
            self,
            enable_SMTPUTF8=self.has_utf8,
            decode_data=False,
            hostname="mail.test",
            tls_context=self.tls if starts_tls else None,
            require_starttls=starts_tls and self.needs_tls,
            auth_required=bool(self.users),
            auth_require_tls=starts_tls,
            authenticator=self._authenticate if self.users else None,
            loop=asyncio.get_running_loop(),
        )

    @property
    def url(self) -> str:
        return f"{'smtps' if self.is_smtps else 'smtp'}://127.0.0.1:{self.port}"

    def url_of(self, user: str, password: str) -> str:
        return self.url.replace("://", f"://{user}:{password}@")

    async def wait(self, count: int = 1) -> list[Mail]:
        """Wait until it has taken so many mails."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.mails) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.mails

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = self.users.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=good, handled=False, auth_data=data.login.decode())

    async def _answer(self, server: SMTP, command: str, address: str) -> str | None:
        found = self.answers.get(command)
        answer = found(address) if callable(found) else found
        if answer == "close":
            assert server.transport is not None
            server.transport.close()
            return "250 closed"
        if answer == "hang":
            await asyncio.sleep(PATIENCE_SECONDS)
        return answer

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, "MAIL", address)
        if answer is None or answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = await self._answer(server, "RCPT", address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await self._answer(server, "DATA", envelope.rcpt_tos[0])
        if answer is not None:
            return answer
        assert isinstance(envelope.content, bytes)
        user = session.auth_data if isinstance(session.auth_data, str) else None
        self.mails.append(
            Mail(
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                envelope.content,
                session.ssl is not None or self.is_smtps,
                user,
                tuple(envelope.mail_options),
            )
        )
        self._arrived.set()
        return "250 OK"
