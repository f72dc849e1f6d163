"""Everything that works for mails in the `web` process and in commands, made from the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.config.mail_url import MailServer, Sender, locate_mail_server, read_sender
from gateway.config.portal_link import is_trial
from gateway.config.settings import Settings, base_url
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.errors import ConfigurationError
from gateway.mail.composing import Composer
from gateway.mail.files import FileTransport
from gateway.mail.mailer import Mailer
from gateway.mail.messages import Frame
from gateway.mail.outbox import Outbox, Pace
from gateway.mail.sender import Sender as SenderLoop
from gateway.mail.smtp import SmtpTransport, Transport
from gateway.pages.look import Look
from gateway.runtime.metrics import MAILS, MAILS_WAITING, Counters
from gateway.runtime.system_errors import advise

PORTAL: Final = "/my"
NOBODY: Final = "no-reply"
MAX_PASSWORD: Final = 4096


@dataclass(frozen=True)
class MailDesk:
    """The parts. mailer: what others call. sender: its `run` sends what is in the outbox."""

    outbox: Outbox
    mailer: Mailer
    sender: SenderLoop

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        counters: Counters | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> MailDesk:
        """Make the parts. announce: is told links for signing in, if this is a trial on one machine.

        Raises ConfigurationError for a password file or a logo that cannot be read.
        """
        counters = counters or Counters()
        outbox = Outbox(database, Pace(settings.mail_per_minute, settings.mail_per_recipient))
        box = SecretBox.of(settings)
        waiting = 0

        def count(kind: str, outcome: str) -> None:
            counters.add(MAILS[kind, outcome])

        def show_waiting(number: int) -> None:
            nonlocal waiting
            counters.add(MAILS_WAITING, number - waiting)
            waiting = number

        sender = SenderLoop(
            database,
            outbox,
            make_transport(settings, announce if is_trial(settings) else None),
            Composer(make_frame(settings), box, settings.language),
            seconds=settings.mail_timeout,
            days=settings.retention_mails,
            count=count,
            show_waiting=show_waiting,
        )
        return cls(outbox, Mailer(outbox, box), sender)


def mail_server(settings: Settings) -> MailServer | None:
    """The mail server of the settings; None where mails are files. Raises ConfigurationError."""
    if settings.mail_url is None:
        return None
    password = None
    if settings.mail_password_file is not None:
        try:
            with settings.mail_password_file.open("rb") as file:
                password = file.read(MAX_PASSWORD).decode().strip("\r\n")
        except OSError as error:
            raise ConfigurationError([f"mail.password_file: it cannot be read: {advise(error)}"]) from None
        except UnicodeDecodeError:
            raise ConfigurationError(
                ["mail.password_file: it is not text: write the password alone"]
            ) from None
    try:
        return locate_mail_server(settings.mail_url, password)
    except ValueError as fault:
        raise ConfigurationError([f"mail.url {fault}"]) from None


def make_transport(settings: Settings, announce: Callable[[str], None] | None = None) -> Transport:
    """Where the mails of the settings go. Raises ConfigurationError."""
    server = mail_server(settings)
    if server is None:
        return FileTransport(
            settings.data, most=settings.mail_files, days=settings.retention_mails, announce=announce
        )
    helo = sender_of(settings).domain
    return SmtpTransport(server, seconds=settings.mail_timeout, helo=helo, ca=settings.mail_ca)


def make_frame(settings: Settings) -> Frame:
    """What all mails of the settings have. Raises ConfigurationError for a logo that cannot be used."""
    portal = base_url(settings) + PORTAL
    return Frame(Look.of(settings), sender_of(settings), settings.mail_reply_to, portal)


def sender_of(settings: Settings) -> Sender:
    """Who mails come from."""
    if settings.mail_from is not None:
        return read_sender(settings.mail_from)
    host = urlsplit(settings.public_url or "").hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if "." in host:
            return read_sender(f"{NOBODY}@{host}")
    return Sender("", f"{NOBODY}@localhost")
