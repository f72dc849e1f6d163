"""/api/webhooks: where events are sent, what came of it, and sending once more."""

from __future__ import annotations

from typing import Any, Final, Protocol

from aiohttp import web

from gateway.database.types import now
from gateway.web.api.connection_models import DoneResponse
from gateway.web.api.webhook_models import (
    CreateWebhook,
    DeliveriesResponse,
    ListDeliveries,
    RotateSecret,
    UpdateWebhook,
    WebhookResponse,
    WebhooksResponse,
    WebhookTestResponse,
)
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.problems import invalid
from gateway.web.responses import json_response
from gateway.web.routes import HasStore, Route
from gateway.web.times import format_time
from gateway.web.validation import validate, validate_query
from gateway.webhooks.deliveries import Delivery
from gateway.webhooks.desk import WebhookDesk, try_endpoint
from gateway.webhooks.endpoints import Endpoint
from gateway.webhooks.outcomes import Answer
from gateway.webhooks.urls import UrlFault, read_url


class HasWebhooks(HasStore, Protocol):
    """What these handlers are given."""

    @property
    def webhooks(self) -> WebhookDesk:
        """What works for outgoing webhooks."""
        ...


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_time(moment)


def webhook_document(endpoint: Endpoint, moment: int, *, shows_secret: bool = False) -> dict[str, Any]:
    """The document of an endpoint. moment: now, ms. shows_secret: the newest one, which was made now."""
    secret = {"secret": endpoint.secrets[0].text} if shows_secret else {}
    paused = endpoint.paused_until
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "name": endpoint.name,
        "types": list(endpoint.types),
        "enabled": endpoint.disabled is None,
        "disabledAt": _time(endpoint.disabled),
        "disabledReason": endpoint.disabled_reason,
        "createdAt": format_time(endpoint.created),
        "secrets": len(endpoint.signing(moment)),
        "failures": endpoint.failures,
        "failingSince": _time(endpoint.failing_since),
        "pausedUntil": _time(paused if paused is not None and paused > moment else None),
        "lastSuccessAt": _time(endpoint.last_success),
        "lastFailureAt": _time(endpoint.last_failure),
        "lastError": endpoint.last_error,
        **secret,
    }


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """The document of a delivery."""
    return {
        "id": delivery.id,
        "messageId": delivery.message,
        "type": delivery.type,
        "state": delivery.state,
        "createdAt": format_time(delivery.created),
        "attempts": delivery.attempts,
        "nextAttemptAt": _time(delivery.due),
        "tries": [
            {
                "at": format_time(each.at),
                "status": each.status,
                "milliseconds": each.milliseconds,
                "error": each.error,
            }
            for each in delivery.tries
        ],
        "payload": {
            "type": delivery.type,
            "timestamp": format_time(delivery.happened),
            "data": delivery.data,
        },
    }


def answer_document(answer: Answer) -> dict[str, Any]:
    """The document of what came of a test message."""
    return {
        "delivered": answer.is_good,
        "status": answer.status,
        "milliseconds": answer.milliseconds,
        "error": answer.error,
    }


def check_url(url: str | None, *, allow_loopback: bool) -> None:
    """Refuse a URL that an endpoint may not have. Raises Problem."""
    try:
        if url is not None:
            read_url(url, allow_loopback=allow_loopback)
    except UrlFault as fault:
        raise invalid([("url", str(fault))]) from None


def changes_of(change: UpdateWebhook) -> dict[str, Any]:
    """The changes that were given."""
    return {name: getattr(change, name) for name in change.model_fields_set}


def _response(endpoint: Endpoint, status: int = 200, *, shows_secret: bool = False) -> web.Response:
    document = webhook_document(endpoint, now(), shows_secret=shows_secret)
    return json_response({"success": True, "webhook": document}, status)


def _id(request: web.Request) -> str:
    return request.match_info["webhookId"]


async def list_webhooks(_request: web.Request, context: HasWebhooks) -> web.Response:
    """Answer with all endpoints: there are few. Raises DatabaseError."""
    found = await context.webhooks.endpoints.list_all()
    documents = [webhook_document(each, now()) for each in found]
    return json_response({"success": True, "webhooks": documents, "nextCursor": None})


async def create_webhook(request: web.Request, context: HasWebhooks) -> web.Response:
    """Make an endpoint, and answer with its secret. Raises Problem, Declined, DatabaseError."""
    new = validate(CreateWebhook, await read_json(request))
    check_url(new.url, allow_loopback=context.webhooks.allow_loopback)
    made = await context.webhooks.endpoints.create(new.url, new.name, new.types)
    note_change(request, webhook=made.id)
    return _response(made, 201, shows_secret=True)


async def get_webhook(request: web.Request, context: HasWebhooks) -> web.Response:
    """Answer with one endpoint. Raises Declined, DatabaseError."""
    return _response(await context.webhooks.endpoints.get(_id(request)))


