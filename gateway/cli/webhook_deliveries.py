"""`webhook test | deliveries | replay`: what was sent, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, Invocation, command
from gateway.cli.orders import Limit
from gateway.cli.output import note, show_record, show_table
from gateway.cli.webhooks import SENDING, Which, find, group, repository
from gateway.cli.working import change, look, pages

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue


class State(StrEnum):
    """The states of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@command(group, "test", settings=SENDING, example="download-gateway webhook test crm")
def test_(invocation: Invocation, which: Which) -> int:
    """Send a message of the type webhook.test now, and say what came of it. Exits with 1 if it has failed."""

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.web.api.webhooks import answer_document  # noqa: PLC0415 - slow to import
        from gateway.webhooks.desk import try_endpoint  # noqa: PLC0415

        endpoint = await find(repository(invocation, catalogue), which)
        loopback = invocation.settings.loopback_webhooks
        answer = await try_endpoint(endpoint, allow_loopback=loopback)
        await catalogue.store.audit.record(CLI, "webhook.test", {"webhook": endpoint.id})
        return answer_document(answer)

    found = look(invocation, work)
    rows = [
        ("delivered", "yes" if found["delivered"] else "no"),
        ("status", found["status"]),
        ("took", f"{found['milliseconds']} ms"),
        ("why not", found["error"]),
    ]
    invocation.print_result(found, lambda: show_record(rows))
    return int(not found["delivered"])


@command(group, "deliveries", example="download-gateway webhook deliveries crm --state failed")
def deliveries(
    invocation: Invocation,
    which: Which,
    *,
    state: Annotated[State | None, typer.Option(help="Only in this state.", show_default=False)] = None,
    limit: Limit = 50,
) -> None:
    """List what was sent to a webhook, the newest first."""

    async def work(catalogue: Catalogue) -> list[dict[str, Any]]:
        from gateway.web.api.webhooks import delivery_document  # noqa: PLC0415
        from gateway.webhooks.deliveries import DeliveryLog  # noqa: PLC0415

        endpoint = await find(repository(invocation, catalogue), which)
        log = DeliveryLog(catalogue.database)
        word = None if state is None else state.value
        found = await pages(lambda most, last: log.list_page(endpoint.id, most, last, word), limit)
        return [delivery_document(each) for each in found]

    found = look(invocation, work)
    rows = [
        (each["id"], each["createdAt"], each["type"], each["state"], each["attempts"], _last(each))
        for each in found
    ]
    columns = ("DELIVERY", "CREATED", "TYPE", "STATE", "ATTEMPTS", "LAST")
    invocation.print_result(found, lambda: show_table(columns, rows, wrap_last=True))


def _last(document: dict[str, Any]) -> str:
    if not document["tries"]:
        return "not sent yet"
    last = document["tries"][-1]
    return last["error"] or f"{last['status']} in {last['milliseconds']} ms"


@command(group, "replay", example="download-gateway webhook replay crm 01m8ha41ekbt8je95d2qs4bga7")
def replay(
    invocation: Invocation,
    which: Which,
    delivery: Annotated[
        str, typer.Argument(metavar="DELIVERY", help="The delivery's id (from `webhook deliveries`).")
    ],
) -> None:
    """Send a message once more: by the running gateway, within a second, or as soon as it runs."""

    async def work(catalogue: Catalogue) -> str:
        from gateway.webhooks.deliveries import DeliveryLog  # noqa: PLC0415

        endpoint = await find(repository(invocation, catalogue), which)
        await DeliveryLog(catalogue.database).replay(endpoint.id, delivery)
        what = {"webhook": endpoint.id, "delivery": delivery}
        await catalogue.store.audit.record(CLI, "webhook.replay", what)
        return endpoint.id

    identifier = change(invocation, work)
    data = {"webhookId": identifier, "deliveryId": delivery, "replayed": True}
    invocation.print_result(data, lambda: note(f"The running gateway sends {delivery} once more."))
