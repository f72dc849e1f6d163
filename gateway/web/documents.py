"""Products and tokens as JSON documents: what the API answers, and what the commands print with --json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gateway.web.times import format_time

if TYPE_CHECKING:  # the commands' --help must not wait until redis-py is imported
    from gateway.catalogue.rules import ProductRecord
    from gateway.tokens.records import TokenRecord
    from gateway.usage.queries import FileUsage, Sum


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
