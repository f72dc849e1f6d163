# ruff: noqa: N815 - the fields are named as the API names them
"""The bodies, parameters and documents of /api/connections."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from gateway.platforms.interface import MAX_SECRETS
from gateway.platforms.registry import PLATFORMS
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

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50

Kind = Literal["stripe", "shopify", "woocommerce", "fastspring", "paddle", "lemonsqueezy", "gumroad", "polar"]
assert set(get_args(Kind)) == set(PLATFORMS)
State = Literal["received", "applied", "waiting", "ignored", "failed"]
Secret = Annotated[str, StringConstraints(min_length=6, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Secrets = Annotated[list[Secret], Field(max_length=MAX_SECRETS)]
ApiKey = Annotated[str, StringConstraints(min_length=8, max_length=1000, pattern=r"^[!-~]+$")]
ShopUrl = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[!-~]+$")]

_SECRETS: Final = (
    "The platform's signing secrets; two during a rotation. Never answered. They may be given later, because "
    "some platforms show them only once they have the address."
)
_API_KEY: Final = (
    "A key of the platform's API, where it has one; parts are joined by a colon. Never answered."
)
_MAIL: Final = "Whether buyers get a mail once there is something to download."
_SHOP_URL: Final = "The shop's address, for Shopify and WooCommerce with an API key."


class CreateConnection(RequestModel):
    """A new connection to a shop account."""

    kind: Kind
    name: DisplayName
    secrets: Secrets = Field(default=[], description=_SECRETS)
    live: bool = Field(default=True, description="False takes test events, and nothing else.")
    apiKey: ApiKey | None = Field(default=None, description=_API_KEY)
    shopUrl: ShopUrl | None = Field(default=None, description=_SHOP_URL)
    mail: bool = Field(default=False, description=_MAIL)


class UpdateConnection(RequestModel):
    """What to change of a connection; what is left out stays. null takes `apiKey` and `shopUrl` away."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: DisplayName = optional()
    secrets: Secrets = optional(_SECRETS)
    live: bool = optional()
    apiKey: ApiKey | None = optional(_API_KEY)
    shopUrl: ShopUrl | None = optional(_SHOP_URL)
    mail: bool = optional(_MAIL)

    @model_validator(mode="after")
    def _require_a_change(self) -> UpdateConnection:
        return require_a_change(self)


class ListEvents(Parameters):
    """The parameters of GET /api/connections/{connectionId}/events."""

    state: State | None = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], ReadNumber] = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=ID_PATTERN)] | None = None


class ConnectionDocument(ResponseModel):
    """A connection. Its secrets and its API key are never shown."""

    id: str
    kind: str
    name: str
    live: bool
    url: str
    secrets: int = Field(description="How many there are.")
    hasApiKey: bool
    shopUrl: str | None
    mail: bool = Field(description=_MAIL)
    events: list[str] = Field(description="The events to choose at the platform.")
    createdAt: str
    lastEventAt: str | None
    refused: int = Field(description="Deliveries with a bad signature.")
    lastRefusedAt: str | None
    lastError: str | None


class ConnectionResponse(ResponseModel):
    """One connection."""

    success: Literal[True]
    connection: ConnectionDocument


class ConnectionsResponse(ResponseModel):
    """All connections."""

    success: Literal[True]
    connections: list[ConnectionDocument]
    nextCursor: str | None


class EventDocument(ResponseModel):
    """One event in a connection's inbox."""

    id: str
    dedupeKey: str
    type: str
    state: State
    error: str | None
    receivedAt: str


class EventsResponse(ResponseModel):
    """A page of a connection's inbox, the newest first."""

    success: Literal[True]
    events: list[EventDocument]
    nextCursor: str | None


class FindingDocument(ResponseModel):
    """One thing that was looked at."""

    check: str
    result: Literal["ok", "warn", "fail", "skip"] = Field(description="`fail`: orders do not arrive.")
    text: str
    mend: str | None = Field(description="What to do.")


class ConnectionTestDocument(ResponseModel):
    """Whether a connection works."""

    works: bool
    lastEvent: EventDocument | None
    findings: list[FindingDocument]


class ConnectionTestResponse(ResponseModel):
    """Whether a connection works, and why not."""

    success: Literal[True]
    test: ConnectionTestDocument


class DoneResponse(ResponseModel):
    """It was taken, and is done soon."""

    success: Literal[True]


def changes_of(change: UpdateConnection) -> dict[str, Any]:
    """The changes by the names of the repository."""
    names = {"name": "name", "secrets": "secrets", "live": "live", "apiKey": "api_key", "shopUrl": "shop"}
    names["mail"] = "mail"
    given = {names[name]: getattr(change, name) for name in change.model_fields_set}
    return {name: tuple(value) if name == "secrets" else value for name, value in given.items()}