async def update_webhook(request: web.Request, context: HasWebhooks) -> web.Response:
    """Change an endpoint. Raises Problem, Declined, DatabaseError."""
    change = validate(UpdateWebhook, await read_json(request))
    check_url(change.url, allow_loopback=context.webhooks.allow_loopback)
    after = await context.webhooks.endpoints.change(_id(request), changes_of(change))
    note_change(request, webhook=after.id, changed=",".join(sorted(change.model_fields_set)))
    context.webhooks.deliverer.wake()
    return _response(after)


async def delete_webhook(request: web.Request, context: HasWebhooks) -> web.Response:
    """Remove an endpoint with its deliveries. Raises Declined, DatabaseError."""
    await context.webhooks.endpoints.remove(_id(request))
    note_change(request, webhook=_id(request))
    return web.Response(status=204)


async def rotate_secret(request: web.Request, context: HasWebhooks) -> web.Response:
    """Give an endpoint a new secret, and answer with it. Raises Problem, Declined, DatabaseError."""
    given = validate(RotateSecret, await read_json(request) if request.body_exists else {})
    after = await context.webhooks.endpoints.rotate(_id(request), given.overlap)
    note_change(request, webhook=after.id, overlap=given.overlap)
    return _response(after, shows_secret=True)


async def send_test(request: web.Request, context: HasWebhooks) -> web.Response:
    """Send a test message, and answer with what came of it. Raises Declined, DatabaseError."""
    endpoint = await context.webhooks.endpoints.get(_id(request))
    note_change(request, webhook=endpoint.id)
    answer = await try_endpoint(endpoint, allow_loopback=context.webhooks.allow_loopback)
    return json_response({"success": True, "test": answer_document(answer)})


async def list_deliveries(request: web.Request, context: HasWebhooks) -> web.Response:
    """Answer with a page of the deliveries of an endpoint. Raises Problem, Declined, DatabaseError."""
    query = validate_query(ListDeliveries, request)
    endpoint = await context.webhooks.endpoints.get(_id(request))
    found = await context.webhooks.log.list_page(endpoint.id, query.limit + 1, query.cursor, query.state)
    page = found[: query.limit]
    return json_response(
        {
            "success": True,
            "deliveries": [delivery_document(each) for each in page],
            "nextCursor": page[-1].id if len(found) > query.limit else None,
        }
    )


async def replay_delivery(request: web.Request, context: HasWebhooks) -> web.Response:
    """Send a message once more, soon. Raises Declined, DatabaseError."""
    delivery = request.match_info["deliveryId"]
    await context.webhooks.log.replay(_id(request), delivery)
    context.webhooks.deliverer.wake()
    note_change(request, webhook=_id(request), delivery=delivery)
    return json_response({"success": True}, 202)


_WEBHOOK: Final = "/webhooks/{webhookId}"

WEBHOOK_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route("GET", "/webhooks", list_webhooks, "listWebhooks", "List outgoing webhooks", WebhooksResponse),
    Route(
        "POST",
        "/webhooks",
        create_webhook,
        "createWebhook",
        "Send events to a URL; the answer has the secret, once",
        WebhookResponse,
        status=201,
        body=CreateWebhook,
        refusals=(409, 503),
        audit="webhook.create",
    ),
    Route("GET", _WEBHOOK, get_webhook, "getWebhook", "Show a webhook", WebhookResponse, refusals=(404,)),
    Route(
        "PATCH",
        _WEBHOOK,
        update_webhook,
        "updateWebhook",
        "Change a webhook, disable or enable it",
        WebhookResponse,
        body=UpdateWebhook,
        refusals=(404,),
        audit="webhook.update",
    ),
    Route(
        "DELETE",
        _WEBHOOK,
        delete_webhook,
        "deleteWebhook",
        "Remove a webhook with its deliveries",
        None,
        status=204,
        refusals=(404,),
        audit="webhook.delete",
    ),
    Route(
        "POST",
        f"{_WEBHOOK}/rotate",
        rotate_secret,
        "rotateWebhookSecret",
        "Replace the secret; the answer has the new one, once",
        WebhookResponse,
        body=RotateSecret,
        needs_body=False,
        refusals=(404,),
        audit="webhook.rotate",
    ),
    Route(
        "POST",
        f"{_WEBHOOK}/test",
        send_test,
        "testWebhook",
        "Send a test message, and say what came of it",
        WebhookTestResponse,
        refusals=(404,),
        audit="webhook.test",
    ),
    Route(
        "GET",
        f"{_WEBHOOK}/deliveries",
        list_deliveries,
        "listWebhookDeliveries",
        "List what was sent, and what came of it",
        DeliveriesResponse,
        query=ListDeliveries,
        refusals=(404,),
    ),
    Route(
        "POST",
        f"{_WEBHOOK}/deliveries/{{deliveryId}}/replay",
        replay_delivery,
        "replayWebhookDelivery",
        "Send a message once more",
        DoneResponse,
        status=202,
        refusals=(404, 409),
        audit="webhook.replay",
    ),
)
