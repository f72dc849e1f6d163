"""`order add | import | list | show`. order_import.py has the second."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.options import CLI, Invocation, command, fail
from gateway.cli.output import count_of, note, show_record, show_table
from gateway.cli.working import change, look, read_address, read_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.orders.order_queries import OrderFilter

group = typer.Typer(help="Orders: what was sold, and what became of it.", no_args_is_help=True)

SOURCE: Final = "shop"
"""The source of orders that are told by hand, where none is given."""
Source = Annotated[
    str, typer.Option(metavar="WORD", help="Where the order is from: lower-case letters, digits, '-'.")
]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most this many.")]
_COUNTED: Final = re.compile(r"(.+)=([0-9]{1,7})", re.DOTALL)


class Told(StrEnum):
    """The states that whoever tells an order may give it."""

    PAID = "paid"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    DISPUTED = "disputed"


class Status(StrEnum):
    """The states of an order."""

    PENDING = "pending"
    PAID = "paid"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    DISPUTED = "disputed"
    CHARGED_BACK = "charged_back"


@command(
    group,
    "add",
    example="download-gateway order add 1001 --email jo@example.com --product samples --product kit=3",
)
def add(
    invocation: Invocation,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id in your shop.")],
    *,
    email: Annotated[str, typer.Option(metavar="EMAIL", help="The customer's address.")],
    product: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID[=N]",
            help="A product that was bought, and how many; repeat it for others.",
            show_default=False,
        ),
    ] = None,
    sku: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SKU[=N]", help="The same by an item number that a mapping knows.", show_default=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The customer's name.", show_default=False)] = None,
    number: Annotated[
        str | None, typer.Option(help="What people call the order, if not by its id.", show_default=False)
    ] = None,
    placed_at: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="When it was placed: 2026-01-31, or a time. Default: now.",
            show_default=False,
        ),
    ] = None,
    country: Annotated[
        str | None, typer.Option(metavar="CC", help="Two letters, such as DE.", show_default=False)
    ] = None,
    status: Annotated[Told, typer.Option(help="What became of it.")] = Told.PAID,
    source: Source = SOURCE,
    test: Annotated[bool, typer.Option("--test", help="A purchase without money.")] = False,
    mail: Annotated[
        bool,
        typer.Option("--mail", help="Send the customer a mail once there is something to download."),
    ] = False,
) -> None:
    """Tell of an order as it is now: all of it. Told again, it changes to what it is then.

    A product that is left out then is not the customer's any more, and links to it end.
    """
    document: dict[str, Any] = {
        "customer": {"email": email, "name": name},
        "number": number,
        "placedAt": read_time("--placed-at", placed_at),
        "country": None if country is None else country.upper(),
        "test": test,
        "mail": mail,
        "status": status.value,
        "lines": _lines(product or [], sku or []),
    }

    async def tell(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.web.api.order_models import PutOrder  # noqa: PLC0415 - slow to import
        from gateway.web.api.orders import take_order  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        body = validate(PutOrder, document)
        await take_order(catalogue.database, catalogue.store, source, order, body)
        await catalogue.store.audit.record(
            CLI, "order.put", {"source": source, "order": order, "status": status.value}
        )
        return await _read_one(catalogue, source, order)

    found = change(invocation, tell)
    invocation.print_result(found, lambda: show_order(found))


def _lines(products: list[str], skus: list[str]) -> list[dict[str, Any]]:
    if not products and not skus:
        raise fail("what was bought? Give --product ID or --sku SKU")
    lines: list[dict[str, Any]] = []
    for kind, texts in (("productId", products), ("sku", skus)):
        for text in texts:
            match = _COUNTED.fullmatch(text)
            item, quantity = (match[1], int(match[2])) if match else (text, 1)
            place = sum(line.get(kind) == item for line in lines) + 1
            lines.append({"id": f"{item[:200]}#{place}", kind: item, "quantity": quantity})
    return lines


@command(group, "list", example="download-gateway order list --email jo@example.com")
def list_(
    invocation: Invocation,
    *,
    email: Annotated[str | None, typer.Option(help="Only of this customer.", show_default=False)] = None,
    product: Annotated[
        str | None, typer.Option(metavar="ID", help="Only with this product.", show_default=False)
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only in this state.", show_default=False)] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="WHEN", help="Only placed then or later: 2026-01-31.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="Only placed before that.", show_default=False)
    ] = None,
    limit: Limit = 50,
) -> None:
    """List orders, in the order in which they came here."""
    from gateway.web.times import parse_time  # noqa: PLC0415

    moments = [
        None if text is None else parse_time(text)
        for text in (read_time("--from", start), read_time("--to", end))
    ]
    address = read_address("--email", email)
    word = None if status is None else status.value

    async def read(catalogue: Catalogue) -> list[dict[str, Any]]:
        from gateway.orders.order_queries import OrderFilter  # noqa: PLC0415 - slow to import

        return await read_orders(catalogue, OrderFilter(address, None, product, word, *moments), limit)

    found = look(invocation, read)
    invocation.print_result(found, lambda: show_orders(found))


@command(group, "show", example="download-gateway order show 1001")
def show(
    invocation: Invocation,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id or number.")],
    *,
    source: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Where it is from, if several have it.", show_default=False),
    ] = None,
) -> None:
    """Show an order, its lines, and what these opened."""

    async def read(catalogue: Catalogue) -> dict[str, Any]:
        from sqlalchemy import or_, select  # noqa: PLC0415 - slow to import

        from gateway.database.tables import ORDER  # noqa: PLC0415

        text = order.replace("\0", "")
        named = select(ORDER.c.source, ORDER.c.external_id).where(
            or_(ORDER.c.external_id == text, ORDER.c.number == text)
        )
        if source is not None:
            named = named.where(ORDER.c.source == source)
        async with catalogue.database.reading() as sql:
            found = list(await sql.execute(named.order_by(ORDER.c.source).limit(10)))
        if not found:
            raise fail(f"there is no order {order} (`order list` shows orders)")
        if len(found) > 1:
            places = ", ".join(f"{row.source} {row.external_id}" for row in found)
            raise fail(f"several orders are called {order}: {places}. Give the id, and --source WORD")
        return await _read_one(catalogue, found[0].source, found[0].external_id)

    found = look(invocation, read)
    invocation.print_result(found, lambda: show_order(found))


async def _read_one(catalogue: Catalogue, source: str, order_id: str) -> dict[str, Any]:
    from gateway.orders.order_queries import get_order  # noqa: PLC0415 - slow to import
    from gateway.web.api.order_documents import order_document  # noqa: PLC0415

    async with catalogue.database.reading() as sql:
        shown = await get_order(sql, source, order_id)
    assert shown is not None
    return order_document(shown)


async def read_orders(catalogue: Catalogue, only: OrderFilter, limit: int) -> list[dict[str, Any]]:
    """The documents of some orders."""
    from gateway.orders.order_queries import list_orders  # noqa: PLC0415 - slow to import
    from gateway.web.api.order_documents import order_document  # noqa: PLC0415

    async with catalogue.database.reading() as sql:
        found: list[Any] = []
        while len(found) < limit:
            after = found[-1].row.id if found else None
            page = await list_orders(sql, only, min(limit - len(found), 200), after)
            if not page:
                break
            found += page
    return [order_document(each) for each in found]


def show_orders(orders: list[dict[str, Any]]) -> None:
    """Print orders for people."""
    rows = [
        (
            each["source"],
            each["orderId"],
            each["number"] or "",
            each["status"],
            each["placedAt"][:10],
            each["customer"]["email"] or "",
            ", ".join(_item(line) for line in each["lines"]),
        )
        for each in orders
    ]
    show_table(("SOURCE", "ORDER", "NUMBER", "STATUS", "PLACED", "CUSTOMER", "ITEMS"), rows, wrap_last=True)


def _item(line: dict[str, Any]) -> str:
    item = line["item"]
    name = item["value"] if item else line["title"] or line["id"]
    left = line["quantity"] - line["refunded"]
    return f"{name} × {left}" + (" (unmapped)" if line["waits"] else "")


def show_order(order: dict[str, Any]) -> None:
    """Print one order for people."""
    customer = order["customer"]
    fields = [
        ("order", order["orderId"]),
        ("source", order["source"]),
        ("number", order["number"]),
        ("status", order["status"]),
        ("placed", order["placedAt"]),
        ("customer", customer["email"] or ("erased, or not told" if not customer["name"] else None)),
        ("name", customer["name"]),
        ("country", order["country"]),
        ("test", "yes" if order["test"] else None),
    ]
    show_record(fields)
    typer.echo()
    rows = [
        (
            line["id"],
            f"{line['item']['key']}:{line['item']['value']}" if line["item"] else "",
            line["quantity"],
            line["refunded"],
            "waits for a mapping" if line["waits"] else " ".join(line["entitlementIds"]) or "nothing",
        )
        for line in order["lines"]
    ]
    show_table(("LINE", "ITEM", "QUANTITY", "REFUNDED", "OPENS"), rows)
    waiting = sum(line["waits"] for line in order["lines"])
    if waiting:
        note(
            f"{count_of(waiting, 'item')} nobody has mapped yet: `unmapped` shows all, `connection map` maps."
        )
