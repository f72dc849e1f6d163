"""`webhook add | list | show | change | rotate | enable | disable | remove`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, STORE, YES, Invocation, command, confirm, fail
from gateway.cli.output import note, show_record, show_table
from gateway.cli.working import FLAGS, change, look, problems_as_faults

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.webhooks.endpoints import Endpoint, EndpointRepository

group = typer.Typer(help="Webhooks: events that are sent to your own programs.", no_args_is_help=True)

SENDING = (*STORE, "loopback_webhooks")
NAMES = {**FLAGS, "url": "URL", "types": "--type", "overlap": "--overlap"}
Which = Annotated[
    str, typer.Argument(metavar="NAME|ID", help="The webhook's name or id (from `webhook list`).")
]


class Kind(StrEnum):
    """The types of events."""

    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of a type
    TOKEN_EXPIRED = "token.expired"  # noqa: S105
    DOWNLOAD_STARTED = "download.started"
    DOWNLOAD_COMPLETED = "download.completed"
    DOWNLOAD_FAILED = "download.failed"
    PRODUCT_UPLOADED = "product.uploaded"
    ORDER_PAID = "order.paid"
    ENTITLEMENT_REVOKED = "entitlement.revoked"


Kinds = Annotated[
    list[Kind] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help=f"A type of events, as often as you like: {', '.join(Kind)}.",
        show_default="all",
    ),
]


def repository(invocation: Invocation, catalogue: Catalogue) -> EndpointRepository:
    """The endpoints of the settings' database."""
    from gateway.connections.sealing import SecretBox  # noqa: PLC0415 - slow to import
    from gateway.webhooks.endpoints import EndpointRepository  # noqa: PLC0415

    return EndpointRepository(catalogue.database, SecretBox.of(invocation.settings))


async def find(endpoints: EndpointRepository, which: str) -> Endpoint:
    """Find an endpoint by name or id. Raises ConfigurationError."""
    found = [each for each in await endpoints.list_all() if which in (each.id, each.name)]
    exact = [each for each in found if each.id == which]
    if not found:
        raise fail("there is no such webhook (`webhook list` shows all)")
    if len(found) > 1 and not exact:
        raise fail(f"{len(found)} webhooks have this name: give the id of one (`webhook list` shows all)")
    return (exact or found)[0]


def document_of(endpoint: Endpoint, *, shows_secret: bool = False) -> dict[str, Any]:
    """The document of an endpoint, as the API has it."""
    from gateway.database.types import now  # noqa: PLC0415 - slow to import
    from gateway.web.api.webhooks import webhook_document  # noqa: PLC0415

    return webhook_document(endpoint, now(), shows_secret=shows_secret)


@command(
    group,
    "add",
    settings=SENDING,
    example="download-gateway webhook add https://shop.example/hook --name crm --type order.paid",
)
def add(
    invocation: Invocation,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.")],
    *,
    name: Annotated[str | None, typer.Option(help="A name for it.", show_default=False)] = None,
    kinds: Kinds = None,
) -> None:
    """Send events to a URL, and print the secret by which your program checks them. It is shown only now."""
    document: dict[str, Any] = {"url": url, "name": name, "types": [each.value for each in kinds or ()]}

    async def work(catalogue: Catalogue) -> Endpoint:
        from gateway.web.api.webhook_models import CreateWebhook  # noqa: PLC0415
        from gateway.web.api.webhooks import check_url  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        with problems_as_faults(NAMES):
            new = validate(CreateWebhook, document)
            check_url(new.url, allow_loopback=invocation.settings.loopback_webhooks)
        made = await repository(invocation, catalogue).create(new.url, new.name, new.types)
        await catalogue.store.audit.record(CLI, "webhook.create", {"webhook": made.id})
        return made

    made = document_of(change(invocation, work), shows_secret=True)

    def show_made() -> None:
        _show_one(made)
        note("Keep the secret: it is not shown again. docs/webhooks.md says how to check a signature.")

    invocation.print_result(made, show_made)


@command(group, "list", example="download-gateway webhook list")
def list_(invocation: Invocation) -> None:
    """List the webhooks, and how each does."""
    found = look(invocation, lambda catalogue: repository(invocation, catalogue).list_all())
    documents = [document_of(each) for each in found]
    rows = [
        (each["id"], each["name"] or "", each["url"], _state(each), ", ".join(each["types"]) or "all")
        for each in documents
    ]
    columns = ("ID", "NAME", "URL", "STATE", "TYPES")
    invocation.print_result(documents, lambda: show_table(columns, rows, wrap_last=True))


def _state(document: dict[str, Any]) -> str:
    if not document["enabled"]:
        return "disabled"
    return f"failing since {document['failingSince']}" if document["failures"] else "works"


@command(group, "show", example="download-gateway webhook show crm")
def show(invocation: Invocation, which: Which) -> None:
    """Show a webhook: how it does, and what was wrong last. Its secret is never shown."""
    found = look(invocation, lambda catalogue: find(repository(invocation, catalogue), which))
    document = document_of(found)
    invocation.print_result(document, lambda: _show_one(document))


