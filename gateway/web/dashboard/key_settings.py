"""*Settings, API keys*: what shops and scripts sign their requests with. An owner's page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.errors import Declined
from gateway.tokens.keys import MintedKey
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show
from gateway.web.forms import read_form
from gateway.web.problems import Problem

_ = str

KEYS: Final = "/settings/keys"
DAYS: Final = {"30": 30, "90": 90, "365": 365, "": None}
"""Lifetimes to choose from; the last one has no end."""
FAULTS: Final = {
    "name": _("Use 1 to 200 printable characters."),
    "role": _("Choose one of the list."),
    "expires": _("Choose one of the list."),
}


async def show_keys(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the keys: names, never the keys themselves."""
    return await _page(request, context)


async def _page(
    request: web.Request,
    context: DashboardContext,
    minted: MintedKey | None = None,
    faults: dict[str, str] | None = None,
    name: str = "",
) -> web.Response:
    working, expired = await context.work.catalogue.list_keys()
    told = {field: context.say(request, FAULTS.get(field, text)) for field, text in (faults or {}).items()}
    return await context.show(
        request,
        "dashboard/keys.html",
        422 if faults else 200,
        keys=[*reversed(working)],
        expired=[*reversed(expired)],
        minted=minted,
        faults=told,
        name=name,
    )


async def create_key(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a key. It is on this answer, and nowhere else afterwards. Raises Problem, StoreUnavailable."""
    form = await read_form(request)
    name, lifetime = form.text("name"), form.text("expires")
    if lifetime not in DAYS:
        return await _page(request, context, faults={"expires": ""}, name=name)
    days = DAYS[lifetime]
    try:
        minted = await context.work.catalogue.create_key(
            name, form.text("role"), None if days is None else days * 86_400
        )
    except Declined as refusal:
        return await _page(request, context, faults=dict(refusal.faults), name=name)
    note_change(request, key=minted.record.id, role=minted.record.role)
    return await _page(request, context, minted)


async def revoke_key(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """End a key. Raises Problem, StoreUnavailable."""
    try:
        key = await context.work.catalogue.revoke_key(request.match_info["key"])
    except Declined:
        raise Problem("not_found", "There is no such key.") from None
    note_change(request, key=key.id)
    text = _("The key %(name)s is revoked. Links that it made go on working.")
    return await context.go(request, KEYS, text, name=key.name)


KEY_SCREENS: Final = (
    show(KEYS, show_keys, OWNERS),
    change("/settings/keys/create", create_key, OWNERS, audit="key.create"),
    change("/settings/keys/{key}/revoke", revoke_key, OWNERS, audit="key.revoke"),
)
