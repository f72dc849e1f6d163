"""`/my` as an application that the web process mounts at PREFIX."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from gateway.config.page_settings import LANGUAGES
from gateway.config.settings import Settings
from gateway.config.storages import S3Settings
from gateway.http.client_address import TrustedProxies
from gateway.pages.look import Look
from gateway.storage.s3.bucket import make_bucket
from gateway.web.api.context import AdminContext
from gateway.web.forms import read_form
from gateway.web.pages import LANGUAGE_COOKIE, Page, Pages, make_pages
from gateway.web.portal import account, downloads, news, order_page, purchases, seats, sign_in
from gateway.web.portal.challenges import Challenges
from gateway.web.portal.context import PortalContext
from gateway.web.portal.errands import Errands
from gateway.web.quotas import Quotas
from gateway.web.sessions import Cookie, Sessions

PREFIX: Final = "/my"
_A_YEAR: Final = 31_536_000
_PURCHASE: Final = "/purchases/{purchase}"


async def choose_language(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Remember the language that the reader has chosen, and go back to the page. Raises Problem."""
    form = await read_form(request)
    response = context.pages.back(form.text("back"))
    if form.text("language") in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, form.text("language"), max_age=_A_YEAR, path="/", samesite="Lax")
    return response


PAGES: Final = (
    Page("GET", "/", purchases.show_first),
    Page("POST", "/sign-in", sign_in.ask_for_mail),
    Page("GET", "/code", sign_in.show_code),
    Page("POST", "/code", sign_in.type_code),
    Page("GET", "/sign-in/{secret}", sign_in.show_link),
    Page("POST", "/sign-in/{secret}", sign_in.use_link),
    Page("POST", "/sign-out", sign_in.sign_out),
    Page("GET", "/purchases.csv", purchases.WRITE_CSV),
    Page("GET", _PURCHASE, purchases.SHOW_PURCHASE),
    Page("POST", f"{_PURCHASE}/download", downloads.DOWNLOAD),
    Page("POST", f"{_PURCHASE}/continue", downloads.CONTINUE),
    Page("POST", f"{_PURCHASE}/list", downloads.WRITE_LIST),
    Page("GET", f"{_PURCHASE}/SHA256SUMS", downloads.WRITE_SUMS),
    Page("POST", f"{_PURCHASE}/seats", seats.INVITE),
    Page("POST", f"{_PURCHASE}/seats/remove", seats.REMOVE),
    Page("GET", "/orders/{order}", order_page.SHOW_ORDER),
    Page("GET", "/account", account.SHOW_ACCOUNT),
    Page("POST", "/account/sessions", account.END_SESSION),
    Page("POST", "/account/address", account.ASK_TO_MOVE),
    Page("GET", "/account/move", account.SHOW_MOVE),
    Page("POST", "/account/move", account.MOVE_TO),
    Page("POST", "/account/news", news.CHOOSE_NEWS),
    Page("GET", f"{news.LINKS}{{secret}}", news.show_link),
    Page("POST", f"{news.LINKS}{{secret}}", news.use_link),
    Page("POST", "/language", choose_language),
)


def make_portal(settings: Settings, work: AdminContext, logger: logging.Logger) -> web.Application:
    """Make the application. Raises ConfigurationError for a logo that cannot be used."""
    downloads_from = tuple(redirecting_origins(settings))
    look, origin = Look.of(settings), settings.public_url
    pages = Pages(look, settings.language, PREFIX, origin, downloads=downloads_from, unguarded=news.LINKS)
    is_secure = work.base_url.startswith("https://")
    client = work.store.client
    context = PortalContext(
        pages,
        work,
        Sessions(client, "customer"),
        Cookie("customer", secure=is_secure),
        Cookie("asked", secure=is_secure),
        Cookie("moving", secure=is_secure),
        Cookie("wanted", secure=is_secure),
        Challenges(client),
        Quotas(client),
        Errands(),
        TrustedProxies(settings.trusted_proxies),
    )
    application = make_pages(PAGES, context, logger, pages)
    application.on_cleanup.append(context.errands.finish)
    return application


def redirecting_origins(settings: Settings) -> Iterator[str]:
    """The origins of buckets that clients are redirected to."""
    for name, table in settings.storage.items():
        if isinstance(table, S3Settings) and table.delivery == "redirect":
            bucket = make_bucket(name, table)
            yield f"{bucket.scheme}://{bucket.authority}"
