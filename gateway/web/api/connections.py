"""/api/connections: shop accounts, what they sent, and applying it once more. Secrets are write-only."""

from __future__ import annotations

from typing import Any, Final, Protocol

from aiohttp import web

from gateway.connections.desk import ConnectionDesk
from gateway.connections.health import Health, examine
from gateway.connections.inbox import Stored
from gateway.connections.repository import Connection
from gateway.errors import Declined
from gateway.platforms.clients.api import ApiRefused
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.registry import PLATFORMS
from gateway.web.api.connection_models import (
    ConnectionResponse,
    ConnectionsResponse,
    ConnectionTestResponse,
    CreateConnection,
    DoneResponse,
    EventsResponse,
    ListEvents,
    UpdateConnection,
    changes_of,
)
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.problems import invalid
from gateway.web.responses import json_response
from gateway.web.routes import HasStore, Route
from gateway.web.times import format_time
from gateway.web.validation import validate, validate_query


class HasDesk(HasStore, Protocol):
    """What these handlers are given."""

    @property
    def desk(self) -> ConnectionDesk:
        """What works for connections."""
        ...

    @property
    def base_url(self) -> str:
        """What public URLs begin with."""
        ...


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_time(moment)


def connection_document(connection: Connection, base_url: str) -> dict[str, Any]:
    """The document of a connection. base_url: of the public address."""
    return {
        "id": connection.id,
        "kind": connection.kind,
        "name": connection.name,
        "live": connection.live,
        "url": f"{base_url.rstrip('/')}/hooks/{connection.id}",
        "secrets": len(connection.secrets),
        "hasApiKey": connection.api_key is not None,
        "shopUrl": connection.shop,
        "mail": connection.mail,
        "events": list(PLATFORMS[connection.kind].events),
        "createdAt": format_time(connection.created),
        "lastEventAt": _time(connection.last_event),
        "refused": connection.refused,
        "lastRefusedAt": _time(connection.last_refused),
        "lastError": connection.last_error,
    }


def event_document(event: Stored) -> dict[str, Any]:
    """The document of an event in the inbox."""
    return {
        "id": event.id,
        "dedupeKey": event.dedupe_key,
        "type": event.type,
        "state": event.state,
        "error": event.error,
        "receivedAt": format_time(event.received),
    }


def _response(connection: Connection, context: HasDesk, status: int = 200) -> web.Response:
    document = connection_document(connection, context.base_url)
    return json_response({"success": True, "connection": document}, status)


def check_access(kind: str, api_key: str | None, shop: str | None, *, allow_loopback: bool) -> None:
    """Refuse an API key or an address that cannot work. Raises Problem."""
    client = CLIENTS.get(kind)
    if api_key is not None and client is None:
        raise invalid([("apiKey", f"is of no use: {PLATFORMS[kind].title} is asked nothing")])
    if client is None or (api_key is None and shop is None):
        return
    try:
        client.access(api_key or "", shop, True, allow_loopback)
    except ApiRefused as failure:
        raise invalid([("shopUrl", str(failure))]) from None


async def list_connections(_request: web.Request, context: HasDesk) -> web.Response:
    """Answer with all connections: there are as many as shop accounts."""
    found = await context.desk.connections.list_all()
    documents = [connection_document(each, context.base_url) for each in found]
    return json_response({"success": True, "connections": documents, "nextCursor": None})


async def create_connection(request: web.Request, context: HasDesk) -> web.Response:
    """Make a connection. Raises Problem, Declined, DatabaseError."""
    new = validate(CreateConnection, await read_json(request))
    kind = new.kind
    check_access(kind, new.apiKey, new.shopUrl, allow_loopback=context.desk.allow_loopback)
    made = await context.desk.connections.create(
        kind, new.name, new.secrets, live=new.live, api_key=new.apiKey, shop=new.shopUrl, mail=new.mail
    )
    note_change(request, connection=made.id, kind=kind)
    return _response(made, context, 201)


async def _get(request: web.Request, context: HasDesk) -> Connection:
    found = await context.desk.connections.get(request.match_info["connectionId"])
    if found is None:
        raise Declined("connection_unknown", "There is no such connection.")
    return found


async def get_connection(request: web.Request, context: HasDesk) -> web.Response:
    """Answer with one connection. Raises Declined, DatabaseError."""
    return _response(await _get(request, context), context)


