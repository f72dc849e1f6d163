"""What every handler of the admin API is given."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gateway.catalogue.catalogue import Catalogue
from gateway.connections.desk import ConnectionDesk
from gateway.database.engine import Database
from gateway.database.probing import DatabaseProbe
from gateway.mail.mailer import Mailer
from gateway.orders.cleaning import Cleaner
from gateway.orders.enforcing import Enforcer
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories
from gateway.usage.sharing import SharingLimits
from gateway.web.pages import Pages
from gateway.web.signing_keys import SigningKeys
from gateway.webhooks.desk import WebhookDesk


@dataclass(frozen=True)
class AdminContext:
    """The parts of the admin API.

    max_ttl: seconds from now that a token's expiry may be moved to. default_ttl: the lifetime of a token, in
    seconds, when a request gives none.

    enforcer: ends the tokens of what was revoked; it is woken after each commit that may revoke. base_url:
    what public URLs begin with. desk: what works for connections to platforms. data: the folder of the
    setting. cleaner: writes files anew after somebody was erased. mailer: sends mails. webhooks: what works
    for outgoing ones. signing: the keys of receipts. pages: how a receipt looks as a page. sharing: from when
    on a link looks shared. tells_customers: whether customers are told of new versions, where
    a request does not say.

    stop: set when the service stops, so that files are not read to their end. reading: held by the one
    request that reads files; others wait, because they would only slow each other and the downloads down.
    """

    catalogue: Catalogue
    storages: Storages
    max_ttl: int
    default_ttl: int
    database: Database
    enforcer: Enforcer
    base_url: str
    desk: ConnectionDesk
    data: Path
    cleaner: Cleaner
    mailer: Mailer
    webhooks: WebhookDesk
    signing: SigningKeys
    pages: Pages
    sharing: SharingLimits
    tells_customers: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @cached_property
    def probe(self) -> DatabaseProbe:
        """Asks whether the database answers."""
        return DatabaseProbe(self.database)

    @property
    def store(self) -> Repositories:
        """What the data plane is served from: tokens, products, API keys."""
        return self.catalogue.store
