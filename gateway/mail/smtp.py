"""Handing mails to a mail server: one connection for several of them.

Rules:

1. A server that offers STARTTLS gets nothing before it (RFC 3207), and its certificate must be valid. Where
   it offers none, user and password are not sent.
2. A server on this machine needs no certificate that anybody has signed: nobody is in between. Debian's
   Postfix has such a one.
3. An address with other characters than ASCII before the @ needs SMTPUTF8 (RFC 6531). A server without it
   will never take it.
4. Every answer has a time limit, and so has each mail as a whole.
5. Every exception of the library leaves as a MailFault in our words.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiosmtplib

from gateway.config.mail_url import MailServer
from gateway.mail.faults import MailFault
from gateway.mail.verdicts import Step, Verdict, shown
from gateway.runtime.system_errors import describe, system_error_of

MAIL_TIMEOUTS: Final = 4
"""How many times the limit of one answer a whole mail may take: it has four answers."""
_FIX_TLS: Final = "renew its certificate, write the name in it into mail.url, or set mail.ca to its CA"


@dataclass(frozen=True)
class Outgoing:
    """A mail that is ready to go. sender, recipient: of the envelope. link: what is in it for signing in."""

    id: str
    kind: str
    sender: str
    recipient: str
    content: bytes
    link: str | None = None

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.recipient.isascii()


class Session(Protocol):
    """What takes mails, one after the other."""

    async def send(self, mail: Outgoing) -> None:
        """Hand a mail over. Raises MailFault."""
        ...

    async def withdraw(self, mail: Outgoing) -> None:
        """Take a mail back whose recipient was erased meanwhile, where that is possible."""
        ...


class Transport(Protocol):
    """Where mails go."""

    def session(self) -> contextlib.AbstractAsyncContextManager[Session]:
        """Be ready to send some mails. Raises MailFault."""
        ...


class SmtpTransport:
    """A mail server."""

    def __init__(
        self, server: MailServer, *, seconds: float, helo: str = "localhost", ca: Path | None = None
    ) -> None:
        """seconds: for one answer. helo: how we are called. ca: the file of the setting `mail.ca`."""
        self.server: Final = server
        self._seconds: Final = seconds
        self._helo: Final = helo
        self._ca: Final = ca

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[SmtpSession]:
        """Connect, secure the connection and sign in. Raises MailFault."""
        client = aiosmtplib.SMTP(
            hostname=self.server.host,
            port=self.server.port,
            use_tls=self.server.has_tls,
            start_tls=False,
            tls_context=self._tls(),
            timeout=self._seconds,
            local_hostname=self._helo,
        )
        try:
            try:
                async with asyncio.timeout(MAIL_TIMEOUTS * self._seconds):
                    await self._open(client)
            except TimeoutError:
                raise _timeout(Step.CONNECT) from None
            yield SmtpSession(client, self._seconds)
            with contextlib.suppress(Exception):
                await client.quit(timeout=min(self._seconds, 5.0))
        finally:
            client.close()

    async def _open(self, client: aiosmtplib.SMTP) -> None:
        with _translating(Step.CONNECT):
            await client.connect()
        with _translating(Step.EHLO):
            await _greet(client)
        if not self.server.has_tls and client.supports_extension("starttls"):
            with _translating(Step.TLS):
                await client.starttls()
            with _translating(Step.EHLO):
                await _greet(client)
        await self._sign_in(client)

    async def _sign_in(self, client: aiosmtplib.SMTP) -> None:
        user, password = self.server.user, self.server.password
        if user is None or password is None:
            return
        is_secure = client.get_transport_info("sslcontext") is not None
        if not (is_secure or self.server.is_local):
            raise MailFault(
                Step.AUTH,
                "the mail server offers no TLS, so user and password are not sent",
                remedy="use smtps:// or a port with STARTTLS, or leave user and password out of mail.url",
            )
        if not client.supported_auth_methods:
            raise MailFault(
                Step.AUTH,
                "the mail server does not let anybody sign in with a password here",
                remedy="use its submission port (587 or 465), or leave user and password out of mail.url",
            )
        with _translating(Step.AUTH, "correct user and password in mail.url, or mail.password_file"):
            await client.login(user.encode(), password.encode())

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            text = f"the certificates of mail.ca cannot be read: {describe(error)}"
            raise MailFault(Step.TLS, text, remedy="correct the path, or the PEM file") from None
        if self.server.is_local and self._ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code // 100 != 5:
            raise
        await client.helo()


class SmtpSession:
    """An open connection."""

    def __init__(self, client: aiosmtplib.SMTP, seconds: float) -> None:
        self._client: Final = client
        self._seconds: Final = seconds

    async def check_sender(self, address: str) -> None:
        """Ask whether mails may come from an address. Raises MailFault."""
        with _translating(Step.SENDER, _FIX_SENDER):
            await self._client.mail(address)
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self._client.rset()

    async def send(self, mail: Outgoing) -> None:
        """Hand a mail over. Raises MailFault."""
        try:
            async with asyncio.timeout(MAIL_TIMEOUTS * self._seconds):
                await self._send(mail)
        except TimeoutError:
            self._client.close()
            raise _timeout(Step.CONTENT) from None
        except MailFault:
            with contextlib.suppress(Exception):
                await self._client.rset()
            raise

    async def withdraw(self, mail: Outgoing) -> None:
        """Do nothing: what a server has taken is out of reach."""

    async def _send(self, mail: Outgoing) -> None:
        client = self._client
        options = []
        if mail.needs_utf8:
            if not client.supports_extension("smtputf8"):
                raise MailFault(
                    Step.RECIPIENT,
                    "the mail server takes no addresses with letters such as ä before the @ (SMTPUTF8)",
                    remedy="use a mail server that does, or give the customer another address",
                    verdict=Verdict.FAILED,
                )
            options.append("SMTPUTF8")
        if client.supports_extension("8bitmime"):
            options.append("BODY=8BITMIME")
        if client.supports_extension("size"):
            options.append(f"SIZE={len(mail.content)}")
        with _translating(Step.SENDER, _FIX_SENDER):
            await client.mail(mail.sender, options=options)
        with _translating(Step.RECIPIENT):
            await client.rcpt(mail.recipient, encoding="utf-8" if mail.needs_utf8 else "ascii")
        with _translating(Step.CONTENT):
            await client.data(mail.content)


_FIX_SENDER: Final = "set mail.from to an address that the mail server lets this user send from"


@contextlib.contextmanager
def _translating(step: Step, remedy: str = "") -> Iterator[None]:
    """Turn what the library raises into a MailFault of the step."""
    try:
        yield
    except aiosmtplib.SMTPConnectResponseError as error:
        raise _answered(Step.GREETING, error.code, error.message, "") from None
    except aiosmtplib.SMTPResponseException as error:
        if error.code < 200:  # the library's own, for what is no answer of SMTP
            text = "the mail server gave an answer that is none of SMTP"
            raise MailFault(step, text, remedy="check host and port of mail.url") from None
        raise _answered(step, error.code, error.message, remedy) from None
    except (aiosmtplib.SMTPTimeoutError, TimeoutError):
        raise _timeout(step) from None
    except aiosmtplib.SMTPServerDisconnected as error:
        raise _broken(step, error) from None
    except (aiosmtplib.SMTPConnectError, OSError) as error:
        raise _broken(step, error) from None
    except (aiosmtplib.SMTPException, ValueError):
        text = f"the mail server does not go on after {step.value}"
        raise MailFault(step, text, remedy=remedy or "look at its log") from None


def _answered(step: Step, code: int, answer: str, remedy: str) -> MailFault:
    text = f"the mail server answered {code} {shown(answer)}".rstrip()
    return MailFault(step, text, code=code, remedy=remedy)


def _timeout(step: Step) -> MailFault:
    if step is Step.CONNECT:
        text = "the mail server does not answer in time"
        return MailFault(step, text, remedy="check host and port of mail.url, the network and the firewall")
    return MailFault(
        step, "the mail server stopped answering", remedy="look at its log, or raise mail.timeout"
    )


def _broken(step: Step, error: BaseException) -> MailFault:
    cause = system_error_of(error)
    while cause is not None and isinstance(cause, aiosmtplib.SMTPException):
        cause = system_error_of(cause.__cause__ or cause.__context__ or Exception())
    if isinstance(cause, ssl.SSLCertVerificationError):
        return MailFault(Step.TLS, "the mail server's certificate is not valid", remedy=_FIX_TLS)
    if isinstance(cause, ssl.SSLError):
        text = "the mail server and this machine do not agree on TLS"
        remedy = "write smtps:// for a port with TLS from the first byte (465), smtp:// for others (587, 25)"
        return MailFault(Step.TLS, text, remedy=remedy)
    if cause is not None and step is Step.CONNECT:
        text = f"the mail server cannot be reached: {describe(cause)}"
        return MailFault(step, text, remedy="check host and port of mail.url, the network and the firewall")
    return MailFault(step, "the mail server closed the connection", remedy="look at its log")
