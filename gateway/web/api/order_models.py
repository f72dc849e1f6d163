# ruff: noqa: N815 - the fields are named as the API names them
"""The bodies and parameters of the admin API about orders, customers, entitlements and mappings."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from gateway.orders.email_addresses import MAX_LENGTH, AddressError, normalise
from gateway.orders.limits import MAX_ID, MAX_LINES, MAX_QUANTITY, MAX_TEXT
from gateway.orders.mappings import is_period
from gateway.tokens.listing import DEFAULT_LIMIT, MAX_LIMIT
from gateway.web.download_urls import TokenTerms
from gateway.web.models import (
    NO_NUL_PATTERN,
    DisplayName,
    Name,
    Parameters,
    ReadNumber,
    RequestModel,
    Time,
)
from gateway.web.times import parse_time
from gateway.web.validation import fault

MAX_MAPPINGS: Final = 5000
MAX_PRODUCTS: Final = 50
ORDER_ID_PATTERN: Final = r"^[^/\x00]{1,255}$"
ID_PATTERN: Final = r"^[0-9a-z]{26}$"


def _check_email(text: str) -> str:
    try:
        normalise(text)
    except AddressError as error:
        raise fault(str(error)) from None
    return text


def _check_until(text: str) -> str:
    if not is_period(text):
        try:
            parse_time(text)
        except ValueError:
            raise fault(
                "must be a time such as 2026-01-31T12:00:00.000Z, or a period from the order such as P1Y"
            ) from None
    return text


CustomerEmail = Annotated[
    str, StringConstraints(max_length=4 * MAX_LENGTH, pattern=NO_NUL_PATTERN), AfterValidator(_check_email)
]
"""An address in any form of which `gateway.orders.email_addresses` knows the mailbox."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, pattern=NO_NUL_PATTERN)]
LineId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=NO_NUL_PATTERN)]
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
Limit = Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], ReadNumber]
Scope = Literal["all", "version", "until"]
OrderStatus = Literal["pending", "paid", "refunded", "cancelled", "disputed", "charged_back"]
EntitlementStatus = Literal["active", "suspended", "revoked"]
ItemKey = Literal["price", "product", "variant", "sku", "payment_link", "metadata"]


# Requests


class ListOrders(Parameters):
    """The parameters of GET /api/orders."""

    model_config = ConfigDict(populate_by_name=True)

    email: CustomerEmail | None = None
    productId: Name | None = None
    status: OrderStatus | None = None
    start: Time | None = Field(default=None, alias="from", description="When the order was placed.")
    end: Time | None = Field(default=None, alias="to", description="The end, which is not in it.")
    limit: Limit = DEFAULT_LIMIT
    cursor: Id | None = None


class Buyer(RequestModel):
    """Who bought."""

    email: CustomerEmail
    name: DisplayName | None = None


class NewLine(RequestModel):
    """One thing in an order: of a product, or of an item that the connections' mappings know by its SKU."""

    id: LineId
    productId: Name | None = None
    sku: Text | None = None
    title: Text | None = None
    quantity: Quantity = 1
    refunded: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] = 0

    @model_validator(mode="after")
    def _check(self) -> NewLine:
        if (self.productId is None) == (self.sku is None):
            raise fault("must have either productId or sku")
        if self.refunded > self.quantity:
            raise fault("must not have refunded above quantity")
        return self


class PutOrder(RequestModel):
    """An order as it is now, all of it. A line that is left out is gone, and so is what it granted."""

    customer: Buyer
    number: Text | None = None
    placedAt: Time | None = Field(default=None, description="When the order came first, when left out.")
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    test: bool | None = None
    status: Literal["paid", "refunded", "cancelled", "disputed"]
    lines: Annotated[list[NewLine], Field(max_length=MAX_LINES)]
    mail: bool = Field(
        default=False,
        description="Whether the customer gets a mail once there is something to download: one an order.",
    )

    @model_validator(mode="after")
    def _check(self) -> PutOrder:
        if len({line.id for line in self.lines}) != len(self.lines):
            raise fault("must not have two lines of one id")
        return self


class ListCustomers(Parameters):
    """The parameters of GET /api/customers."""

    email: CustomerEmail | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Id | None = None


class MoveCustomer(RequestModel):
    """The address that a customer has from now on."""

    email: CustomerEmail


class ListEntitlements(Parameters):
    """The parameters of GET /api/entitlements."""

    email: CustomerEmail | None = None
    productId: Name | None = None
    status: EntitlementStatus | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Id | None = None


class _Share(RequestModel):
    productId: Name
    scope: Scope | None = Field(default=None, description="`all` when left out.")
    version: Name | None = Field(default=None, description="With the scope `version`.")

    def check(self, until: object) -> None:
        if (self.scope == "version") != (self.version is not None):
            raise fault("must have a version with the scope `version`, and only then")
        if (self.scope == "until") != (until is not None):
            raise fault("must have until with the scope `until`, and only then")


class CreateEntitlement(_Share):
    """What the seller grants by hand."""

    email: CustomerEmail
    name: DisplayName | None = None
    until: Time | None = Field(default=None, description="With `until`: versions published up to then.")
    quantity: Quantity | None = None
    reason: Text

    @model_validator(mode="after")
    def _check(self) -> CreateEntitlement:
        self.check(self.until)
        return self


class UpdateEntitlement(RequestModel):
    """The seller's decision, against everything that platforms tell. `override` null takes it back."""

    override: Literal["grant", "revoke"] | None
    reason: Text | None = None


class EntitlementUrl(TokenTerms):
    """What to make a download URL for. Without a customer, the token is for the entitlement's."""

    version: Name | None = Field(default=None, description="The active one, or the latest that is open.")


class MappedProduct(_Share):
    """One product that an item is."""

    until: Annotated[str, AfterValidator(_check_until)] | None = Field(
        default=None, description="A time, or a period that begins with the order, such as `P1Y`."
    )

    @model_validator(mode="after")
    def _check(self) -> MappedProduct:
        self.check(self.until)
        return self


class Mapping(RequestModel):
    """Which products an item of the platform is. None: the item is nothing to download."""

    key: ItemKey
    value: Text
    products: Annotated[list[MappedProduct], Field(max_length=MAX_PRODUCTS)]

    @model_validator(mode="after")
    def _check(self) -> Mapping:
        if len({product.productId for product in self.products}) != len(self.products):
            raise fault("must not have a product twice")
        return self


class PutMappings(RequestModel):
    """All mappings of a connection."""

    mappings: Annotated[list[Mapping], Field(max_length=MAX_MAPPINGS)]

    @model_validator(mode="after")
    def _check(self) -> PutMappings:
        if len({(each.key, each.value) for each in self.mappings}) != len(self.mappings):
            raise fault("must not have an item twice")
        return self


class ListUnmapped(Parameters):
    """The parameters of GET /api/unmapped."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}$")] | None = None
