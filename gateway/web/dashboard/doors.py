"""The pages before the sign-in, and the sign-in itself: by a password, by a passkey, by a link.

What is wrong with a name or a password is told in one way for all of them, after the same work. Signing in
makes a new session and ends the one that the browser had.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.users.hashing import TooBusy
from gateway.users.links import Purpose, UserLink, find_link
from gateway.users.password_rules import LONGEST, PasswordFault, find_password_fault
from gateway.users.relying_party import RelyingParty, relying_party
from gateway.users.repository import User, UserFault, UserRefused
from gateway.users.roles import LONGEST_NAME, clean_name, is_user_name
from gateway.web.auditing import note_change, write_refusal
from gateway.web.authentication import CALLER
from gateway.web.dashboard.challenges import CHALLENGE_COOKIE, make_challenge, take_challenge
from gateway.web.dashboard.context import DashboardContext, Notice
from gateway.web.dashboard.frame import EVERYBODY, OPEN, SIGN_IN, change, next_path, show, visitor_of
from gateway.web.dashboard.hosts import origin_of
from gateway.web.dashboard.visitors import find_visitor
from gateway.web.forms import Form, read_form
from gateway.web.problems import Problem, overloaded

_ = str  # marks what is in the catalogue; the page translates it

WRONG: Final = _("The name or the password is not right.")
PASSKEY_WRONG: Final = _("That passkey is not known here, or it took too long. Try again.")
FAULTS: Final = {
    PasswordFault.SHORT: _("Use at least 12 characters. A few words in a row are easy to keep in mind."),
    PasswordFault.LONG: _("Use at most 256 characters."),
    PasswordFault.COMMON: _("This is one of the passwords that are tried first. Choose another one."),
    PasswordFault.NAME: _("Your own name is easy to guess. Choose another password."),
}
NAME_FAULTS: Final = {
    UserFault.NAME_TAKEN: _("Somebody has this name already. Choose another one."),
    UserFault.NAME_INVALID: _("This cannot be a name here. Choose another one."),
}


def site_of(request: web.BaseRequest, context: DashboardContext) -> RelyingParty | None:
    """The site that passkeys are for; None where browsers allow none."""
    return relying_party(origin_of(request.host, context.url))


async def show_first_visit(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Say where the link is that sets the dashboard up."""
    if not await context.users.is_empty():
        return context.pages.redirect(SIGN_IN)
    command = context.invite_command(origin_of(request.host, context.url))
    return await context.show(request, "dashboard/first_visit.html", command=command)