async def update_connection(request: web.Request, context: HasDesk) -> web.Response:
    """Change a connection. Raises Problem, Declined, DatabaseError."""
    change = validate(UpdateConnection, await read_json(request))
    before = await _get(request, context)
    changes = changes_of(change)
    check_access(
        before.kind,
        changes.get("api_key", before.api_key),
        changes.get("shop", before.shop),
        allow_loopback=context.desk.allow_loopback,
    )
    after = await context.desk.connections.change(before.id, **changes)
    note_change(request, connection=after.id, changed=",".join(sorted(change.model_fields_set)))
    return _response(after, context)


async def try_connection(request: web.Request, context: HasDesk) -> web.Response:
    """Say what came last, what was wrong with it, and whether the platform takes the API key.

    Raises Declined, DatabaseError.
    """
    connection = await _get(request, context)
    note_change(request, connection=connection.id)
    health = await examine(
        context.desk.connections.database, connection, asks=True, allow_loopback=context.desk.allow_loopback
    )
    return json_response({"success": True, "test": health_document(health)})


def health_document(health: Health) -> dict[str, Any]:
    """The document of what is known of a connection."""
    return {
        "works": health.works,
        "lastEvent": None if health.last is None else event_document(health.last),
        "findings": [
            {
                "check": each.check,
                "result": each.result.value,
                "text": each.text,
                "mend": each.mend or None,
            }
            for each in health.remarks
        ],
    }


async def delete_connection(request: web.Request, context: HasDesk) -> web.Response:
    """Remove a connection; orders stay. Raises Declined, DatabaseError."""
    identifier = request.match_info["connectionId"]
    await context.desk.connections.remove(identifier)
    note_change(request, connection=identifier)
    return web.Response(status=204)


async def list_events(request: web.Request, context: HasDesk) -> web.Response:
    """Answer with a page of the inbox. Raises Problem, Declined, DatabaseError."""
    query = validate_query(ListEvents, request)
    connection = await _get(request, context)
    events = await context.desk.inbox.list_page(connection.id, query.limit + 1, query.cursor, query.state)
    page = events[: query.limit]
    return json_response(
        {
            "success": True,
            "events": [event_document(event) for event in page],
            "nextCursor": page[-1].id if len(events) > query.limit else None,
        }
    )


async def replay_event(request: web.Request, context: HasDesk) -> web.Response:
    """Apply an event once more. Raises Declined, DatabaseError."""
    connection, event = request.match_info["connectionId"], request.match_info["eventId"]
    await context.desk.inbox.replay(connection, event)
    context.desk.applier.wake()
    note_change(request, connection=connection, event=event)
    return json_response({"success": True}, 202)


_CONNECTION: Final = "/connections/{connectionId}"
_EVENT: Final = f"{_CONNECTION}/events/{{eventId}}"

CONNECTION_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        "GET", "/connections", list_connections, "listConnections", "List connections", ConnectionsResponse
    ),
    Route(
        "POST",
        "/connections",
        create_connection,
        "createConnection",
        "Connect a shop account",
        ConnectionResponse,
        status=201,
        body=CreateConnection,
        refusals=(409, 503),
        audit="connection.create",
    ),
    Route(
        "GET",
        _CONNECTION,
        get_connection,
        "getConnection",
        "Show a connection",
        ConnectionResponse,
        refusals=(404,),
    ),
    Route(
        "PATCH",
        _CONNECTION,
        update_connection,
        "updateConnection",
        "Change a connection, or its secrets",
        ConnectionResponse,
        body=UpdateConnection,
        refusals=(404, 409),
        audit="connection.update",
    ),
    Route(
        "DELETE",
        _CONNECTION,
        delete_connection,
        "deleteConnection",
        "Remove a connection",
        None,
        status=204,
        refusals=(404,),
        audit="connection.delete",
    ),
    Route(
        "POST",
        f"{_CONNECTION}/test",
        try_connection,
        "testConnection",
        "Say whether a connection works: what came last, and whether the platform takes the API key",
        ConnectionTestResponse,
        refusals=(404,),
        audit="connection.test",
    ),
    Route(
        "GET",
        f"{_CONNECTION}/events",
        list_events,
        "listConnectionEvents",
        "List what a connection sent",
        EventsResponse,
        query=ListEvents,
        refusals=(404,),
    ),
    Route(
        "POST",
        f"{_EVENT}/replay",
        replay_event,
        "replayConnectionEvent",
        "Apply an event once more",
        DoneResponse,
        status=202,
        refusals=(404, 409),
        audit="event.replay",
    ),
)
