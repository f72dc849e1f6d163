"""What every handler of the admin API is given."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from gateway.catalogue.catalogue import Catalogue
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories


@dataclass(frozen=True)
class AdminContext:
    """The parts of the admin API. max_ttl: seconds from now that a token's expiry may be moved to.

    stop: set when the service stops, so that files are not read to their end. reading: held by the one
    request that reads files; others wait, because they would only slow each other and the downloads down.
    """

    catalogue: Catalogue
    storages: Storages
    max_ttl: int
    stop: threading.Event = field(default_factory=threading.Event)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def store(self) -> Repositories:
        """What the data plane is served from: tokens, products, API keys."""
        return self.catalogue.store