async def show_sign_in(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the form."""
    if find_visitor(request) is not None:
        return context.pages.redirect(next_path(request.query.get("next", "")))
    if await context.users.is_empty():
        return context.pages.redirect("/first-visit")
    return await _sign_in_page(request, context, next_path(request.query.get("next", "/")))


async def _sign_in_page(
    request: web.Request, context: DashboardContext, after: str, name: str = "", fault: str = ""
) -> web.Response:
    return await context.show(
        request,
        "dashboard/sign_in.html",
        401 if fault else 200,
        notice=Notice(context.say(request, fault), "bad") if fault else None,
        after=after,
        name=name,
        passkeys=site_of(request, context) is not None,
    )


async def sign_in(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Sign in by name and password. Raises Problem: too_many_attempts, overloaded."""
    form = await read_form(request)
    name, after = form.text("name")[: 4 * LONGEST_NAME], next_path(form.text("next"))
    attempt = await context.lines.take(request, name)
    user = await context.users.find(name)
    try:
        known = None if user is None else user.password
        if await context.hashes.verify(form.text("password"), known) and user is not None:
            await attempt.give_back()
            await _renew_hash(context, user, form.text("password"))
            return await enter(request, context, user, after)
    except TooBusy:
        await attempt.give_back()
        raise overloaded() from None
    write_refusal(request, Problem("sign_in_refused", WRONG))
    return await _sign_in_page(request, context, after, name, WRONG)


async def _renew_hash(context: DashboardContext, user: User, password: str) -> None:
    if user.password is not None and context.hashes.is_outdated(user.password):
        await context.users.renew_hash(user, await context.hashes.make(password))


async def enter(
    request: web.Request, context: DashboardContext, user: User, path: str, action: str = "user.sign_in"
) -> web.Response:
    """Sign a user in: a new session, a line in the audit trail, and the page to go on with."""
    former = await context.sessions.find(context.cookie.read(request))
    if former is not None:
        await context.sessions.end(former.subject, former.id)
    secret = await context.sessions.make(user.id, request.headers.get("User-Agent", ""))
    await context.users.note_seen(user.id)
    request[CALLER] = user.name
    note_change(request, user=user.id)
    await context.work.store.audit.record(user.name, action, {"user": user.id})
    response = context.pages.redirect(path)
    context.cookie.set(response, secret)
    return response


async def sign_out(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """End the session."""
    visitor = visitor_of(request)
    await context.sessions.end(visitor.user.id, visitor.session.id)
    note_change(request, user=visitor.user.id)
    response = context.pages.redirect(SIGN_IN)
    context.cookie.remove(response)
    return response


async def show_link(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what a link is for. Whoever only looks at it, such as a scanner of mails, changes nothing."""
    secret = request.query.get("link", "")
    return await _link_page(request, context, secret, await find_link(context.users.database, secret))


async def _link_page(
    request: web.Request,
    context: DashboardContext,
    secret: str,
    link: UserLink | None,
    name: str = "",
    faults: dict[str, str] | None = None,
) -> web.Response:
    owner = None
    if link is not None and link.purpose is Purpose.RESET and link.user_id is not None:
        owner = await context.users.get(link.user_id)
    status = 404 if link is None else 422 if faults else 200
    told = {field: context.say(request, text) for field, text in (faults or {}).items()}
    return await context.show(
        request,
        "dashboard/join.html",
        status,
        link=link,
        secret=secret,
        whose=owner,
        name=name,
        faults=told,
    )


async def use_link(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make the user of a link, or set a new password, and sign in. Raises Problem."""
    form = await read_form(request)
    secret, name = form.text("link"), clean_name(form.text("name"))
    attempt = await context.lines.take(request)
    link = await find_link(context.users.database, secret)
    if link is None:
        return await _link_page(request, context, secret, None)
    await attempt.give_back()
    is_reset = link.purpose is Purpose.RESET
    faults = {} if is_reset or is_user_name(name) else {"name": NAME_FAULTS[UserFault.NAME_INVALID]}
    if fault := find_password_fault(form.text("password"), (name, context.pages.look.name)):
        faults["password"] = FAULTS[fault]
    if faults:
        return await _link_page(request, context, secret, link, name, faults)
    try:
        user = await context.users.use_link(secret, name, await _hash(context, form))
    except UserRefused as refusal:
        if refusal.fault in NAME_FAULTS:
            return await _link_page(
                request, context, secret, link, name, {"name": NAME_FAULTS[refusal.fault]}
            )
        return await _link_page(request, context, secret, None)
    await context.sessions.end_all(user.id)
    return await enter(request, context, user, "/", "user.reset" if is_reset else "user.create")


async def _hash(context: DashboardContext, form: Form) -> str:
    try:
        return await context.hashes.make(form.text("password")[: LONGEST + 1])
    except TooBusy:
        raise overloaded() from None


async def ask_passkey(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Answer with what a browser needs to sign in by a passkey. The challenge is for this browser only."""
    from gateway.users.passkeys import authentication_options  # noqa: PLC0415 - slow to import

    await context.lines.check(request)
    site = site_of(request, context)
    if site is None:
        raise Problem("not_found", "Passkeys do not work under this address.")
    secret, challenge = await make_challenge(context.work.store.client)
    response = web.Response(
        text=authentication_options(site, challenge),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
    context.challenge_cookie.set(response, secret, CHALLENGE_COOKIE)
    return response


async def sign_in_by_passkey(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Sign in by what a passkey has signed. Raises Problem: too_many_attempts."""
    from gateway.users.passkeys import PasskeyRefused, PasskeyRepository  # noqa: PLC0415 - slow to import

    form = await read_form(request)
    after = next_path(form.text("next"))
    attempt = await context.lines.take(request)
    site = site_of(request, context)
    challenge = await take_challenge(context.work.store.client, context.challenge_cookie.read(request))
    if site is not None and challenge is not None:
        try:
            passkeys = PasskeyRepository(context.users.database)
            user = await context.users.get(await passkeys.verify(site, form.text("answer"), challenge))
        except PasskeyRefused:
            user = None
        if user is not None:
            await attempt.give_back()
            return await enter(request, context, user, after)
    write_refusal(request, Problem("sign_in_refused", PASSKEY_WRONG))
    return await _sign_in_page(request, context, after, "", PASSKEY_WRONG)


DOORS: Final = (
    show("/first-visit", show_first_visit, OPEN),
    show(SIGN_IN, show_sign_in, OPEN),
    change(SIGN_IN, sign_in, OPEN, audit=""),
    change("/sign-out", sign_out, EVERYBODY, audit="user.sign_out"),
    show("/join", show_link, OPEN),
    change("/join", use_link, OPEN, audit=""),
    change("/passkey/options", ask_passkey, OPEN, audit=""),
    change("/passkey/sign-in", sign_in_by_passkey, OPEN, audit=""),
)
"""What is OPEN writes its lines of the audit trail itself, because nobody is signed in before."""
