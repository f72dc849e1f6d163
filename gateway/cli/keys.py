"""`key create | list | revoke`: the API keys of the mint service and the admin API."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, Invocation, command, fail
from gateway.cli.output import note, show_record, show_table, show_time
from gateway.config.units import parse_duration
from gateway.web.times import format_time

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.tokens.keys import KeyRecord, MintedKey

group = typer.Typer(help="API keys of the mint service and the admin API.", no_args_is_help=True)


class Role(StrEnum):
    """What a key may do."""

    ADMIN = "admin"
    MINT = "mint"


def key_data(key: KeyRecord) -> dict[str, Any]:
    """What JSON output has of a key, which is never the key itself."""
    return {
        "keyId": key.id,
        "name": key.name,
        "role": key.role,
        "createdAt": format_time(key.created),
        "expiresAt": None if key.expires is None else format_time(key.expires),
    }


@command(group, "create", example="download-gateway key create shop --expires 90d")
def create(
    invocation: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name for the key, such as that of the shop.")
    ],
    role: Annotated[
        Role,
        typer.Option(
            help="mint: may only make download links. admin: may also manage products and tokens, and sell "
            "every file of the storages."
        ),
    ] = Role.MINT,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long the key works from now: seconds, or 12h, 90d. Default: until it is revoked.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make an API key. It is shown only now, because only its hash is stored."""
    lifetime = None if expires is None else _lifetime(expires)

    async def make(catalogue: Catalogue) -> MintedKey:
        minted = await catalogue.create_key(name, role.value, lifetime)
        await catalogue.store.audit.record(
            CLI, "key.create", {"key": minted.record.id, "role": role.value, "expires": expires}
        )
        return minted

    minted = invocation.with_catalogue(make)

    def show() -> None:
        fields = [("key", minted.key), ("id", minted.record.id), ("name", name), ("role", role.value)]
        if minted.record.expires is not None:
            fields.append(("expires", show_time(minted.record.expires)))
        show_record(fields)
        note("Keep the key: it is not shown again. Use it as: Authorization: Bearer KEY")

    invocation.print_result({"key": minted.key, **key_data(minted.record)}, show)


@command(group, "list", example="download-gateway key list")
def list_(invocation: Invocation) -> None:
    """List the API keys: names and roles, not the keys themselves. Expired ones are shown for 90 days."""
    working, expired = invocation.with_catalogue(lambda catalogue: catalogue.list_keys())
    found = [(key, "active") for key in working] + [(key, "expired") for key in expired]
    found.sort(key=lambda pair: (pair[0].created, pair[0].hash))
    rows = [
        (
            key.id,
            key.name,
            key.role,
            status,
            show_time(key.created),
            show_time(key.expires) if key.expires else "never",
        )
        for key, status in found
    ]
    columns = ("ID", "NAME", "ROLE", "STATUS", "CREATED", "EXPIRES")
    data = [{**key_data(key), "status": status} for key, status in found]
    invocation.print_result(data, lambda: show_table(columns, rows))


@command(group, "revoke", example="download-gateway key revoke shop")
def revoke(
    invocation: Invocation,
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name or id.")],
) -> None:
    """Revoke an API key. It stops working at once, and this cannot be undone. Its links go on working."""

    async def end(catalogue: Catalogue) -> KeyRecord:
        key = await catalogue.revoke_key(which)
        await catalogue.store.audit.record(CLI, "key.revoke", {"key": key.id})
        return key

    key = invocation.with_catalogue(end)

    def show() -> None:
        note(f"API key {key.name} ({key.id}) is revoked. Links that it made go on working;")
        note(f"to end them: download-gateway token revoke --key {key.id}")

    invocation.print_result(key_data(key), show)


def _lifetime(text: str) -> int:
    from gateway.tokens.keys import MAX_LIFETIME  # noqa: PLC0415

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise fail(f"--expires: {error}") from None
    if not 1 <= seconds <= MAX_LIFETIME:
        raise fail("--expires: must be at least 1 second and at most ten years (3660d)")
    if not seconds.is_integer():
        raise fail(f"--expires: must be whole seconds, not {text}")
    return int(seconds)
