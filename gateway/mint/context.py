"""What every handler of the mint service is given."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mint.models import GenerateDownloadUrl
from gateway.tokens.repositories import Repositories


@dataclass(frozen=True)
class MintContext:
    """The service's parts.

    base_url: what download URLs begin with. default_ttl: the lifetime of a token, in seconds, when the
    request gives none. mint_model: the model of the request's body, with the limits of the settings.
    """

    store: Repositories
    base_url: str
    default_ttl: int
    mint_model: type[GenerateDownloadUrl]
