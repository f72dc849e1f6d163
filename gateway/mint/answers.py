# ruff: noqa: N815 - the fields are named as the API names them
"""What the mint service answers: models for the OpenAPI document; the tests hold real answers to them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.mint.models import Digest, Metadata, Status, Time, TokenId, TokenStatus, optional


class Answer(BaseModel):
    """What every answer has in common."""

    model_config = ConfigDict(extra="forbid")


class DownloadUrl(Answer):
    """A fresh token. It is told once and kept nowhere."""

    success: Literal[True]
    productId: str
    version: str
    downloadToken: str
    downloadUrl: str
    expiresAt: Time


class CustomerData(Answer):
    """Who a token is for."""

    email: str | None
    name: str | None


class TokenData(Answer):
    """What is known of a token; never the token. Expired ones are unknown."""

    tokenId: TokenId
    productId: str
    version: str
    status: TokenStatus
    createdAt: Time
    expiresAt: Time
    revokedAt: Time | None
    maxDownloads: int | None
    bytesCharged: int = Field(description="Bytes of all files together; counted only with maxDownloads.")
    customer: CustomerData
    metadata: Metadata


class TokenAnswer(Answer):
    """One token."""

    success: Literal[True]
    token: TokenData


class TokensAnswer(Answer):
    """One page of the tokens, in no order. It can be short, even empty, and still have a next one."""

    success: Literal[True]
    tokens: list[TokenData]
    nextCursor: str | None = Field(description="Asks for the next page; null: this was the last.")


class VersionData(Answer):
    """One version of a product."""

    version: str
    manifest: Digest = Field(description="The digest of the list of its files.")


class ProductData(Answer):
    """A product and its versions."""

    productId: str
    name: str
    status: Status
    activeVersion: str | None
    createdAt: Time
    versions: list[VersionData]


class ProductAnswer(Answer):
    """One product."""

    success: Literal[True]
    product: ProductData


class ProductsAnswer(Answer):
    """All products, by id."""

    success: Literal[True]
    products: list[ProductData]


class HealthAnswer(Answer):
    """The service is alive, or ready."""

    success: Literal[True]
    status: Literal["ok"]


class FaultData(Answer):
    """A field that is wrong."""

    field: str
    message: str


class ProblemData(Answer):
    """Why not (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    error: str
    success: Literal[False]
    errors: list[FaultData] = optional("Each field that is wrong.")
