"""`connection test | events | replay`: what a connection sent, and whether it works."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.connections import Which, find, group, repository
from gateway.cli.options import CLI, Invocation, command
from gateway.cli.orders import Limit
from gateway.cli.output import note, show_table
from gateway.cli.working import change, look

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue


class State(StrEnum):
    """The states of an event in the inbox."""

    RECEIVED = "received"
    APPLIED = "applied"
    WAITING = "waiting"
    IGNORED = "ignored"
    FAILED = "failed"


@command(group, "test", example="download-gateway connection test shop")
def test_(invocation: Invocation, which: Which) -> int:
    """Say whether the last event came, when, and what was wrong; and whether the API key is accepted.

    Exits with 1 if something keeps orders away.
    """

    async def work(catalogue: Catalogue) -> dict[str, Any]:
        from gateway.connections.health import examine  # noqa: PLC0415
        from gateway.web.api.connections import health_document  # noqa: PLC0415

        connection = await find(repository(invocation, catalogue), which)
        loopback = invocation.settings.loopback_shops
        health = await examine(catalogue.database, connection, asks=True, allow_loopback=loopback)
        return health_document(health)

    found = look(invocation, work)
    rows = [
        (each["check"], each["result"], f"{each['text']}: {each['mend']}" if each["mend"] else each["text"])
        for each in found["findings"]
    ]
    invocation.print_result(found, lambda: show_table(("CHECK", "RESULT", "WHAT"), rows, wrap_last=True))
    return int(not found["works"])


@command(group, "events", example="download-gateway connection events shop --state failed")
def events(
    invocation: Invocation,
    which: Which,
    *,
    state: Annotated[State | None, typer.Option(help="Only in this state.", show_default=False)] = None,
    limit: Limit = 50,
) -> None:
    """List what a connection sent, the newest first."""

    async def work(catalogue: Catalogue) -> list[dict[str, Any]]:
        from gateway.connections.inbox import Inbox  # noqa: PLC0415
        from gateway.web.api.connections import event_document  # noqa: PLC0415

        connection = await find(repository(invocation, catalogue), which)
        word = None if state is None else state.value
        return [
            event_document(each)
            for each in await Inbox(catalogue.database).list_page(connection.id, limit, None, word)
        ]

    found = look(invocation, work)
    rows = [
        (each["id"], each["receivedAt"], each["type"], each["state"], each["error"] or "") for each in found
    ]
    columns = ("EVENT", "RECEIVED", "TYPE", "STATE", "WHY")
    invocation.print_result(found, lambda: show_table(columns, rows, wrap_last=True))


@command(group, "replay", example="download-gateway connection replay shop 01m8ha41ekbt8je95d2qs4bga7")
def replay(
    invocation: Invocation,
    which: Which,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's id (from `connection events`).")],
) -> None:
    """Apply an event once more: by the running gateway, within a second, or as soon as it runs."""

    async def work(catalogue: Catalogue) -> str:
        from gateway.connections.inbox import Inbox  # noqa: PLC0415

        connection = await find(repository(invocation, catalogue), which)
        await Inbox(catalogue.database).replay(connection.id, event)
        await catalogue.store.audit.record(CLI, "event.replay", {"connection": connection.id, "event": event})
        return connection.id

    identifier = change(invocation, work)
    data = {"connectionId": identifier, "eventId": event, "replayed": True}
    invocation.print_result(
        data, lambda: note(f"The event {event} is applied once more by the running gateway.")
    )
