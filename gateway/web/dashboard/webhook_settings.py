"""*Settings, webhooks*: where events are sent, what came of each, and sending once more. An owner's pages."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.errors import Declined
from gateway.web.api.webhook_models import CreateWebhook
from gateway.web.api.webhooks import check_url
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.forms import read_form
from gateway.web.problems import Problem
from gateway.web.validation import validate
from gateway.webhooks.deliveries import STATES
from gateway.webhooks.desk import try_endpoint
from gateway.webhooks.endpoints import Endpoint
from gateway.webhooks.outbox.announcements import EventType

_ = str

WEBHOOKS: Final = "/settings/webhooks"
URL_FAULT: Final = _("Write an address like https://hooks.example/path, of a host on the internet.")


async def _find(request: web.Request, context: DashboardContext) -> Endpoint:
    try:
        return await context.work.webhooks.endpoints.get(request.match_info["webhook"])
    except Declined:
        raise Problem("not_found", "There is no such webhook.") from None


async def show_webhooks(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show where events are sent."""
    return await _page(request, context)


async def _page(
    request: web.Request, context: DashboardContext, url: str = "", fault: str = ""
) -> web.Response:
    return await context.show(
        request,
        "dashboard/webhooks.html",
        422 if fault else 200,
        found=await context.work.webhooks.endpoints.list_all(),
        types=[each.value for each in EventType],
        url=url,
        fault=context.say(request, fault) if fault else "",
    )


async def create(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a webhook. Its secret is on this answer, and nowhere else afterwards. Raises DatabaseError."""
    form = await read_form(request)
    given = {"url": form.text("url"), "name": form.text("name") or None, "types": form.texts("types")}
    try:
        new = validate(CreateWebhook, given)
        check_url(new.url, allow_loopback=context.work.webhooks.allow_loopback)
        made = await context.work.webhooks.endpoints.create(new.url, new.name, new.types)
    except (Problem, Declined):
        return await _page(request, context, form.text("url"), URL_FAULT)
    note_change(request, webhook=made.id)
    return await _one(request, context, made, made.secrets[0].text)


async def show_webhook(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one webhook, and what was sent to it."""
    return await _one(request, context, await _find(request, context))


async def _one(
    request: web.Request, context: DashboardContext, endpoint: Endpoint, secret: str = ""
) -> web.Response:
    listing = read_listing(request, "state")
    state = listing.filters["state"]
    found = await context.work.webhooks.log.list_page(
        endpoint.id, listing.limit, listing.after or None, state if state in STATES else None
    )
    return await context.show(
        request,
        "dashboard/webhook.html",
        endpoint=endpoint,
        secret=secret,
        own=f"{WEBHOOKS}/{endpoint.id}",
        listing=listing.with_rows(found, lambda each: each.id),
        is_paused=endpoint.paused_until is not None and endpoint.paused_until > now(),
    )


async def rotate(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make another secret; the former is good for a while. It is on this answer only."""
    endpoint = await _find(request, context)
    after = await context.work.webhooks.endpoints.rotate(endpoint.id)
    note_change(request, webhook=endpoint.id)
    return await _one(request, context, after, after.secrets[0].text)


async def switch(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Disable a webhook, or enable it again."""
    endpoint = await _find(request, context)
    is_on = (await read_form(request)).text("enabled") == "yes"
    await context.work.webhooks.endpoints.change(endpoint.id, {"enabled": is_on})
    context.work.webhooks.deliverer.wake()
    note_change(request, webhook=endpoint.id, enabled=str(is_on).lower())
    text = _("The webhook is enabled.") if is_on else _("The webhook is disabled: nothing is sent to it.")
    return await context.go(request, f"{WEBHOOKS}/{endpoint.id}", text)


async def send_test(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Send a test message, and say what came of it."""
    endpoint = await _find(request, context)
    answer = await try_endpoint(endpoint, allow_loopback=context.work.webhooks.allow_loopback)
    note_change(request, webhook=endpoint.id)
    path = f"{WEBHOOKS}/{endpoint.id}"
    if answer.is_good:
        text = _("The test message has arrived: %(status)s in %(time)s ms.")
        return await context.go(request, path, text, status=answer.status, time=answer.milliseconds)
    reason = answer.error or str(answer.status)
    text = _("The test message has not arrived: %(reason)s")
    return await context.go(request, path, text, "bad", reason=reason)


async def replay(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Send a message once more, soon."""
    endpoint, delivery = await _find(request, context), request.match_info["delivery"]
    path = f"{WEBHOOKS}/{endpoint.id}"
    try:
        await context.work.webhooks.log.replay(endpoint.id, delivery)
    except Declined as refusal:
        if refusal.code == "webhook_disabled":
            return await context.go(request, path, _("The webhook is disabled; enable it first."), "bad")
        raise Problem("not_found", "There is no such delivery.") from None
    context.work.webhooks.deliverer.wake()
    note_change(request, webhook=endpoint.id, delivery=delivery)
    return await context.go(request, path, _("It is sent once more; reload this page in a moment."))


async def remove(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Remove a webhook with its deliveries."""
    endpoint = await _find(request, context)
    await context.work.webhooks.endpoints.remove(endpoint.id)
    note_change(request, webhook=endpoint.id)
    return await context.go(request, WEBHOOKS, _("The webhook is removed."))


_ONE: Final = WEBHOOKS + "/{webhook}"

WEBHOOK_SCREENS: Final = (
    show(WEBHOOKS, show_webhooks, OWNERS),
    change(WEBHOOKS, create, OWNERS, audit="webhook.create"),
    show(_ONE, show_webhook, OWNERS),
    change(f"{_ONE}/rotate", rotate, OWNERS, audit="webhook.rotate"),
    change(f"{_ONE}/switch", switch, OWNERS, audit="webhook.update"),
    change(f"{_ONE}/test", send_test, OWNERS, audit="webhook.test"),
    change(f"{_ONE}/remove", remove, OWNERS, audit="webhook.delete"),
    change(f"{_ONE}/deliveries/{{delivery}}/replay", replay, OWNERS, audit="webhook.replay"),
)
