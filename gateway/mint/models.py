# ruff: noqa: N815 - the fields are named as the API names them
"""The body that the mint service reads."""

from __future__ import annotations

from pydantic import Field

from gateway.web.download_urls import TokenTerms, limit_lifetime
from gateway.web.models import Name


class GenerateDownloadUrl(TokenTerms):
    """What to make a download URL for."""

    productId: Name
    version: Name | None = Field(default=None, description="The active version when left out.")


def mint_model(max_ttl: int) -> type[GenerateDownloadUrl]:
    """Make GenerateDownloadUrl with `expiresIn` limited to max_ttl (seconds)."""
    return limit_lifetime(GenerateDownloadUrl, max_ttl)
