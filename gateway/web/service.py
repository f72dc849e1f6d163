"""The `web` process: what it serves in private and in public, and the work behind that.

On `dashboard_listen`: the dashboard, the admin API, webhooks and health. On `web_listen`, where workers and
front proxies pass requests of strangers on: the portal, webhooks, and health for `check`. These are two
applications, so that nothing of the first can be reached through the second, whatever a request looks like.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Final

from aiohttp import web

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.watching import Watch
from gateway.config.database_url import locate_database
from gateway.config.settings import Settings, base_url
from gateway.connections.desk import ConnectionDesk
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.mail.desk import MailDesk
from gateway.orders.cleaning import Cleaner
from gateway.orders.enforcing import Enforcer
from gateway.orders.retention import Days, Retention
from gateway.pages.look import Look
from gateway.runtime.background import running
from gateway.runtime.metrics import Counters
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories
from gateway.usage.applying import EventReader
from gateway.usage.lapses import Lapses
from gateway.usage.retention import UsageDays, UsageRetention
from gateway.usage.sharing_report import sharing_limits
from gateway.usage.token_copies import TokenCopies
from gateway.web.api.application import HEALTH_ROUTES, NOT_FOUND, PREFIX, make_api
from gateway.web.api.context import AdminContext
from gateway.web.api.receipts import WELL_KNOWN_ROUTES
from gateway.web.application import make_application
from gateway.web.attempts import ClientAttempts
from gateway.web.dashboard.application import PREFIX as DASHBOARD
from gateway.web.dashboard.application import make_dashboard
from gateway.web.hooks.application import PREFIX as HOOKS
from gateway.web.hooks.application import HooksContext, make_hooks
from gateway.web.pages import Pages, moved, prepare_templates
from gateway.web.portal.application import PREFIX as PORTAL
from gateway.web.portal.application import make_portal
from gateway.web.server import STOP_SECONDS, Server, run_service
from gateway.web.signing_keys import SigningKeys
from gateway.webhooks.desk import WebhookDesk

_log = logging.getLogger("gateway.web")

OPEN_FILES: Final = 16
"""Descriptors that the storages may keep open here: this process looks at files, and does not serve them."""


def run(
    settings: Settings,
    sockets: list[socket.socket],
    ready: Callable[[], None],
    passed: Sequence[socket.socket] = (),
    counters: Counters | None = None,
) -> None:
    """Answer requests on the listening sockets until SIGTERM, finish what is under way, and return.

    settings.redis_url must be set. ready: called once connections are accepted. passed: the sockets on which
    the public part is served. counters: of this process.
    """
    run_service("web", partial(serve, passed=passed, counters=counters), settings, sockets, ready, _log)


@asynccontextmanager
async def serve(
    store: Repositories,
    sockets: list[socket.socket],
    settings: Settings,
    passed: Sequence[socket.socket] = (),
    counters: Counters | None = None,
) -> AsyncIterator[None]:
    """Answer on the sockets while the context is entered; leaving it finishes the requests under way."""
    location = locate_database(settings.database_url, settings.data)
    async with (
        Database.of(location) as database,
        Watch(database, store, migrates=settings.database_migrate),
    ):
        enforcer = Enforcer(database, store.tokens)
        with closing(Storages.of(settings, OPEN_FILES)) as storages:
            desk = ConnectionDesk(
                database, SecretBox.of(settings), enforcer.wake, allow_loopback=settings.loopback_shops
            )
            mails = MailDesk.of(settings, database, counters, print_link)
            webhooks = WebhookDesk.of(settings, database, counters)
            catalogue = Catalogue(database, store)
            cleaner = Cleaner(database, store.client)
            days = Days(
                settings.retention_inbox,
                settings.retention_events,
                settings.retention_audit,
                settings.retention_customers,
            )
            usage_days = UsageDays(settings.retention_addresses, settings.retention_networks)
            context = AdminContext(
                catalogue,
                storages,
                settings.mint_max_ttl,
                settings.mint_default_ttl,
                database,
                enforcer,
                base_url(settings),
                desk,
                settings.data,
                cleaner,
                mails.mailer,
                webhooks,
                SigningKeys(database, SecretBox.of(settings)),
                Pages(Look.of(settings), settings.language, DASHBOARD, settings.dashboard_url),
                sharing_limits(settings),
                settings.mail_new_versions,
            )
            hook_attempts = ClientAttempts(settings.max_hook_attempts, settings.trusted_proxies)
            private = web.AppRunner(
                make_root(settings, context, hook_attempts), shutdown_timeout=STOP_SECONDS
            )
            public = web.AppRunner(
                make_public_root(settings, context, hook_attempts), shutdown_timeout=STOP_SECONDS
            )
            async with (
                Server(private, sockets, settings, _log),
                Server(public, passed, settings, _log),
                running(enforcer.run()),
                running(desk.run()),
                running(mails.sender.run()),
                running(webhooks.run()),
                running(cleaner.run()),
                running(Retention(database, store.client, days).run()),
                running(store.tokens.index.keep()),
                running(EventReader(database, store.client).run()),
                running(UsageRetention(database, store.client, usage_days).run()),
                running(TokenCopies(database, store.client).run()),
                running(Lapses(database, store.client).run()),
                running(prepare_templates(settings.language)),
            ):
                try:
                    yield
                finally:
                    context.stop.set()


def print_link(line: str) -> None:
    """Print a link for signing in, which only a trial on one machine does. It must not be in the log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def make_public_root(
    settings: Settings, context: AdminContext, hook_attempts: ClientAttempts
) -> web.Application:
    """Mount the parts that strangers reach through workers and front proxies."""
    hooks = make_hooks(HooksContext(context.store, context.desk.receiver, hook_attempts), _log)
    return make_application(
        [*HEALTH_ROUTES, *WELL_KNOWN_ROUTES, moved(PORTAL, PORTAL + "/")],
        context,
        _log,
        mounted={HOOKS: hooks, PORTAL: make_portal(settings, context, _log)},
        not_found="There is nothing here.",
    )


def make_root(settings: Settings, context: AdminContext, hook_attempts: ClientAttempts) -> web.Application:
    """Mount the parts of the process in one application."""
    return make_application(
        [*HEALTH_ROUTES, *WELL_KNOWN_ROUTES, *(moved(path, DASHBOARD + "/") for path in ("/", DASHBOARD))],
        context,
        _log,
        mounted={
            PREFIX: make_api(context, _log),
            HOOKS: make_hooks(HooksContext(context.store, context.desk.receiver, hook_attempts), _log),
            DASHBOARD: make_dashboard(settings, context, _log),
        },
        not_found=NOT_FOUND,
    )
