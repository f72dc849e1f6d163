"""What every handler of the admin API is given."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories


@dataclass(frozen=True)
class AdminContext:
    """The parts of the admin API. max_ttl: seconds from now that a token's expiry may be moved to."""

    store: Repositories
    storages: Storages
    max_ttl: int
