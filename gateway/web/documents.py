"""Products and tokens as JSON documents: what the API answers, and what the commands print with --json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gateway.web.times import format_time

if TYPE_CHECKING:  # the commands' --help must not wait until redis-py is imported
    from gateway.catalogue.rules import ProductRecord
    from gateway.tokens.records import TokenRecord
    from gateway.usage.queries import FileUsage, Sum
    from gateway.usage.sharing_report import SharedLink

MOST_NAMED = 20
"""Networks of a shared link that are named."""


def product_document(product: ProductRecord) -> dict[str, Any]:
    """Describe a product with its versions, as the model `ProductDocument` of the admin API says."""
    return {
        "productId": product.id,
        "name": product.name,
        "status": product.status,
        "activeVersion": product.active,
        "createdAt": format_time(product.created),
        "versions": [
            {
                "version": each.version,
                "manifest": each.manifest,
                "notes": each.notes,
                "publishedAt": format_time(each.published),
            }
            for _, each in sorted(product.versions.items())
        ],
    }


def token_document(token: TokenRecord) -> dict[str, Any]:
    """Describe a token, as the model `TokenDocument` of the admin API says. The token itself is not in it."""
    return {
        "tokenId": token.id,
        "productId": token.product,
        "version": token.version,
        "status": token.status,
        "createdAt": format_time(token.created),
        "expiresAt": format_time(token.expires),
        "revokedAt": None if token.revoked is None else format_time(token.revoked),
        "maxDownloads": token.max_downloads,
        "maxConnections": token.caps.connections or None,
        "maxRate": token.caps.rate or None,
        "maxConnectionRate": token.caps.connection_rate or None,
        "bindTo": token.caps.binding or None,
        "keyId": token.key,
        "bytesCharged": sum(token.charged.values()),
        "customer": {"email": token.email, "name": token.name},
        "metadata": dict(token.metadata),
    }


def usage_document(files: Iterable[FileUsage]) -> dict[str, Any]:
    """Describe what a token received, as the model `UsageDocument` of the admin API says."""
    listed = list(files)
    return {
        "bytes": sum(each.bytes for each in listed),
        "files": [
            {
                "name": each.name,
                "bytes": each.bytes,
                "started": each.started,
                "completed": each.completed,
                "attempts": each.attempts,
                "firstAt": format_time(each.first_at),
                "lastAt": format_time(each.last_at),
            }
            for each in listed
        ],
    }


def sum_document(each: Sum) -> dict[str, Any]:
    """Describe the sums of a period, as the model `SumDocument` says."""
    groups = {"productId": each.product, "version": each.version, "client": each.client}
    return {
        "from": format_time(each.start),
        **{name: value for name, value in groups.items() if value is not None},
        "started": each.started,
        "completed": each.completed,
        "bytes": each.bytes,
        "customers": each.customers,
    }


def never_downloaded_document(row: Any) -> dict[str, Any]:
    """Describe what was paid for and not downloaded, as the model `NeverDownloadedDocument` says."""
    started = getattr(row, "started", None)
    return {
        "entitlementId": row.id,
        "productId": row.product_id,
        "quantity": row.quantity,
        "customer": {"id": row.customer_id, "email": row.email, "name": row.name},
        "source": row.source,
        "orderId": row.external_id,
        "number": row.number,
        "placedAt": format_time(row.placed),
        "startedAt": None if started is None else format_time(started),
    }


def shared_link_document(link: SharedLink) -> dict[str, Any]:
    """Describe a link that looks shared, as the model `SharedLinkDocument` says."""
    token = link.token
    return {
        "tokenId": token.id,
        "productId": token.product,
        "version": token.version,
        "entitlementId": token.entitlement_id,
        "customer": {"email": token.email, "name": token.name},
        "createdAt": format_time(token.created),
        "expiresAt": format_time(token.expires),
        "bytes": link.bytes,
        "requests": link.requests,
        "reasons": [
            {"reason": each.name, "value": each.value, "limit": each.limit} for each in link.found.reasons
        ],
        "networks": list(link.found.networks[:MOST_NAMED]),
        "programs": list(link.found.programs),
    }
