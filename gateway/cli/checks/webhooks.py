"""`check` of outgoing webhooks: those that are disabled, that fail, or that cannot sign."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.cli.checks.database import look_into_database
from gateway.config.settings import Settings
from gateway.connections.sealing import SecretBox
from gateway.database.engine import Database
from gateway.webhooks.deliveries import DeliveryLog
from gateway.webhooks.endpoints import Endpoint, EndpointRepository
from gateway.webhooks.urls import UrlFault, read_url

SUBJECT: Final = "webhooks"


def check_webhooks(settings: Settings) -> Iterator[Finding]:
    """Look at all endpoints of the database. Nothing is changed, and nothing is sent."""
    yield from look_into_database(settings, partial(_look, settings))


async def _look(settings: Settings, database: Database) -> list[Finding]:
    log = DeliveryLog(database)
    endpoints = await EndpointRepository(database, SecretBox.of(settings)).list_all()
    if not endpoints:
        return [passed(SUBJECT, "there are none")]
    return [_judge(settings, each, await log.count_waiting(each.id)) for each in endpoints]


def _judge(settings: Settings, endpoint: Endpoint, waiting: int) -> Finding:
    """What is right or wrong of an endpoint."""
    name = endpoint.name if endpoint.name and " " not in endpoint.name else endpoint.id
    subject = f"webhook {endpoint.name or endpoint.id}"
    if endpoint.unreadable is not None:
        return failed(subject, str(endpoint.unreadable).rstrip("."))
    try:
        read_url(endpoint.url, allow_loopback=settings.loopback_webhooks)
    except UrlFault as fault:
        return failed(subject, f"its URL {fault}", f"webhook change {name} --url URL")
    if endpoint.disabled is not None:
        text = f"it is disabled: {endpoint.disabled_reason}"
        return warned(subject, text, f"mend it, then: webhook enable {name}")
    if endpoint.failures:
        text = f"{endpoint.failures} attempts in a row have failed ({endpoint.last_error}), {waiting} wait"
        return warned(subject, text, f"see: webhook deliveries {name} --state waiting")
    return passed(subject, f"it works, {waiting} wait")
