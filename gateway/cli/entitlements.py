"""`entitlement list | show | add | override | link`: what customers may download."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.options import CLI, STORE, Invocation, command, fail
from gateway.cli.orders import Limit
from gateway.cli.output import note, show_record, show_table
from gateway.cli.token_values import ExpiresIn, MaxDownloads, faults_name_flags, link_base, read_lifetime
from gateway.cli.working import change, look, pages, read_address, read_time

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue

group = typer.Typer(help="Entitlements: what each customer may download.", no_args_is_help=True)


UNKNOWN: Final = "there is no such entitlement (`entitlement list` shows them)"
EntitlementId = Annotated[
    str, typer.Argument(metavar="ID", help="The entitlement's id (from `entitlement list`).")
]


class Status(StrEnum):
    """Whether links can be made from an entitlement."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Decision(StrEnum):
    """What the seller decides, whatever the order says."""

    GRANT = "grant"
    REVOKE = "revoke"
    NONE = "none"


def show_entitlements(found: list[dict[str, Any]]) -> None:
    """Print entitlements for people."""
    rows = [
        (
            each["id"],
            each["email"] or "(erased)",
            each["productId"],
            _extent(each),
            each["quantity"],
            each["status"],
            ", ".join(each["reasons"]),
            each["order"]["number"] or each["order"]["orderId"] if each["order"] else "by hand",
        )
        for each in found
    ]
    columns = ("ID", "CUSTOMER", "PRODUCT", "VERSIONS", "QUANTITY", "STATUS", "WHY", "ORDER")
    show_table(columns, rows)


def _extent(each: dict[str, Any]) -> str:
    if each["scope"] == "version":
        return str(each["version"])
    return "all" if each["scope"] == "all" else f"until {each['updatesUntil'][:10]}"


@command(group, "list", example="download-gateway entitlement list --email jo@example.com")
def list_(
    invocation: Invocation,
    *,
    email: Annotated[str | None, typer.Option(help="Only of this customer.", show_default=False)] = None,
    product: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this product.", show_default=False)
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only with this status.", show_default=False)] = None,
    limit: Limit = 50,
) -> None:
    """List what customers may download."""
    address = read_address("--email", email)

    async def read(catalogue: Catalogue) -> list[dict[str, Any]]:
        from gateway.orders.entitlements import EntitlementFilter, list_entitlements  # noqa: PLC0415
        from gateway.web.api.order_documents import entitlement_document  # noqa: PLC0415

        only = EntitlementFilter(address, product, None if status is None else status.value)
        async with catalogue.database.reading() as sql:
            rows = await pages(lambda most, after: list_entitlements(sql, only, most, after), limit)
        return [entitlement_document(row) for row in rows]

    found = look(invocation, read)
    invocation.print_result(found, lambda: show_entitlements(found))


@command(group, "show", example="download-gateway entitlement show 01m8ha41ekbt8je95d2qs4bga7")
def show(invocation: Invocation, entitlement: EntitlementId) -> None:
    """Show one entitlement, and why it is as it is."""

    async def read(catalogue: Catalogue) -> dict[str, Any]:
        return await _read_one(catalogue, entitlement)

    found = look(invocation, read)
    invocation.print_result(found, lambda: _show_one(found))


@command(
    group,
    "link",
    settings=(*STORE, "public_url", "listen", "mint_default_ttl", "mint_max_ttl"),
    example="download-gateway entitlement link 01m8ha41ekbt8je95d2qs4bga7 --expires-in 7d",
)
def link(
    invocation: Invocation,
    entitlement: EntitlementId,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="The version. Default: the active one, else the newest."),
    ] = None,
    *,
    expires_in: ExpiresIn = None,
    max_downloads: MaxDownloads = None,
) -> None:
    """Make a download link for the customer of an entitlement, and print it. It ends with the entitlement."""
    settings = invocation.settings
    lifetime = read_lifetime(expires_in, settings)
    base = link_base(invocation)

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.orders.minting import Terms, mint_from_entitlement  # noqa: PLC0415
        from gateway.secrets import token_id  # noqa: PLC0415
        from gateway.web.download_urls import download_url_document  # noqa: PLC0415

        terms = Terms(version, lifetime, {"max_downloads": max_downloads}, base=base)
        url = await mint_from_entitlement(catalogue.database, catalogue.store, entitlement, terms)
        what = {"entitlement": entitlement, "token": token_id(url.token), "version": url.version}
        await catalogue.store.audit.record(CLI, "entitlement.mint", what)
        file = await catalogue.store.products.only_file(url.manifest)
        return download_url_document(url.base, url.product, url.version, url.token, url.expires, file)

    with faults_name_flags():
        made = look(invocation, work)

    def print_link() -> None:
        typer.echo(made.get("directUrl") or made["downloadUrl"])
        note(f"{made['productId']} {made['version']}, valid until {made['expiresAt']}")

    invocation.print_result(made, print_link)


