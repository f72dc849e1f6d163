"""What usage tells the endpoints of outgoing webhooks about tokens and downloads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.runtime.log import format_time
from gateway.usage.client_classes import classify
from gateway.usage.coverage import count
from gateway.usage.downloads import Download
from gateway.usage.events import FileOfVersion
from gateway.webhooks.outbox.announcements import Announcement, EventType, announce_as

MILLISECOND: Final = 1_000
"""Microseconds."""


class Holder(NamedTuple):
    """Whose a download is.

    entitlement: the id of the one that its token came from. customer: an id, or the mark of an address.
    """

    entitlement: str | None
    customer: str | None
    test: bool


def token_created(row: Mapping[str, Any]) -> Announcement:
    """That a token was made. row: of the table of tokens."""
    data = {
        **_token(row),
        "maxDownloads": row["max_downloads"],
        "createdAt": format_time(row["created"]),
        "expiresAt": format_time(row["expires"]),
    }
    customer = row["customer"]
    return announce_as(EventType.TOKEN_CREATED, row["created"], data, key=row["id"], customer=customer)


def token_expired(row: Mapping[str, Any]) -> Announcement:
    """That a token's time is over. row: of the table of tokens."""
    data = {
        **_token(row),
        "createdAt": format_time(row["created"]),
        "expiredAt": format_time(row["expires"]),
    }
    customer = row["customer"]
    return announce_as(EventType.TOKEN_EXPIRED, row["expires"], data, key=row["id"], customer=customer)


def _token(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tokenId": row["id"],
        "productId": row["product"],
        "version": row["version"],
        "entitlementId": row["entitlement_id"],
        "test": row["test"],
    }


def download_changed(
    kind: EventType, name: str, file: FileOfVersion, download: Download, holder: Holder, happened: int
) -> Announcement:
    """That a download began, was completed or failed. name: its id. happened: ms since 1970 UTC."""
    first = download.attempts[0]
    completed = download.completed
    data = {
        "downloadId": name,
        "tokenId": first.token,
        "productId": file.product,
        "version": file.version,
        "file": {"name": file.name, "size": file.size, "sha256": file.sha256},
        "entitlementId": holder.entitlement,
        "client": classify(first.agent),
        "startedAt": format_time(download.first_at // MILLISECOND),
        "lastAt": format_time(download.last_at // MILLISECOND),
        "completedAt": None if completed is None else format_time(completed // MILLISECOND),
        "requests": download.times,
        "bytes": download.bytes,
        "covered": count(download.covered),
        "test": holder.test,
    }
    return announce_as(kind, happened, data, key=name, customer=holder.customer)


def download_name(series: str, number: int) -> str:
    """The id of a download: of its series and of itself in there."""
    return f"{series}-{number}"
