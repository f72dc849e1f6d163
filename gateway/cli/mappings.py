"""`connection mappings | map | unmap`, and `unmapped`: which item of a platform is which product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.connections import Which, find, group, repository
from gateway.cli.options import CLI, Invocation, command, fail
from gateway.cli.orders import Limit
from gateway.cli.output import count_of, note, show_table
from gateway.cli.working import change, look, read_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue

Item = Annotated[
    str,
    typer.Argument(
        metavar="KEY=VALUE",
        help="The item, as `unmapped` shows it: price=…, product=…, variant=…, sku=…, payment_link=…, "
        "metadata=NAME=VALUE.",
    ),
]


def _read_item(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if (
        not equals
        or not value
        or key not in ("price", "product", "variant", "sku", "payment_link", "metadata")
    ):
        raise fail("KEY=VALUE: KEY must be price, product, variant, sku, payment_link or metadata")
    return key, value


def _extent(product: dict[str, Any]) -> str:
    if product["scope"] == "all":
        return str(product["productId"])
    return f"{product['productId']} ({product.get('version') or 'until ' + product['until']})"


def _show(mappings: list[dict[str, Any]]) -> None:
    rows = [
        (f"{each['key']}={each['value']}", ", ".join(map(_extent, each["products"])) or "nothing to download")
        for each in mappings
    ]
    show_table(("ITEM", "PRODUCTS"), rows)


async def _read(catalogue: Catalogue, connection_id: str) -> list[dict[str, Any]]:
    from gateway.orders.mapping_store import get_mappings  # noqa: PLC0415 - slow to import
    from gateway.web.api.mappings import mapping_documents  # noqa: PLC0415

    async with catalogue.database.reading() as sql:
        return mapping_documents(await get_mappings(sql, connection_id))


async def _write(catalogue: Catalogue, connection_id: str, mappings: Any) -> int:
    """Replace the mappings of a connection. Returns how many orders changed."""
    from gateway.web.api.mappings import put_mappings  # noqa: PLC0415 - slow to import
    from gateway.web.api.order_models import PutMappings  # noqa: PLC0415
    from gateway.web.validation import validate  # noqa: PLC0415

    body = validate(PutMappings, {"mappings": mappings})
    _, orders = await put_mappings(catalogue.database, catalogue.store, connection_id, body)
    what = {"connection": connection_id, "mappings": len(body.mappings), "orders": orders}
    await catalogue.store.audit.record(CLI, "mappings.put", what)
    return orders


@command(group, "mappings", example="download-gateway connection mappings shop")
def mappings(
    invocation: Invocation,
    which: Which,
    *,
    replace: Annotated[
        Path | None,
        typer.Option(
            "--replace",
            metavar="FILE",
            help="Replace all by those of a JSON file, in the form of --json.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show which item of a connection is which product, or replace all of it by a file."""
    given = None if replace is None else _read_file(replace)

    async def work(catalogue: Catalogue) -> list[dict[str, Any]]:
        connection = await find(repository(invocation, catalogue), which)
        if given is not None:
            orders = await _write(catalogue, connection.id, given)
            note(f"{count_of(len(given), 'mapping')}; {count_of(orders, 'order')} looked at again.")
        return await _read(catalogue, connection.id)

    found = change(invocation, work) if given is not None else look(invocation, work)
    invocation.print_result(found, lambda: _show(found))


def _read_file(path: Path) -> list[Any]:
    from gateway.http import strict_json  # noqa: PLC0415

    try:
        content = strict_json.parse(path.read_bytes())
    except strict_json.JsonFault as fault:
        raise fail(f"{path}: {fault}") from None
    if isinstance(content, dict):
        content = content.get("mappings")
    if not isinstance(content, list):
        raise fail(f"{path}: must be a list of mappings, in the form of `connection mappings NAME --json`")
    return content


@command(group, "map", example="download-gateway connection map shop sku=DR-1 drums")
def map_(
    invocation: Invocation,
    which: Which,
    item: Item,
    products: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PRODUCT", help="The product's id; several make a bundle; none: nothing to download."
        ),
    ] = None,
    *,
    version: Annotated[
        str | None, typer.Option(help="Only this version. Default: all, also later ones.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN|PERIOD",
            help="Only what was published until then, such as P1Y from the order on.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say which product an item is. Customers who have waited for it get it at once."""
    from gateway.orders.mappings import is_period  # noqa: PLC0415

    key, value = _read_item(item)
    if version is not None and until is not None:
        raise fail("--version and --until exclude each other: give one")
    if until is not None and not is_period(until):
        until = read_time("--until", until)
    limits: dict[str, Any] = {"scope": "version" if version else "until" if until else "all"}
    limits |= {"version": version} if version else {"until": until} if until else {}
    new = {"key": key, "value": value, "products": [{"productId": each, **limits} for each in products or []]}
    _change(invocation, which, lambda known: [*(each for each in known if _of(each) != (key, value)), new])


@command(group, "unmap", example="download-gateway connection unmap shop sku=DR-1")
def unmap(invocation: Invocation, which: Which, item: Item) -> None:
    """Forget which product an item is. What it opened is revoked, and its customers wait again."""
    wanted = _read_item(item)

    def without(known: list[dict[str, Any]]) -> list[dict[str, Any]]:
        left = [each for each in known if _of(each) != wanted]
        if len(left) == len(known):
            raise fail(f"{item} is not mapped (`connection mappings` shows what is)")
        return left

    _change(invocation, which, without)


def _of(mapping: dict[str, Any]) -> tuple[str, str]:
    return mapping["key"], mapping["value"]


def _change(invocation: Invocation, which: str, make: Any) -> None:
    async def work(catalogue: Catalogue) -> tuple[list[dict[str, Any]], int]:
        connection = await find(repository(invocation, catalogue), which)
        orders = await _write(catalogue, connection.id, make(await _read(catalogue, connection.id)))
        return await _read(catalogue, connection.id), orders

    found, orders = change(invocation, work)

    def show() -> None:
        _show(found)
        note(f"{count_of(orders, 'order')} looked at again.")

    invocation.print_result(found, show)


def add_unmapped(root: typer.Typer) -> None:
    """Register `unmapped`."""

    @command(root, "unmapped", example="download-gateway unmapped")
    def unmapped(invocation: Invocation, *, limit: Limit = 50) -> None:
        """List items that nobody has mapped to a product, those that most customers wait for first."""

        async def work(catalogue: Catalogue) -> list[dict[str, Any]]:
            from sqlalchemy import select  # noqa: PLC0415

            from gateway.database.tables import CONNECTION  # noqa: PLC0415
            from gateway.orders.order_queries import list_unmapped  # noqa: PLC0415
            from gateway.web.api.mappings import unmapped_document  # noqa: PLC0415

            async with catalogue.database.reading() as sql:
                names = {
                    row.id: row.name for row in await sql.execute(select(CONNECTION.c.id, CONNECTION.c.name))
                }
                rows = await list_unmapped(sql, limit, 0)
            documents = [unmapped_document(row) for row in rows]
            return [{**each, "connection": names.get(each["connectionId"])} for each in documents]

        found = look(invocation, work)
        rows = [
            (
                each["connection"] or each["connectionId"],
                f"{each['key']}={each['value']}" if each["key"] else "(no identifier)",
                each["customers"],
                each["title"] or "",
            )
            for each in found
        ]

        def show() -> None:
            show_table(("CONNECTION", "ITEM", "CUSTOMERS", "TITLE"), rows)
            if rows:
                note("Map one: download-gateway connection map CONNECTION ITEM PRODUCT")

        invocation.print_result(found, show)
