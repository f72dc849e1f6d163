"""*Settings, users*: who may sign in. An owner's page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.users.links import (
    HOURS,
    Purpose,
    list_invitations,
    make_link,
    withdraw_invitation,
)
from gateway.users.repository import User, UserFault, UserRefused
from gateway.users.roles import Role
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show, visitor_of
from gateway.web.dashboard.hosts import origin_of
from gateway.web.forms import read_form
from gateway.web.problems import Problem, invalid

_ = str

USERS: Final = "/settings/users"
LAST: Final = _("There must be an owner: make another user an owner first.")


async def show_users(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the users and the invitations that nobody has used yet."""
    return await _page(request, context)


async def _page(
    request: web.Request, context: DashboardContext, link: str = "", purpose: Purpose | None = None
) -> web.Response:
    return await context.show(
        request,
        "dashboard/users.html",
        users=await context.users.list_all(),
        invitations=await list_invitations(context.users.database),
        link=link,
        purpose=None if purpose is None else purpose.value,
        days=0 if purpose is None else HOURS[purpose] // 24,
    )


def _url(request: web.Request, context: DashboardContext, secret: str) -> str:
    origin = (context.url or origin_of(request.host, context.url)).rstrip("/")
    return f"{origin}{context.pages.prefix}/join?link={secret}"


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise invalid([("role", "must be owner or staff")]) from None


async def _user(request: web.Request, context: DashboardContext) -> User:
    user = await context.users.get(request.match_info["user"])
    if user is None:
        raise Problem("not_found", "There is no such user.")
    return user


async def invite(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make an invitation. Its link is on this answer, and nowhere else afterwards. Raises Problem."""
    role = _role((await read_form(request)).text("role"))
    secret = await make_link(context.users.database, Purpose.INVITE, role, visitor_of(request).user.name)
    note_change(request, role=role.value)
    return await _page(request, context, _url(request, context, secret), Purpose.INVITE)


async def withdraw(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make an invitation void. Raises Problem."""
    if not await withdraw_invitation(context.users.database, request.match_info["invitation"]):
        raise Problem("not_found", "There is no such invitation.")
    note_change(request, invitation=request.match_info["invitation"][:16])
    return await context.go(request, USERS, _("The invitation is void."))


async def set_role(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Change what a user may do. Raises Problem."""
    role = _role((await read_form(request)).text("role"))
    user = await _user(request, context)
    try:
        await context.users.set_role(user.id, role)
    except UserRefused as refusal:
        return await _refused(request, context, refusal)
    note_change(request, user=user.id, name=user.name, role=role.value)
    if user.id == visitor_of(request).user.id and role is not Role.OWNER:
        return await context.go(request, "/settings", _("You are staff now."))
    return await context.go(request, USERS, _("The role of %(name)s is changed."), name=user.name)


async def make_reset_link(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a link with which a user sets a new password. It is on this answer only. Raises Problem."""
    user = await _user(request, context)
    by = visitor_of(request).user.name
    secret = await make_link(context.users.database, Purpose.RESET, user.role, by, user.id)
    note_change(request, user=user.id, name=user.name)
    return await _page(request, context, _url(request, context, secret), Purpose.RESET)


async def end_sessions(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Sign a user out everywhere. Raises Problem."""
    user = await _user(request, context)
    visitor = visitor_of(request)
    keep = visitor.session.id if user.id == visitor.user.id else ""
    await context.sessions.end_all(user.id, keep=keep)
    note_change(request, user=user.id, name=user.name)
    return await context.go(request, USERS, _("%(name)s is signed out everywhere."), name=user.name)


async def remove(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Remove a user, who is signed out at once. Raises Problem."""
    user = await _user(request, context)
    try:
        await context.users.remove(user.id)
    except UserRefused as refusal:
        return await _refused(request, context, refusal)
    note_change(request, user=user.id, name=user.name)
    response = await context.go(request, USERS, _("%(name)s is removed."), name=user.name)
    await context.sessions.end_all(user.id)
    return response


async def _refused(
    request: web.Request, context: DashboardContext, refusal: UserRefused
) -> web.StreamResponse:
    if refusal.fault is UserFault.LAST_OWNER:
        return await context.go(request, USERS, LAST, "bad")
    raise Problem("not_found", "There is no such user.")


_USER: Final = USERS + "/{user}"

PEOPLE_SCREENS: Final = (
    show(USERS, show_users, OWNERS),
    change("/settings/users/invite", invite, OWNERS, audit="user.invite"),
    change("/settings/invitations/{invitation}/withdraw", withdraw, OWNERS, audit="user.withdraw"),
    change(f"{_USER}/role", set_role, OWNERS, audit="user.role"),
    change(f"{_USER}/reset", make_reset_link, OWNERS, audit="user.reset_link"),
    change(f"{_USER}/sign-out", end_sessions, OWNERS, audit="user.end_sessions"),
    change(f"{_USER}/remove", remove, OWNERS, audit="user.remove"),
)
