"""`check` of mails: the mail server from the connection to the sender, and what waits or has failed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Final

from sqlalchemy import func, select

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.cli.checks.database import look_into_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import OUTBOX_MAIL
from gateway.database.types import now
from gateway.errors import ConfigurationError
from gateway.mail.desk import mail_server, sender_of
from gateway.mail.faults import MailFault
from gateway.mail.files import FOLDER
from gateway.mail.kinds import State
from gateway.mail.smtp import SmtpTransport

SUBJECT: Final = "mail"
LATE: Final = 15 * 60_000
"""Milliseconds after which a mail that waits shows that something is wrong."""
LATELY: Final = 7 * 86_400_000


def check_mail(settings: Settings) -> Iterator[Finding]:
    """Look at the mail server of the settings, and at the outbox. No mail is sent."""
    yield from _check_sender(settings)
    try:
        yield from _check_transport(settings)
    except ConfigurationError as error:
        yield from (failed(SUBJECT, fault) for fault in error.faults)
    yield from look_into_database(settings, _check_outbox)


def _check_sender(settings: Settings) -> Iterator[Finding]:
    if settings.mail_url is None:
        return
    sender = sender_of(settings)
    if sender.domain == "localhost":
        text = f"mails come from {sender.address}, which hardly any mail server takes"
        yield failed("mail sender", text, "set mail.from to an address of your domain, or set public_url")
    elif settings.mail_reply_to is None and settings.mail_from is None:
        text = f"mails come from {sender.address}, and nobody reads answers to them"
        yield warned("mail sender", text, "set mail.from, and mail.reply_to to an address that you read")
    else:
        yield passed("mail sender", sender.address)


def _check_transport(settings: Settings) -> Iterator[Finding]:
    server = mail_server(settings)
    if server is None:
        folder = settings.data / FOLDER
        there = folder if folder.exists() else settings.data
        if there.exists() and not os.access(there, os.W_OK | os.X_OK):
            yield failed(
                SUBJECT, f"{there} cannot be written to", "give it to the user that runs the gateway"
            )
            return
        text = f"no mail is sent: each is a file below {folder}"
        yield warned(SUBJECT, text, "set mail.url to your mail server")
        return
    if not (server.is_local or server.has_tls or server.user):
        text = f"{server.label}: without a user, mails also go out if it offers no TLS"
        yield warned("mail TLS", text, "use smtps://, or give a user, if others may listen on the way")
    sender = sender_of(settings)
    transport = SmtpTransport(server, seconds=settings.mail_timeout, helo=sender.domain, ca=settings.mail_ca)

    async def ask() -> None:
        async with transport.session() as session:
            await session.check_sender(sender.address)

    try:
        asyncio.run(ask())
    except MailFault as fault:
        yield failed(SUBJECT, f"{server.label}: {fault}", fault.remedy)
    else:
        signed_in = " signs us in and" if server.user else ""
        yield passed(SUBJECT, f"{server.label}{signed_in} takes mails from {sender.address}")


async def _check_outbox(database: Database) -> list[Finding]:
    moment = now()
    async with database.reading() as sql:
        waiting = OUTBOX_MAIL.c.state == State.WAITING
        late = await sql.scalar(
            select(func.count())
            .select_from(OUTBOX_MAIL)
            .where(waiting, OUTBOX_MAIL.c.created < moment - LATE)
        )
        bad = await sql.scalar(
            select(func.count())
            .select_from(OUTBOX_MAIL)
            .where(OUTBOX_MAIL.c.state == State.FAILED, OUTBOX_MAIL.c.created > moment - LATELY)
        )
    found = []
    if late:
        step = "`download-gateway mail list --state waiting` says why"
        found.append(warned("mails", f"{late} wait for more than 15 minutes", step))
    if bad:
        step = "`download-gateway mail list --state failed` says why"
        found.append(warned("mails", f"{bad} have failed in the last 7 days", step))
    return found