def _show_one(each: dict[str, Any]) -> None:
    disabled = None if each["enabled"] else f"{each['disabledAt']}: {each['disabledReason']}"
    failing = f"{each['failures']} in a row since {each['failingSince']}: {each['lastError']}"
    show_record(
        [
            ("id", each["id"]),
            ("name", each["name"]),
            ("URL", each["url"]),
            ("types", ", ".join(each["types"]) or "all"),
            ("secret", each.get("secret")),
            ("secrets that sign", each["secrets"]),
            ("disabled", disabled),
            ("failures", failing if each["failures"] else "none"),
            ("paused until", each["pausedUntil"]),
            ("last success", each["lastSuccessAt"] or "none yet"),
        ]
    )


def _change(
    invocation: Invocation,
    which: str,
    action: str,
    work: Callable[[EndpointRepository, Endpoint], Awaitable[Endpoint]],
    *,
    shows_secret: bool = False,
    told: str = "",
) -> None:
    """Do some work on one endpoint, note it in the audit trail, and show the endpoint."""

    async def do(catalogue: Catalogue) -> Endpoint:
        endpoints = repository(invocation, catalogue)
        with problems_as_faults(NAMES):
            after = await work(endpoints, await find(endpoints, which))
        await catalogue.store.audit.record(CLI, action, {"webhook": after.id})
        return after

    document = document_of(change(invocation, do), shows_secret=shows_secret)

    def show_changed() -> None:
        _show_one(document)
        if told:
            note(told)

    invocation.print_result(document, show_changed)


@command(
    group, "change", settings=SENDING, example="download-gateway webhook change crm --type token.created"
)
def change_(
    invocation: Invocation,
    which: Which,
    *,
    url: Annotated[str | None, typer.Option(help="Another URL.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    kinds: Kinds = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Send all types of events.")] = False,
) -> None:
    """Change a webhook; what is not given stays."""
    given: dict[str, Any] = {"url": url, "name": name}
    document = {key: value for key, value in given.items() if value is not None}
    if kinds and all_types:
        raise fail("--type and --all-types exclude each other: give one")
    if kinds or all_types:
        document["types"] = [each.value for each in kinds or ()]
    if not document:
        raise fail("nothing to change: give --url, --name, --type or --all-types")

    async def work(endpoints: EndpointRepository, endpoint: Endpoint) -> Endpoint:
        from gateway.web.api.webhook_models import UpdateWebhook  # noqa: PLC0415
        from gateway.web.api.webhooks import changes_of, check_url  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        new = validate(UpdateWebhook, document)
        check_url(new.url, allow_loopback=invocation.settings.loopback_webhooks)
        return await endpoints.change(endpoint.id, changes_of(new))

    _change(invocation, which, "webhook.update", work)


@command(group, "rotate", example="download-gateway webhook rotate crm --overlap 3600")
def rotate(
    invocation: Invocation,
    which: Which,
    *,
    overlap: Annotated[
        int, typer.Option(help="Seconds for which the old secret still signs beside the new one; 0: none.")
    ] = 24 * 3600,
) -> None:
    """Replace the secret, and print the new one. Until the overlap is over, both sign."""

    async def work(endpoints: EndpointRepository, endpoint: Endpoint) -> Endpoint:
        from gateway.web.api.webhook_models import RotateSecret  # noqa: PLC0415
        from gateway.web.validation import validate  # noqa: PLC0415

        return await endpoints.rotate(endpoint.id, validate(RotateSecret, {"overlap": overlap}).overlap)

    told = "Keep the secret: it is not shown again. Give it to your program before the overlap is over."
    _change(invocation, which, "webhook.rotate", work, shows_secret=True, told=told)


@command(group, "enable", example="download-gateway webhook enable crm")
def enable(invocation: Invocation, which: Which) -> None:
    """Send to a webhook again that was disabled. What it has missed is replayed one by one."""
    _change(
        invocation,
        which,
        "webhook.update",
        lambda endpoints, one: endpoints.change(one.id, {"enabled": True}),
    )


@command(group, "disable", example="download-gateway webhook disable crm")
def disable(invocation: Invocation, which: Which) -> None:
    """Send nothing to a webhook any more. What happens meanwhile is not kept for it."""
    _change(
        invocation,
        which,
        "webhook.update",
        lambda endpoints, one: endpoints.change(one.id, {"enabled": False}),
    )


@command(group, "remove", example="download-gateway webhook remove crm")
def remove(invocation: Invocation, which: Which, *, yes: Annotated[bool, YES] = False) -> None:
    """Remove a webhook with its deliveries."""
    found = look(invocation, lambda catalogue: find(repository(invocation, catalogue), which))
    confirm(invocation, f"Remove the webhook {found.name or found.url} with its deliveries", yes)

    async def work(catalogue: Catalogue) -> None:
        await repository(invocation, catalogue).remove(found.id)
        await catalogue.store.audit.record(CLI, "webhook.delete", {"webhook": found.id})

    change(invocation, work)
    data = {"id": found.id, "removed": True}
    invocation.print_result(data, lambda: note(f"The webhook {found.name or found.id} is removed."))
