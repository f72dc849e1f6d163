"""`customer list | show | export | erase | move`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, YES, Invocation, command, confirm, fail
from gateway.cli.orders import Limit, read_orders, show_orders
from gateway.cli.output import note, show_record, show_table
from gateway.cli.working import change, look, pages, read_address

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.catalogue.catalogue import Catalogue
    from gateway.orders.customer_store import Customer

group = typer.Typer(help="Customers: who bought, and what is known of them.", no_args_is_help=True)

Who = Annotated[
    str, typer.Argument(metavar="EMAIL|ID", help="The customer's address, or id (from `customer list`).")
]


async def find(sql: AsyncConnection, who: str) -> Customer:
    """Find a customer by address or id. Raises ConfigurationError."""
    from gateway.orders.customer_store import find_customer, get_customer  # noqa: PLC0415 - slow to import

    identifier: str | None = who
    if re.fullmatch("[0-9a-z]{26}", who) is None:
        address = read_address("EMAIL", who)
        assert address is not None
        identifier = await find_customer(sql, address)
    found = None if identifier is None else await get_customer(sql, identifier)
    if found is None:
        raise fail("there is no such customer (`customer list` shows customers)")
    return found


@command(group, "list", example="download-gateway customer list --email jo@example.com")
def list_(
    invocation: Invocation,
    *,
    email: Annotated[str | None, typer.Option(help="Only who has this address.", show_default=False)] = None,
    limit: Limit = 50,
) -> None:
    """List customers, in the order in which they came here."""
    address = read_address("--email", email)

    async def read(catalogue: Catalogue) -> list[dict[str, Any]]:
        from gateway.orders.customer_store import list_customers  # noqa: PLC0415
        from gateway.web.api.order_documents import customer_document  # noqa: PLC0415

        async with catalogue.database.reading() as sql:
            found = await pages(lambda most, after: list_customers(sql, address, most, after), limit)
        return [customer_document(each) for each in found]

    found = look(invocation, read)
    rows = [
        (each["id"], each["email"] or "(erased)", each["name"] or "", each["createdAt"][:10])
        for each in found
    ]
    invocation.print_result(found, lambda: show_table(("ID", "EMAIL", "NAME", "SINCE"), rows))


@command(group, "show", example="download-gateway customer show jo@example.com")
def show(invocation: Invocation, who: Who) -> None:
    """Show a customer, the orders, and what these opened."""

    async def read(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.orders.order_queries import OrderFilter  # noqa: PLC0415
        from gateway.web.api.order_documents import customer_document  # noqa: PLC0415

        async with catalogue.database.reading() as sql:
            customer = await find(sql, who)
            entitlements = await _entitlements(sql, customer.id)
        orders = await read_orders(catalogue, OrderFilter(customer_id=customer.id), 1000)
        return {**customer_document(customer), "orders": orders, "entitlements": entitlements}

    found = look(invocation, read)

    def show_all() -> None:
        from gateway.cli.entitlements import show_entitlements  # noqa: PLC0415

        show_record([(name, found[name]) for name in ("id", "email", "name", "createdAt", "erasedAt")])
        typer.echo()
        show_orders(found["orders"])
        typer.echo()
        show_entitlements(found["entitlements"])

    invocation.print_result(found, show_all)


async def _entitlements(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    from gateway.orders.entitlements import EntitlementFilter, list_entitlements  # noqa: PLC0415
    from gateway.web.api.order_documents import entitlement_document  # noqa: PLC0415

    only = EntitlementFilter(customer_id=customer_id)
    rows = await pages(lambda most, after: list_entitlements(sql, only, most, after), 1000)
    return [entitlement_document(row) for row in rows]


@command(group, "export", example="download-gateway customer export jo@example.com --output jo.json")
def export(
    invocation: Invocation,
    who: Who,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write it to a new file, which only you may read.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print everything that is known of a customer, as JSON: for a request to see what is stored."""

    async def read(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.web.api.customer_export import export_document  # noqa: PLC0415

        async with catalogue.database.reading() as sql:
            customer = await find(sql, who)
            document = await export_document(sql, customer, catalogue.store)
        await catalogue.store.audit.record(CLI, "customer.export", {"customer": customer.id})
        return document

    found = look(invocation, read)
    text = json.dumps(found, indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    note(f"{output}: everything that is known of customer {found['customer']['id']}.")


@command(group, "erase", example="download-gateway customer erase jo@example.com")
def erase(invocation: Invocation, who: Who, *, yes: Annotated[bool, YES] = False) -> None:
    """Erase a customer. Orders stay, without the person; links end. This cannot be undone."""
    with invocation.open_catalogue() as run:

        async def search(catalogue: Catalogue) -> str:
            async with catalogue.database.reading() as sql:
                return (await find(sql, who)).id

        identifier: str = run(search)
    confirm(invocation, f"Erase customer {identifier}, and end all links", yes)

    async def work(catalogue: Catalogue) -> None:
        from gateway.orders.cleaning import clean  # noqa: PLC0415
        from gateway.web.api.customer_work import erase_person  # noqa: PLC0415

        await erase_person(catalogue.database, catalogue.store, invocation.settings.data, identifier)
        await clean(catalogue.database, catalogue.store.client)
        await catalogue.store.audit.record(CLI, "customer.erase", {"customer": identifier})

    change(invocation, work)
    invocation.print_result(
        {"id": identifier, "erased": True}, lambda: note(f"Customer {identifier} is erased.")
    )


@command(group, "move", example="download-gateway customer move jo@example.com jo@example.org")
def move(
    invocation: Invocation,
    who: Who,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The new address.")],
    *,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Give a customer another address, and everything of theirs with it. The old one is nobody's then.

    Where the new address is another customer's already, the two become one.
    """
    normal = read_address("ADDRESS", address)
    assert normal is not None

    with invocation.open_catalogue() as run:

        async def search(catalogue: Catalogue) -> tuple[str, str | None]:
            from gateway.orders.customer_store import find_customer  # noqa: PLC0415

            async with catalogue.database.reading() as sql:
                return (await find(sql, who)).id, await find_customer(sql, normal)

        identifier, other = run(search)
    if other not in (None, identifier):
        confirm(invocation, f"The address is customer {other}'s: make one customer of the two", yes)

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.web.api.customer_work import move_to  # noqa: PLC0415
        from gateway.web.api.order_documents import customer_document  # noqa: PLC0415

        moved = await move_to(catalogue.database, identifier, address)
        await catalogue.store.audit.record(CLI, "customer.move", {"customer": moved.id})
        return customer_document(moved)

    found = change(invocation, work)
    invocation.print_result(
        found, lambda: note(f"Customer {found['id']} has the address {found['email']} now.")
    )
