# ruff: noqa: N815 - the fields are named as the API names them
"""The parameters and documents of /api/mails."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, StringConstraints

from gateway.mail.kinds import Kind, State
from gateway.web.api.order_models import ID_PATTERN, CustomerEmail
from gateway.web.models import Parameters, ReadNumber, ResponseModel

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MailKind = Literal["sign_in", "address_change", "address_changed", "seat", "ready", "version", "test"]
MailState = Literal["waiting", "sent", "failed", "dropped"]
assert set(get_args(MailKind)) == set(Kind)
assert set(get_args(MailState)) == set(State)


class ListMails(Parameters):
    """The parameters of GET /api/mails."""

    state: MailState | None = None
    kind: MailKind | None = None
    email: CustomerEmail | None = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], ReadNumber] = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=ID_PATTERN)] | None = None


class MailDocument(ResponseModel):
    """One mail. What it says is not shown."""

    id: str
    kind: MailKind
    state: MailState = Field(description="`dropped`: it was of no use any more before it could be sent.")
    email: str | None = Field(description="null until it is sent, where it is the customer's.")
    customerId: str | None
    about: dict[str, Any] = Field(description="Ids of what it tells of.")
    attempts: int
    code: int | None = Field(description="What the mail server answered last.")
    error: str | None
    createdAt: str
    triedAt: str | None
    dueAt: str | None = Field(description="When it is tried next.")


class MailResponse(ResponseModel):
    """One mail."""

    success: Literal[True]
    mail: MailDocument


class MailsResponse(ResponseModel):
    """A page of mails, the newest first."""

    success: Literal[True]
    mails: list[MailDocument]
    nextCursor: str | None
