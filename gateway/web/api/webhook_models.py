# ruff: noqa: N815 - the fields are named as the API names them
"""The bodies, parameters and documents of /api/webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from gateway.web.api.order_models import ID_PATTERN
from gateway.web.models import (
    DisplayName,
    Parameters,
    ReadNumber,
    RequestModel,
    ResponseModel,
    optional,
    require_a_change,
)
from gateway.webhooks.endpoints import OVERLAP_SECONDS
from gateway.webhooks.outbox.announcements import EventType
from gateway.webhooks.urls import MOST_CHARACTERS

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
LONGEST_OVERLAP = 7 * 24 * 3600

Kind = Literal[
    "token.created",
    "token.expired",
    "download.started",
    "download.completed",
    "download.failed",
    "product.uploaded",
    "order.paid",
    "entitlement.revoked",
]
assert set(get_args(Kind)) == {each.value for each in EventType}
State = Literal["waiting", "delivered", "failed"]
Url = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS, pattern=r"^https?://[!-~]+$")]
Kinds = Annotated[list[Kind], Field(max_length=len(EventType))]

_URL = (
    "Where events are sent, by POST: https:// and a host of the internet, port 443 or one above 1023. The "
    "setting loopback_webhooks also allows this machine."
)
_TYPES = "The types of events that are sent; none, or left out: all."


class CreateWebhook(RequestModel):
    """A new endpoint for events."""

    url: Url = Field(description=_URL)
    name: DisplayName | None = None
    types: Kinds = Field(default=[], description=_TYPES)


class UpdateWebhook(RequestModel):
    """What to change of an endpoint; what is left out stays. null takes the name away."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    url: Url = optional(_URL)
    name: DisplayName | None = None
    types: Kinds = optional(_TYPES)
    enabled: bool = optional("False stops it; true starts it again, also after it was disabled.")

    @model_validator(mode="after")
    def _require_a_change(self) -> UpdateWebhook:
        return require_a_change(self)


class RotateSecret(RequestModel):
    """How the secret is replaced."""

    overlap: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = Field(
        default=OVERLAP_SECONDS,
        description="Seconds for which the old secret still signs beside the new one; 0 ends it at once.",
    )


class ListDeliveries(Parameters):
    """The parameters of GET /api/webhooks/{webhookId}/deliveries."""

    state: State | None = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], ReadNumber] = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=ID_PATTERN)] | None = None


class WebhookDocument(ResponseModel):
    """An endpoint."""

    id: str
    url: str
    name: str | None
    types: list[Kind]
    enabled: bool
    disabledAt: str | None
    disabledReason: str | None
    createdAt: str
    secrets: int = Field(description="With how many a message is signed now; two during a rotation.")
    failures: int = Field(description="Attempts that have failed since the last one that did not.")
    failingSince: str | None
    pausedUntil: str | None = Field(description="Until when the receiver asked for nothing.")
    lastSuccessAt: str | None
    lastFailureAt: str | None
    lastError: str | None
    secret: str = optional(
        "`whsec_…`. Only where it is new: when the endpoint is made, and when it is rotated."
    )


class WebhookResponse(ResponseModel):
    """One endpoint."""

    success: Literal[True]
    webhook: WebhookDocument


class WebhooksResponse(ResponseModel):
    """All endpoints."""

    success: Literal[True]
    webhooks: list[WebhookDocument]
    nextCursor: str | None


class AttemptDocument(ResponseModel):
    """One attempt."""

    at: str
    status: int | None = Field(description="Of the answer; null where there was none.")
    milliseconds: int
    error: str | None


class DeliveryDocument(ResponseModel):
    """One message to one endpoint."""

    id: str
    messageId: str = Field(description="The `webhook-id`, the same for all attempts.")
    type: Kind
    state: State
    createdAt: str
    attempts: int
    nextAttemptAt: str | None
    tries: list[AttemptDocument] = Field(description="The latest attempts, the oldest first.")
    payload: dict[str, Any] = Field(description="The body that is sent.")


class DeliveriesResponse(ResponseModel):
    """A page of the deliveries of an endpoint, the newest first."""

    success: Literal[True]
    deliveries: list[DeliveryDocument]
    nextCursor: str | None


class WebhookTestDocument(ResponseModel):
    """What came of a test message."""

    delivered: bool
    status: int | None
    milliseconds: int
    error: str | None


class WebhookTestResponse(ResponseModel):
    """What came of a test message."""

    success: Literal[True]
    test: WebhookTestDocument
