"""`connection add | list | show | change | remove`. connection_events.py and mappings.py have the rest."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, STORE, YES, Invocation, command, confirm, fail
from gateway.cli.output import note, show_record, show_table
from gateway.cli.secret_input import STDIN, ask, read_lines, read_one
from gateway.cli.working import change, look
from gateway.config.settings import base_url

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.connections.repository import Connection, ConnectionRepository

group = typer.Typer(help="Connections: shop accounts that tell of their orders.", no_args_is_help=True)

PUBLIC = (*STORE, "public_url", "listen")
Which = Annotated[
    str, typer.Argument(metavar="NAME|ID", help="The connection's name or id (from `connection list`).")
]
SecretFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A file with the signing secret, or two lines during a rotation; - is standard input.",
        show_default=False,
    ),
]
ApiKeyFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A file with a key of the platform's API; - is standard input. Parts are joined by a colon.",
        show_default=False,
    ),
]
ShopUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The shop's address, for Shopify and WooCommerce with an API key.",
        show_default=False,
    ),
]


class Kind(StrEnum):
    """The platforms."""

    STRIPE = "stripe"
    SHOPIFY = "shopify"
    WOOCOMMERCE = "woocommerce"
    FASTSPRING = "fastspring"
    PADDLE = "paddle"
    LEMONSQUEEZY = "lemonsqueezy"
    GUMROAD = "gumroad"
    POLAR = "polar"


def repository(invocation: Invocation, catalogue: Catalogue) -> ConnectionRepository:
    """The connections of the settings' database."""
    from gateway.connections.repository import ConnectionRepository  # noqa: PLC0415 - slow to import
    from gateway.connections.sealing import SecretBox  # noqa: PLC0415

    return ConnectionRepository(catalogue.database, SecretBox.of(invocation.settings))


async def find(connections: ConnectionRepository, which: str) -> Connection:
    """Find a connection by name or id. Raises ConfigurationError."""
    from sqlalchemy import or_, select  # noqa: PLC0415 - slow to import

    from gateway.database.tables import CONNECTION  # noqa: PLC0415

    named = select(CONNECTION.c.id).where(or_(CONNECTION.c.id == which, CONNECTION.c.name == which))
    async with connections.database.reading() as sql:
        identifiers = [identifier for (identifier,) in await sql.execute(named)]
    identifier = which if which in identifiers else next(iter(identifiers), None)
    found = None if identifier is None else await connections.get(identifier)
    if found is None:
        raise fail("there is no such connection (`connection list` shows all)")
    return found


def _document(invocation: Invocation, connection: Connection) -> dict[str, Any]:
    from gateway.web.api.connections import connection_document  # noqa: PLC0415

    return connection_document(connection, base_url(invocation.settings))