@command(
    group,
    "add",
    example='download-gateway entitlement add jo@example.com samples --reason "a gift to a reviewer"',
)
def add(
    invocation: Invocation,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The customer's address.")],
    product: Annotated[
        str, typer.Argument(metavar="PRODUCT", help="The product's id (from `product list`).")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why, for your own records.")],
    name: Annotated[str | None, typer.Option(help="The customer's name.", show_default=False)] = None,
    version: Annotated[
        str | None, typer.Option(help="Only this version. Default: all, also later ones.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only what was published before that.", show_default=False),
    ] = None,
    quantity: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 1,
) -> None:
    """Open a product to a customer without an order."""
    if version is not None and until is not None:
        raise fail("--version and --until exclude each other: give one")
    document = {
        "email": email,
        "productId": product,
        "reason": reason,
        "name": name,
        "version": version,
        "until": read_time("--until", until),
        "scope": "version" if version else "until" if until else "all",
        "quantity": quantity,
    }

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.web.api.entitlements import grant_product  # noqa: PLC0415
        from gateway.web.api.order_models import CreateEntitlement  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        body = validate(CreateEntitlement, document)
        identifier = await grant_product(catalogue.database, catalogue.store, body)
        what = {"entitlement": identifier, "product": product}
        await catalogue.store.audit.record(CLI, "entitlement.create", what)
        return await _read_one(catalogue, identifier)

    found = change(invocation, work)
    invocation.print_result(found, lambda: _show_one(found))


@command(
    group,
    "override",
    example='download-gateway entitlement override 01m8ha41ekbt8je95d2qs4bga7 revoke --reason "shares links"',
)
def override(
    invocation: Invocation,
    entitlement: EntitlementId,
    decision: Annotated[
        Decision, typer.Argument(metavar="DECISION", help="grant, revoke, or none to go by the order.")
    ],
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for your own records.", show_default=False)] = None,
) -> None:
    """Decide about an entitlement, whatever its order says. Revoking ends its links within seconds."""
    word = None if decision is Decision.NONE else decision.value

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.database.types import now  # noqa: PLC0415
        from gateway.orders.entitlement_rules import Override  # noqa: PLC0415
        from gateway.orders.entitlements import override_entitlement  # noqa: PLC0415
        from gateway.web.api.order_models import UpdateEntitlement  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        body = validate(UpdateEntitlement, {"override": word, "reason": reason})
        chosen = None if body.override is None else Override(body.override)
        async with catalogue.database.writing() as sql:
            known = await override_entitlement(sql, entitlement, chosen, body.reason, now())
        if not known:
            raise fail(UNKNOWN)
        what = {"entitlement": entitlement, "override": word or "none"}
        await catalogue.store.audit.record(CLI, "entitlement.override", what)
        return await _read_one(catalogue, entitlement)

    found = change(invocation, work)
    invocation.print_result(found, lambda: _show_one(found))


async def _read_one(catalogue: Catalogue, identifier: str) -> dict[str, Any]:
    from gateway.orders.entitlements import get_entitlement  # noqa: PLC0415
    from gateway.web.api.order_documents import entitlement_document  # noqa: PLC0415

    async with catalogue.database.reading() as sql:
        row = await get_entitlement(sql, identifier)
    if row is None:
        raise fail(UNKNOWN)
    return entitlement_document(row)


def _show_one(each: dict[str, Any]) -> None:
    order = each["order"]
    show_record(
        [
            ("id", each["id"]),
            ("customer", each["email"]),
            ("product", each["productId"]),
            ("versions", _extent(each)),
            ("quantity", each["quantity"]),
            ("status", each["status"]),
            ("why", ", ".join(each["reasons"]) or None),
            ("override", each["override"]),
            ("reason", each["reason"]),
            ("order", f"{order['source']} {order['orderId']}" if order else None),
        ]
    )
