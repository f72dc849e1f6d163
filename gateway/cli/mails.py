"""`mail list | resend | test`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.options import CLI, STORE, Invocation, command, fail
from gateway.cli.output import note, show_table
from gateway.cli.working import look, pages, read_address

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.config.settings import Settings

group = typer.Typer(help="Mails: what waits, was sent or has failed.", no_args_is_help=True)

SENDING: Final = (
    *STORE,
    *("mail_url", "mail_password_file", "mail_ca", "mail_from", "mail_reply_to", "mail_timeout"),
    *("public_url", "listen", "seller_name", "seller_logo", "seller_colour", "seller_links", "language"),
)


class MailState(StrEnum):
    """What became of a mail."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


@command(group, "list", settings=STORE, example="download-gateway mail list --state failed")
def list_(
    invocation: Invocation,
    *,
    state: Annotated[
        MailState | None, typer.Option(help="Only those in this state.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="Only those to this address.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List mails, the newest first, and why they wait or have failed."""
    recipient = read_address("--email", email)

    async def work(catalogue: Catalogue) -> list[Any]:
        from gateway.mail.outbox import list_mails  # noqa: PLC0415

        async def read(count: int, before: str | None) -> list[Any]:
            async with catalogue.database.reading() as sql:
                wanted = None if state is None else state.value
                return list(
                    await list_mails(sql, state=wanted, recipient=recipient, before=before, limit=count)
                )

        return await pages(read, limit)

    found = look(invocation, work)
    from gateway.web.api.mails import mail_document  # noqa: PLC0415

    documents = [mail_document(row) for row in found]
    rows = [
        (
            each["id"],
            each["createdAt"],
            each["kind"],
            each["state"],
            each["email"] or f"customer {each['customerId']}",
            each["error"] or "",
        )
        for each in documents
    ]
    columns = ("ID", "CREATED", "KIND", "STATE", "TO", "WHY")
    invocation.print_result(documents, lambda: show_table(columns, rows, wrap_last=True))


@command(group, "resend", settings=STORE, example="download-gateway mail resend 01hq3v8k2m4n6p8r0t2v4x6z8b")
def resend(
    invocation: Invocation,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The mail's id (from `mail list`).")],
) -> None:
    """Send a mail once more, or try one that waits at once. The web process sends it."""

    async def work(catalogue: Catalogue) -> str:
        from gateway.errors import Declined  # noqa: PLC0415
        from gateway.mail.outbox import resend as send_again  # noqa: PLC0415

        try:
            async with catalogue.database.writing() as sql:
                made = await send_again(sql, identifier)
        except Declined as declined:
            raise fail(str(declined)[:1].lower() + str(declined)[1:].rstrip(".")) from None
        await catalogue.store.audit.record(CLI, "mail.resend", {"mail": made})
        return made

    made = look(invocation, work)
    invocation.print_result({"id": made}, lambda: note(f"The mail {made} is sent next."))


@command(group, "test", settings=SENDING, example="download-gateway mail test you@example.com")
def test(
    invocation: Invocation,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where to send it.")],
) -> int:
    """Send a test mail now, past the outbox, and say what the mail server answers."""
    recipient = read_address("ADDRESS", address)
    assert recipient is not None
    where, fault = asyncio.run(_send_test(invocation.settings, recipient))
    data = {"email": recipient, "sent": fault is None, "to": where, "error": fault}
    if fault is not None:
        if not invocation.json:
            raise fail(f"the test mail was not sent: {fault}")
        invocation.print_result(data, lambda: None)
        return 1
    invocation.print_result(data, lambda: note(f"The test mail is sent: {where}."))
    return 0


async def _send_test(settings: Settings, recipient: str) -> tuple[str, str | None]:
    """Send a mail. Returns where it went, and what was wrong."""
    from gateway.database.types import new_id, now  # noqa: PLC0415
    from gateway.mail import letters  # noqa: PLC0415
    from gateway.mail.desk import mail_server, make_frame, make_transport  # noqa: PLC0415
    from gateway.mail.faults import MailFault  # noqa: PLC0415
    from gateway.mail.files import path_of  # noqa: PLC0415
    from gateway.mail.messages import Envelope, make_message  # noqa: PLC0415
    from gateway.mail.smtp import Outgoing  # noqa: PLC0415
    from gateway.pages.texts import texts_of  # noqa: PLC0415

    frame, identifier = make_frame(settings), new_id()
    letter = letters.test(texts_of(settings.language), seller=frame.look.name, portal=frame.portal)
    envelope = Envelope(identifier, recipient, settings.language, now())
    content = make_message(letter, frame, envelope)
    server = mail_server(settings)
    where = str(path_of(settings.data, identifier)) if server is None else f"{server.label} has taken it"
    mail = Outgoing(identifier, "test", frame.sender.address, recipient, content)
    try:
        async with make_transport(settings).session() as session:
            await session.send(mail)
    except MailFault as fault:
        return where, fault.advice
    return where, None