@command(
    group,
    "add",
    settings=PUBLIC,
    example="download-gateway connection add stripe shop --secret-file stripe-secret.txt",
)
def add(
    invocation: Invocation,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"{', '.join(Kind)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for it, such as that of the shop.")],
    *,
    secret_file: SecretFile = None,
    api_key_file: ApiKeyFile = None,
    shop_url: ShopUrl = None,
    test: Annotated[
        bool, typer.Option("--test", help="Take the platform's test events, and nothing else.")
    ] = False,
    mail: Annotated[
        bool, typer.Option("--mail", help="Send buyers a mail once there is something to download.")
    ] = False,
) -> None:
    """Connect a shop account, and print the address to give to the platform.

    The secret is read from a file, or asked for, and never shown again. It may be given later (`connection
    change`), because some platforms show it only once they have the address.
    """
    _check_stdin(secret_file, api_key_file)
    secrets = _secrets(secret_file)
    if secret_file is None:
        typed = ask(f"Signing secret of {kind.value} (nothing: give it later)")
        secrets = [typed] if typed else []
    document: dict[str, Any] = {"kind": kind.value, "name": name, "secrets": secrets, "live": not test}
    document["mail"] = mail
    document |= _access(api_key_file, shop_url)

    async def work(catalogue: Catalogue) -> Connection:
        from gateway.web.api.connection_models import CreateConnection  # noqa: PLC0415
        from gateway.web.api.connections import check_access  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        new = validate(CreateConnection, document)
        check_access(new.kind, new.apiKey, new.shopUrl, allow_loopback=invocation.settings.loopback_shops)
        made = await repository(invocation, catalogue).create(
            new.kind,
            new.name,
            new.secrets,
            live=new.live,
            api_key=new.apiKey,
            shop=new.shopUrl,
            mail=new.mail,
        )
        await catalogue.store.audit.record(
            CLI, "connection.create", {"connection": made.id, "kind": made.kind}
        )
        return made

    made = _document(invocation, change(invocation, work))

    def show_made() -> None:
        _show_one(made)
        note(f"Give the platform this address and these events; docs/platforms/{kind.value}.md says where.")
        if invocation.settings.public_url is None:
            note("The address begins with public_url of the settings, which is not set: set it first.")
        if not secrets:
            line = f"download-gateway connection change {made['id']} --secret-file FILE"
            note(f"Then give its secret here: {line}")

    invocation.print_result(made, show_made)


def _check_stdin(*files: str | None) -> None:
    if files.count(STDIN) > 1:
        raise fail("only one secret can come from standard input: put the other one into a file")


def _secrets(file: str | None) -> list[str]:
    return [] if file is None else read_lines("--secret-file", file)


