"""/api/mails: which mails wait, were sent or have failed, and sending one again."""

from __future__ import annotations

from typing import Any, Final, Protocol

from aiohttp import web
from sqlalchemy import Row

from gateway.database.engine import Database
from gateway.errors import Declined
from gateway.mail.outbox import get_mail, list_mails, resend
from gateway.web.api.mail_models import ListMails, MailResponse, MailsResponse
from gateway.web.auditing import note_change
from gateway.web.responses import json_response
from gateway.web.routes import HasStore, Route
from gateway.web.times import format_time
from gateway.web.validation import validate_query


class HasDatabase(HasStore, Protocol):
    """What these handlers are given."""

    @property
    def database(self) -> Database:
        """Where the outbox is."""
        ...


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_time(moment)


def mail_document(row: Row[Any]) -> dict[str, Any]:
    """The document of a mail. What it says is not shown."""
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "email": row.recipient,
        "customerId": row.customer_id,
        "about": row.about,
        "attempts": row.attempts,
        "code": row.code,
        "error": row.error,
        "createdAt": format_time(row.created),
        "triedAt": _time(row.tried),
        "dueAt": _time(row.due),
    }


async def list_all(request: web.Request, context: HasDatabase) -> web.Response:
    """Answer with a page of mails. Raises Problem, DatabaseError."""
    query = validate_query(ListMails, request)
    async with context.database.reading() as sql:
        rows = await list_mails(
            sql,
            state=query.state,
            kind=query.kind,
            recipient=query.email,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page = rows[: query.limit]
    return json_response(
        {
            "success": True,
            "mails": [mail_document(row) for row in page],
            "nextCursor": page[-1].id if len(rows) > query.limit else None,
        }
    )


async def get_one(request: web.Request, context: HasDatabase) -> web.Response:
    """Answer with one mail. Raises Declined, DatabaseError."""
    async with context.database.reading() as sql:
        row = await get_mail(sql, request.match_info["mailId"])
    if row is None:
        raise Declined("mail_unknown", "There is no such mail.")
    return json_response({"success": True, "mail": mail_document(row)})


async def send_again(request: web.Request, context: HasDatabase) -> web.Response:
    """Send a mail once more, or try one that waits at once. Raises Declined, DatabaseError."""
    async with context.database.writing() as sql:
        identifier = await resend(sql, request.match_info["mailId"])
        row = await get_mail(sql, identifier)
    assert row is not None, "it was there in this transaction"
    note_change(request, mail=identifier)
    return json_response({"success": True, "mail": mail_document(row)}, 202)


_MAIL: Final = "/mails/{mailId}"
MAIL_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route("GET", "/mails", list_all, "listMails", "List mails", MailsResponse, query=ListMails),
    Route("GET", _MAIL, get_one, "getMail", "Show a mail", MailResponse, refusals=(404,)),
    Route(
        "POST",
        f"{_MAIL}/resend",
        send_again,
        "resendMail",
        "Send a mail once more, or try one that waits at once",
        MailResponse,
        status=202,
        refusals=(404, 409),
        audit="mail.resend",
    ),
)
