"""*Connections*: shop accounts, set up step by step, what they sent, and what is wrong. An owner's pages.

Secrets are typed in and never shown again. What a platform sent is shown as text, and only its beginning.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web
from sqlalchemy import select

from gateway.connections.health import Health, examine, examine_all
from gateway.connections.inbox import STATES
from gateway.connections.repository import Connection
from gateway.connections.sealing import SealError
from gateway.database.tables import INBOX
from gateway.errors import Declined
from gateway.orders.mapping_store import get_mappings
from gateway.platforms.clients.api import ApiRefused
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.registry import PLATFORMS
from gateway.web.api.connection_models import CreateConnection, UpdateConnection, changes_of
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.dashboard.platform_steps import GUIDES
from gateway.web.forms import Form, read_form
from gateway.web.problems import Problem
from gateway.web.validation import validate

_ = str

ROOT: Final = "/connections"
MOST_SHOWN: Final = 20_000
"""Characters of an event's body that a page shows: a page has 60 KB at most. An order of 30 lines fits."""
FAULTS: Final = {
    "name": _("Use 1 to 200 printable characters."),
    "secrets": _("A secret has 6 to 500 characters, on one line. Two are good during a rotation."),
    "apiKey": _("An API key has 8 to 1,000 characters without spaces."),
    "shopUrl": _("Write the shop's address like https://shop.example."),
}
TAKEN: Final = _("There is another connection of this name.")


async def _find(request: web.Request, context: DashboardContext) -> Connection:
    found = await context.work.desk.connections.get(request.match_info["connection"])
    if found is None:
        raise Problem("not_found", "There is no such connection.")
    return found