def _access(api_key_file: str | None, shop_url: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if api_key_file is not None:
        found["apiKey"] = read_one("--api-key-file", api_key_file)
    if shop_url is not None:
        found["shopUrl"] = shop_url
    return found


@command(group, "list", settings=PUBLIC, example="download-gateway connection list")
def list_(invocation: Invocation) -> None:
    """List the connections, and what came of each last."""
    found = look(invocation, lambda catalogue: repository(invocation, catalogue).list_all())
    documents = [_document(invocation, each) for each in found]
    rows = [
        (
            each["id"],
            each["kind"],
            each["name"],
            "live" if each["live"] else "test",
            each["lastEventAt"] or "nothing yet",
            each["refused"],
        )
        for each in documents
    ]
    columns = ("ID", "KIND", "NAME", "MODE", "LAST EVENT", "REFUSED")
    invocation.print_result(documents, lambda: show_table(columns, rows))


@command(group, "show", settings=PUBLIC, example="download-gateway connection show shop")
def show(invocation: Invocation, which: Which) -> None:
    """Show a connection: its address, its events, and what came last. Its secrets are never shown."""
    found = look(invocation, lambda catalogue: find(repository(invocation, catalogue), which))
    document = _document(invocation, found)
    invocation.print_result(document, lambda: _show_one(document))


def _show_one(each: dict[str, Any]) -> None:
    refused = f"{each['refused']}, the last {each['lastRefusedAt']}: {each['lastError']}"
    show_record(
        [
            ("id", each["id"]),
            ("kind", each["kind"]),
            ("name", each["name"]),
            ("mode", "live" if each["live"] else "test: takes test events only"),
            ("address", each["url"]),
            ("events", ", ".join(each["events"])),
            ("secrets", each["secrets"] or "none yet"),
            ("API key", "yes" if each["hasApiKey"] else "none"),
            ("shop", each["shopUrl"]),
            ("mails", "to buyers, once there is something to download" if each["mail"] else "none"),
            ("last event", each["lastEventAt"] or "nothing yet"),
            ("refused", refused if each["refused"] else "none"),
        ]
    )


@command(
    group,
    "change",
    settings=PUBLIC,
    example="download-gateway connection change shop --add-secret-file new.txt",
)
def change_(
    invocation: Invocation,
    which: Which,
    *,
    name: Annotated[str | None, typer.Option(help="A new name.", show_default=False)] = None,
    secret_file: SecretFile = None,
    add_secret_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A secret that is good beside the present one: for a rotation.",
            show_default=False,
        ),
    ] = None,
    api_key_file: ApiKeyFile = None,
    remove_api_key: Annotated[bool, typer.Option("--remove-api-key", help="Take the API key away.")] = False,
    shop_url: ShopUrl = None,
    live: Annotated[
        bool | None,
        typer.Option("--live/--test", help="Take real events, or test events.", show_default=False),
    ] = None,
    mail: Annotated[
        bool | None,
        typer.Option(
            "--mail/--no-mail",
            help="Send buyers a mail once there is something to download, or send none.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Change a connection; what is not given stays. New secrets are good within a second."""
    _check_stdin(secret_file, add_secret_file, api_key_file)
    if secret_file is not None and add_secret_file is not None:
        raise fail("--secret-file and --add-secret-file exclude each other: give one")
    if remove_api_key and api_key_file is not None:
        raise fail("--api-key-file and --remove-api-key exclude each other: give one")
    document: dict[str, Any] = _access(api_key_file, shop_url)
    if name is not None:
        document["name"] = name
    if live is not None:
        document["live"] = live
    if mail is not None:
        document["mail"] = mail
    if secret_file is not None:
        document["secrets"] = _secrets(secret_file)
    if remove_api_key:
        document["apiKey"] = None
    added = [] if add_secret_file is None else read_lines("--add-secret-file", add_secret_file)
    if not document and not added:
        raise fail(
            "nothing to change: give --name, --secret-file, --add-secret-file, --api-key-file, --live, …"
        )

    async def work(catalogue: Catalogue) -> Connection:
        from gateway.web.api.connection_models import UpdateConnection, changes_of  # noqa: PLC0415
        from gateway.web.api.connections import check_access  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        connections = repository(invocation, catalogue)
        before = await find(connections, which)
        if added:
            document["secrets"] = list(dict.fromkeys([*added, *before.secrets]))
        changes = changes_of(validate(UpdateConnection, document))
        check_access(
            before.kind,
            changes.get("api_key", before.api_key),
            changes.get("shop", before.shop),
            allow_loopback=invocation.settings.loopback_shops,
        )
        after = await connections.change(before.id, **changes)
        what = {"connection": after.id, "changed": ",".join(sorted(document))}
        await catalogue.store.audit.record(CLI, "connection.update", what)
        return after

    found = _document(invocation, change(invocation, work))
    invocation.print_result(found, lambda: _show_one(found))


@command(group, "remove", example="download-gateway connection remove shop")
def remove(invocation: Invocation, which: Which, *, yes: Annotated[bool, YES] = False) -> None:
    """Remove a connection with its inbox and mappings. Its orders stay, and so do their rights."""

    async def search(catalogue: Catalogue) -> tuple[str, str]:
        from sqlalchemy import or_, select  # noqa: PLC0415

        from gateway.database.tables import CONNECTION  # noqa: PLC0415

        named = select(CONNECTION.c.id, CONNECTION.c.name).where(
            or_(CONNECTION.c.id == which, CONNECTION.c.name == which)
        )
        async with catalogue.database.reading() as sql:  # also where the secrets cannot be read
            row = (await sql.execute(named)).first()
        if row is None:
            raise fail("there is no such connection (`connection list` shows all)")
        return row.id, row.name

    identifier, name = look(invocation, search)
    confirm(invocation, f"Remove the connection {name} with its inbox and mappings", yes)

    async def work(catalogue: Catalogue) -> None:
        await repository(invocation, catalogue).remove(identifier)
        await catalogue.store.audit.record(CLI, "connection.delete", {"connection": identifier})

    change(invocation, work)
    data = {"id": identifier, "removed": True}
    invocation.print_result(data, lambda: note(f"The connection {name} is removed; its orders stay."))
