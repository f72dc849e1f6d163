"""`user list | invite | reset | remove`: who may sign in to the dashboard."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import CLI, STORE, YES, Invocation, command, confirm, fail
from gateway.cli.output import note, show_table, show_time
from gateway.web.times import format_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.users.links import Purpose
    from gateway.users.repository import User

group = typer.Typer(help="Users of the dashboard.", no_args_is_help=True)

LINKS = (*STORE, "dashboard_url", "dashboard_listen")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name (from `user list`).")]


class Role(StrEnum):
    """What a user may do."""

    OWNER = "owner"
    STAFF = "staff"


@command(group, "list", example="download-gateway user list")
def list_(invocation: Invocation) -> None:
    """List who may sign in to the dashboard."""

    async def read(catalogue: Catalogue) -> list[User]:
        from gateway.users.repository import UserRepository  # noqa: PLC0415 - slow to import

        return await UserRepository(catalogue.database).list_all()

    users = invocation.with_catalogue(read)
    rows = [
        (
            user.name,
            user.role.value,
            "yes" if user.password else "no",
            user.passkeys,
            show_time(user.created),
            show_time(user.seen) if user.seen else "never",
        )
        for user in users
    ]
    data = [
        {
            "userId": user.id,
            "name": user.name,
            "role": user.role.value,
            "hasPassword": user.password is not None,
            "passkeys": user.passkeys,
            "createdAt": format_time(user.created),
            "seenAt": None if user.seen is None else format_time(user.seen),
        }
        for user in users
    ]
    columns = ("NAME", "ROLE", "PASSWORD", "PASSKEYS", "CREATED", "SIGNED IN")
    invocation.print_result(data, lambda: show_table(columns, rows))


@command(group, "invite", settings=LINKS, example="download-gateway user invite --role staff")
def invite(
    invocation: Invocation,
    *,
    role: Annotated[
        Role,
        typer.Option(
            help="owner: may do everything. staff: may work with products, orders and customers, not with "
            "keys, secrets and users."
        ),
    ] = Role.OWNER,
) -> None:
    """Print a link that makes a user. It works once. The first user of all is an owner."""

    async def make(catalogue: Catalogue) -> tuple[str, Purpose]:
        from gateway.users import links, roles  # noqa: PLC0415 - slow to import

        secret = await links.make_setup_link(catalogue.database)
        if secret is not None:
            return secret, links.Purpose.SETUP
        secret = await links.make_link(catalogue.database, links.Purpose.INVITE, roles.Role(role.value), CLI)
        await catalogue.store.audit.record(CLI, "user.invite", {"role": role.value})
        return secret, links.Purpose.INVITE

    _print_link(invocation, *invocation.with_catalogue(make))


@command(group, "reset", settings=LINKS, example="download-gateway user reset maria")
def reset(invocation: Invocation, name: Name) -> None:
    """Print a link with which a user sets a new password. It works once, and ends the user's sessions."""

    async def make(catalogue: Catalogue) -> tuple[str, Purpose]:
        from gateway.users import links  # noqa: PLC0415 - slow to import

        user = await _find(catalogue, name)
        purpose = links.Purpose.RESET
        secret = await links.make_link(catalogue.database, purpose, user.role, CLI, user.id)
        await catalogue.store.audit.record(CLI, "user.reset_link", {"user": user.id})
        return secret, purpose

    _print_link(invocation, *invocation.with_catalogue(make))


@command(group, "remove", example="download-gateway user remove sven")
def remove(invocation: Invocation, name: Name, *, yes: Annotated[bool, YES] = False) -> None:
    """Remove a user. The user is signed out at once; what the user has changed stays in the audit trail."""
    confirm(invocation, f"Remove the user {name}", yes)

    async def end(catalogue: Catalogue) -> User:
        from gateway.users.repository import UserRefused, UserRepository  # noqa: PLC0415 - slow to import

        user = await _find(catalogue, name)
        try:
            removed = await UserRepository(catalogue.database).remove(user.id)
        except UserRefused as refusal:
            raise fail(str(refusal)) from None
        await catalogue.store.audit.record(CLI, "user.remove", {"user": user.id, "name": user.name})
        return removed

    user = invocation.with_catalogue(end)
    invocation.print_result({"userId": user.id}, lambda: note(f"The user {user.name} is removed."))


async def _find(catalogue: Catalogue, name: str) -> User:
    from gateway.users.repository import UserRepository  # noqa: PLC0415 - slow to import

    found = await UserRepository(catalogue.database).find(name)
    if found is None:
        raise fail("there is no such user (`user list` shows all)")
    return found


def _print_link(invocation: Invocation, secret: str, purpose: Purpose) -> None:
    from gateway.config.settings import address_of  # noqa: PLC0415 - with the others
    from gateway.users.announcing import link_url  # noqa: PLC0415 - slow to import
    from gateway.users.links import HOURS  # noqa: PLC0415 - slow to import

    url = link_url(invocation.settings, address_of(invocation.settings, "dashboard_listen").url(), secret)
    hours = HOURS[purpose]

    def show() -> None:
        typer.echo(url)
        note(f"The link works once and for {hours} h. Whoever has it becomes the user: hand it over safely.")

    invocation.print_result({"url": url, "purpose": purpose.value, "hours": hours}, show)
