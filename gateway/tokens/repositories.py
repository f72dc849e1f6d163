"""What the control plane asks of the store: tokens, products, API keys and audit trail, over one client."""

from __future__ import annotations

import logging
from typing import Final

from gateway.products.repository import ProductRepository
from gateway.store.client import StoreClient
from gateway.tokens.audit import AuditTrail
from gateway.tokens.keys import KeyRepository
from gateway.tokens.repository import TokenRepository


class Repositories:
    """The repositories of one store, and the client that they share. An async context manager that closes it.

        async with Repositories.connect("redis://localhost") as store:
            product = await store.products.get("epic-drums-v1")

    `client` is for commands that belong to no repository.
    """

    def __init__(self, client: StoreClient) -> None:
        self.client: Final = client
        self.products: Final = ProductRepository(client)
        self.tokens: Final = TokenRepository(client, self.products)
        self.keys: Final = KeyRepository(client)
        self.audit: Final = AuditTrail(client)

    @classmethod
    def connect(cls, url: str, timeout: float = 1.0, logger: logging.Logger | None = None) -> Repositories:
        """The store at a redis://, rediss:// or unix:// URL. Raises ConfigurationError for any other URL.

        Connections are made when they are first needed, so the server may be away now. timeout: seconds that
        one batch of commands may take. logger: where a service logs why the store cannot be used.
        """
        return cls(StoreClient([url], timeout, logger))

    async def __aenter__(self) -> Repositories:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tokens.index.close()
        await self.client.close()