async def list_connections(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show all connections, and whether each works."""
    repository = context.work.desk.connections
    found = await examine_all(repository.database, await repository.list_all())
    return await context.show(request, "dashboard/connections.html", found=found, platforms=PLATFORMS)


async def _examine(context: DashboardContext, connection: Connection, *, asks: bool = False) -> Health:
    desk = context.work.desk
    return await examine(desk.connections.database, connection, asks=asks, allow_loopback=desk.allow_loopback)


async def choose_platform(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the platforms."""
    return await context.show(request, "dashboard/connection_new.html", platforms=PLATFORMS.values())


def _kind(request: web.Request) -> str:
    kind = request.match_info["kind"]
    if kind not in GUIDES:
        raise Problem("not_found", "There is no such platform.")
    return kind


async def show_new(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Ask for the name of a new connection."""
    return await _new_page(request, context)


async def _new_page(
    request: web.Request, context: DashboardContext, name: str = "", fault: str = ""
) -> web.Response:
    return await context.show(
        request,
        "dashboard/connection_name.html",
        422 if fault else 200,
        platform=PLATFORMS[_kind(request)],
        name=name,
        fault=context.say(request, fault) if fault else "",
    )


async def create(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a connection, whose page has the next steps."""
    form, kind = await read_form(request), _kind(request)
    name = form.text("name")
    try:
        new = validate(CreateConnection, {"kind": kind, "name": name, "live": form.text("mode") != "test"})
        made = await context.work.desk.connections.create(kind, new.name, (), live=new.live)
    except Declined:
        return await _new_page(request, context, name, TAKEN)
    except Problem:
        return await _new_page(request, context, name, FAULTS["name"])
    note_change(request, connection=made.id, kind=kind)
    text = _("The connection is made. Go on with the steps below.")
    return await context.go(request, f"{ROOT}/{made.id}", text)


async def show_connection(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one connection: what to do next, what is wrong, and what it sent."""
    return await _page(request, context, await _find(request, context))


async def _page(
    request: web.Request,
    context: DashboardContext,
    connection: Connection,
    faults: dict[str, str] | None = None,
    *,
    asks: bool = False,
) -> web.Response:
    desk = context.work.desk
    listing = read_listing(request, "state")
    state = listing.filters["state"]
    events = await desk.inbox.list_page(
        connection.id, listing.limit, listing.after or None, state if state in STATES else None
    )
    async with desk.connections.database.reading() as sql:
        mappings = await get_mappings(sql, connection.id)
    told = {field: context.say(request, FAULTS.get(field, text)) for field, text in (faults or {}).items()}
    return await context.show(
        request,
        "dashboard/connection.html",
        422 if faults else 200,
        connection=connection,
        platform=PLATFORMS[connection.kind],
        guide=GUIDES[connection.kind],
        has_client=connection.kind in CLIENTS,
        address=f"{context.work.base_url.rstrip('/')}/hooks/{connection.id}",
        health=await _examine(context, connection, asks=asks),
        listing=listing.with_rows(events, lambda event: event.id),
        states=STATES,
        mappings=mappings,
        faults=told,
    )


def _changes(form: Form) -> dict[str, Any]:
    """What a form changes, by the names of the API. A secret that is left empty stays."""
    given: dict[str, Any] = {}
    if "name" in form:
        given |= {"name": form.text("name"), "live": form.text("mode") != "test"}
    if form.text("secrets"):
        given["secrets"] = [line.strip() for line in form.text("secrets").splitlines() if line.strip()]
    if form.text("apiKey"):
        given["apiKey"] = form.text("apiKey")
    if form.text("forget") == "yes":
        given["apiKey"] = None
    if "shopUrl" in form:
        given["shopUrl"] = form.text("shopUrl") or None
    return given


async def update(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Change a connection's name, secrets, API key or shop."""
    form, before = await read_form(request), await _find(request, context)
    given = _changes(form)
    path = f"{ROOT}/{before.id}"
    if not given:
        return await context.go(request, path, _("Nothing was entered."), "warn")
    try:
        asked = validate(UpdateConnection, given)
        changes = changes_of(asked)
        _check_access(context, before, changes)
        await context.work.desk.connections.change(before.id, **changes)
    except Problem as problem:
        return await _page(request, context, before, {_first(field): text for field, text in problem.faults})
    except ApiRefused:
        return await _page(request, context, before, {"shopUrl": ""})
    except Declined:
        return await _page(request, context, before, {"other": TAKEN})
    except SealError:
        text = _("The secrets cannot be kept now: see the log, and `download-gateway check`.")
        return await context.go(request, path, text, "bad")
    note_change(request, connection=before.id, changed=",".join(sorted(given)))
    return await context.go(request, path, _("The connection is changed."))


def _first(field: str) -> str:
    """The name of a field of the form: `secrets[0]` is `secrets`."""
    return field.partition("[")[0]


def _check_access(context: DashboardContext, before: Connection, changes: dict[str, Any]) -> None:
    """Refuse an API key or an address that cannot work. Raises ApiRefused."""
    client = CLIENTS.get(before.kind)
    key, shop = changes.get("api_key", before.api_key), changes.get("shop", before.shop)
    if client is not None and (key or shop):
        client.access(key or "", shop, before.live, context.work.desk.allow_loopback)


async def try_out(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Ask the platform's API whether it takes the key, and show everything that is known."""
    connection = await _find(request, context)
    note_change(request, connection=connection.id)
    return await _page(request, context, connection, asks=True)


async def remove(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Remove a connection. Orders stay."""
    connection = await _find(request, context)
    await context.work.desk.connections.remove(connection.id)
    note_change(request, connection=connection.id, name=connection.name)
    text = _("The connection %(name)s is removed. Its orders stay.")
    return await context.go(request, ROOT, text, name=connection.name)


async def show_event(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what came, and what became of it. Raises Problem."""
    connection = await _find(request, context)
    query = select(INBOX).where(
        INBOX.c.connection_id == connection.id, INBOX.c.id == request.match_info["event"]
    )
    async with context.work.database.reading() as sql:
        event = (await sql.execute(query)).first()
    if event is None:
        raise Problem("not_found", "There is no such event.")
    text = readable(event.body)
    return await context.show(
        request,
        "dashboard/connection_event.html",
        connection=connection,
        event=event,
        body=text[:MOST_SHOWN],
        is_cut=len(text) > MOST_SHOWN,
        length=len(event.body),
    )


def readable(body: bytes) -> str:
    """A body as text: JSON with a line for each value, anything else as it is."""
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


async def replay(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Apply an event once more. Raises Problem."""
    connection, event = await _find(request, context), request.match_info["event"]
    path = f"{ROOT}/{connection.id}/events/{event}"
    try:
        await context.work.desk.inbox.replay(connection.id, event)
    except Declined as refusal:
        if refusal.code == "event_emptied":
            text = _("What it said is gone: its customer was erased, or its time was over.")
            return await context.go(request, path, text, "bad")
        raise Problem("not_found", "There is no such event.") from None
    context.work.desk.applier.wake()
    note_change(request, connection=connection.id, event=event)
    return await context.go(request, path, _("It is applied once more; reload this page in a moment."))


_ONE: Final = ROOT + "/{connection}"
_EVENT: Final = _ONE + "/events/{event}"

CONNECTION_SCREENS: Final = (
    show(ROOT, list_connections, OWNERS),
    show("/connect", choose_platform, OWNERS),
    show("/connect/{kind}", show_new, OWNERS),
    change("/connect/{kind}", create, OWNERS, audit="connection.create"),
    show(_ONE, show_connection, OWNERS),
    change(_ONE, update, OWNERS, audit="connection.update"),
    change(f"{_ONE}/test", try_out, OWNERS, audit="connection.test"),
    change(f"{_ONE}/remove", remove, OWNERS, audit="connection.delete"),
    show(_EVENT, show_event, OWNERS),
    change(f"{_EVENT}/replay", replay, OWNERS, audit="event.replay"),
)
