"""*Settings, you*: one's own password, passkeys and sessions. Nothing here takes an id of somebody else."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from gateway.users.hashing import TooBusy
from gateway.users.password_rules import find_password_fault
from gateway.users.repository import UserRefused
from gateway.web.auditing import note_change
from gateway.web.dashboard.challenges import make_challenge, take_challenge
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.doors import FAULTS, site_of
from gateway.web.dashboard.frame import EVERYBODY, change, show, visitor_of
from gateway.web.forms import read_form
from gateway.web.problems import Problem, overloaded

_ = str

WRONG: Final = _("This is not your password.")


async def show_own(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the page."""
    return await _page(request, context)


async def _page(
    request: web.Request, context: DashboardContext, faults: dict[str, str] | None = None
) -> web.Response:
    from gateway.users.passkeys import PasskeyRepository  # noqa: PLC0415 - slow to import

    visitor = visitor_of(request)
    told = {field: context.say(request, text) for field, text in (faults or {}).items()}
    return await context.show(
        request,
        "dashboard/own_settings.html",
        422 if faults else 200,
        faults=told,
        passkeys=await PasskeyRepository(context.users.database).list_of(visitor.user.id),
        allows_passkeys=site_of(request, context) is not None,
        sessions=await context.sessions.list(visitor.user.id),
        current=visitor.session.id,
        port=request.host.rpartition(":")[2] if ":" in request.host else "",
    )


async def change_password(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Set another password; the user's other sessions end. Raises Problem."""
    form = await read_form(request)
    visitor = visitor_of(request)
    user, password = visitor.user, form.text("password")
    attempt = await context.lines.take(request, user.name)
    try:
        if user.password and not await context.hashes.verify(form.text("current"), user.password):
            return await _page(request, context, {"current": WRONG})
        await attempt.give_back()
        if fault := find_password_fault(password, (user.name, context.pages.look.name)):
            return await _page(request, context, {"password": FAULTS[fault]})
        await context.users.set_password(user.id, await context.hashes.make(password))
    except TooBusy:
        raise overloaded() from None
    await context.sessions.end_all(user.id, keep=visitor.session.id)
    note_change(request, user=user.id)
    text = _("Your password is changed, and your other sessions have ended.")
    return await context.go(request, "/settings", text)


async def end_session(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """End one of the user's own sessions, or all others."""
    form = await read_form(request)
    visitor = visitor_of(request)
    if form.text("which") == "others":
        await context.sessions.end_all(visitor.user.id, keep=visitor.session.id)
    elif not await context.sessions.end(visitor.user.id, form.text("which")):
        raise Problem("not_found", "There is no such session.")
    note_change(request, user=visitor.user.id)
    return await context.go(request, "/settings", _("The session has ended."))


async def ask_new_passkey(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Answer with what a browser needs to make a passkey."""
    from gateway.users import passkeys  # noqa: PLC0415 - slow to import

    visitor = visitor_of(request)
    site = site_of(request, context)
    if site is None:
        raise Problem("not_found", "Passkeys do not work under this address.")
    known = await passkeys.PasskeyRepository(context.users.database).list_of(visitor.user.id)
    _secret, challenge = await make_challenge(context.work.store.client, visitor.session.id)
    return web.Response(
        text=passkeys.registration_options(site, visitor.user, known, challenge),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


async def add_passkey(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Keep a passkey that the browser has made."""
    from gateway.users.passkeys import PasskeyRefused, PasskeyRepository  # noqa: PLC0415 - slow to import

    form = await read_form(request)
    visitor = visitor_of(request)
    site = site_of(request, context)
    challenge = await take_challenge(context.work.store.client, visitor.session.id)
    refused: Any = _("The passkey could not be added. Try again.")
    if site is None or challenge is None:
        return await context.go(request, "/settings", refused, "bad")
    passkeys = PasskeyRepository(context.users.database)
    try:
        made = await passkeys.add(site, visitor.user, form.text("name"), form.text("answer"), challenge)
    except PasskeyRefused:
        return await context.go(request, "/settings", refused, "bad")
    note_change(request, user=visitor.user.id, passkey=made.id[:16])
    return await context.go(request, "/settings", _("The passkey is added. You can sign in with it."))


async def remove_passkey(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Remove one of the user's own passkeys. Raises Problem."""
    from gateway.users.passkeys import PasskeyRepository  # noqa: PLC0415 - slow to import

    form = await read_form(request)
    user = visitor_of(request).user
    try:
        if not await PasskeyRepository(context.users.database).remove(user.id, form.text("which")):
            raise Problem("not_found", "There is no such passkey.")
    except UserRefused:
        text = _("It is your only way to sign in: set a password first.")
        return await context.go(request, "/settings", text, "bad")
    note_change(request, user=user.id, passkey=form.text("which")[:16])
    return await context.go(request, "/settings", _("The passkey is removed."))


OWN_SCREENS: Final = (
    show("/settings", show_own, EVERYBODY),
    change("/settings/own/password", change_password, EVERYBODY, audit="user.password"),
    change("/settings/own/sessions/end", end_session, EVERYBODY, audit="user.end_sessions"),
    change("/settings/own/passkeys/options", ask_new_passkey, EVERYBODY, audit="passkey.ask"),
    change("/settings/own/passkeys", add_passkey, EVERYBODY, audit="passkey.create"),
    change("/settings/own/passkeys/remove", remove_passkey, EVERYBODY, audit="passkey.delete"),
)
