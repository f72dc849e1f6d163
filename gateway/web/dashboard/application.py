"""`/dashboard` as an application that the web process mounts at PREFIX. SCREENS has all of its pages."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from aiohttp import web

from gateway.config.settings import Settings
from gateway.pages.look import Look
from gateway.users.announcing import invite_command
from gateway.users.hashing import PasswordHashes
from gateway.users.repository import UserRepository
from gateway.web.api.context import AdminContext
from gateway.web.dashboard.attempts import SignInLines
from gateway.web.dashboard.audit import AUDIT_SCREENS
from gateway.web.dashboard.connections import CONNECTION_SCREENS
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.doors import DOORS
from gateway.web.dashboard.frame import Screen
from gateway.web.dashboard.health_report import HEALTH_SCREENS, HealthReport
from gateway.web.dashboard.key_settings import KEY_SCREENS
from gateway.web.dashboard.mail_settings import MAIL_SCREENS
from gateway.web.dashboard.outages import ask_the_other
from gateway.web.dashboard.own_settings import OWN_SCREENS
from gateway.web.dashboard.people import PEOPLE_SCREENS
from gateway.web.dashboard.unmapped import UNMAPPED_SCREENS
from gateway.web.dashboard.webhook_settings import WEBHOOK_SCREENS
from gateway.web.dashboard.work import WORK_SCREENS
from gateway.web.jobs import Jobs
from gateway.web.pages import Pages, make_pages
from gateway.web.sessions import DAY, Cookie, Sessions

PREFIX: Final = "/dashboard"
REFUSALS: Final = "dashboard/refusal.html"
IDLE_DAYS: Final = 7
LONGEST_DAYS: Final = 30
"""A session of a user ends sooner than a customer's: it may do more."""


SCREENS: Final[tuple[Screen, ...]] = (
    *WORK_SCREENS,
    *DOORS,
    *CONNECTION_SCREENS,
    *UNMAPPED_SCREENS,
    *OWN_SCREENS,
    *PEOPLE_SCREENS,
    *KEY_SCREENS,
    *WEBHOOK_SCREENS,
    *MAIL_SCREENS,
    *HEALTH_SCREENS,
    *AUDIT_SCREENS,
)
"""Every page. tests/web/dashboard/test_frame.py walks through all of them."""


def make_dashboard(settings: Settings, work: AdminContext, logger: logging.Logger) -> web.Application:
    """Make the application. Raises ConfigurationError for a logo that cannot be used."""
    pages = Pages(Look.of(settings), settings.language, PREFIX, settings.dashboard_url, REFUSALS)
    secure = (settings.dashboard_url or "").startswith("https://")
    hashes, jobs = PasswordHashes(), Jobs(work.store.client)
    health = HealthReport(settings)
    context = DashboardContext(
        pages,
        work,
        Sessions(work.store.client, "user", IDLE_DAYS * DAY, LONGEST_DAYS * DAY),
        Cookie("user", secure=secure),
        Cookie("passkey", secure=secure),
        UserRepository(work.database),
        hashes,
        SignInLines(work.store.client, settings.trusted_proxies),
        health,
        settings.dashboard_url,
        jobs,
        partial(invite_command, settings),
        frozenset(screen.path for screen in SCREENS if screen.method == "GET"),
    )
    application = make_pages(SCREENS, context, logger, pages, [ask_the_other(work)])

    async def stop(_application: web.Application) -> None:
        hashes.close()
        await jobs.stop()
        await health.stop()

    application.on_cleanup.append(stop)
    return application
