"""`key create | list | revoke`: the API keys of the mint service and the admin API."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import Invocation, command
from gateway.cli.output import note, show_record, show_table, show_time
from gateway.web.times import format_time

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.tokens.keys import KeyRecord

group = typer.Typer(help="API keys of the mint service and the admin API.", no_args_is_help=True)


class Role(StrEnum):
    """What a key may do."""

    ADMIN = "admin"
    MINT = "mint"


def key_data(key: KeyRecord) -> dict[str, Any]:
    """What JSON output has of a key, which is never the key itself."""
    return {"keyId": key.id, "name": key.name, "role": key.role, "createdAt": format_time(key.created)}


@command(group, "create", example="download-gateway key create shop --role mint")
def create(
    invocation: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name for the key, such as that of the shop.")
    ],
    role: Annotated[
        Role, typer.Option(help="mint: may only make download links. admin: may do everything.")
    ] = Role.ADMIN,
) -> None:
    """Make an API key. It is shown only now, because only its hash is stored."""
    minted = invocation.with_store(lambda store: store.keys.create(name, role.value))

    def show() -> None:
        show_record([("key", minted.key), ("id", minted.record.id), ("name", name), ("role", role.value)])
        note("Keep the key: it is not shown again. Use it as: Authorization: Bearer KEY")

    invocation.print_result({"key": minted.key, **key_data(minted.record)}, show)


@command(group, "list", example="download-gateway key list")
def list_(invocation: Invocation) -> None:
    """List the API keys: names and roles, not the keys themselves."""
    found = invocation.with_store(lambda store: store.keys.list_all())
    rows = [(key.id, key.name, key.role, show_time(key.created)) for key in found]
    invocation.print_result(
        [key_data(key) for key in found], lambda: show_table(("ID", "NAME", "ROLE", "CREATED"), rows)
    )


@command(group, "revoke", example="download-gateway key revoke shop")
def revoke(
    invocation: Invocation,
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name or id.")],
) -> None:
    """Revoke an API key. It stops working at once, and this cannot be undone."""
    key = invocation.with_store(lambda store: store.keys.revoke(which))
    invocation.print_result(key_data(key), lambda: note(f"API key {key.name} ({key.id}) is revoked."))
