"""Products and tokens as JSON has them: what the API answers and what commands print with --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.mint.times import format_time

if TYPE_CHECKING:  # the commands' --help does without the store's client
    from gateway.products.repository import Product
    from gateway.tokens.records import TokenRecord


def product_data(product: Product) -> dict[str, Any]:
    """A product (answers.ProductData)."""
    return {
        "productId": product.id,
        "name": product.name,
        "status": product.status,
        "activeVersion": product.active,
        "createdAt": format_time(product.created),
        "versions": [
            {"version": version, "manifest": digest} for version, digest in sorted(product.versions.items())
        ],
    }


def token_data(token: TokenRecord) -> dict[str, Any]:
    """A token, never the secret itself (answers.TokenData)."""
    return {
        "tokenId": token.id,
        "productId": token.product,
        "version": token.version,
        "status": token.status,
        "createdAt": format_time(token.created),
        "expiresAt": format_time(token.expires),
        "revokedAt": None if token.revoked is None else format_time(token.revoked),
        "maxDownloads": token.max_downloads,
        "bytesCharged": sum(token.charged.values()),
        "customer": {"email": token.email, "name": token.name},
        "metadata": dict(token.metadata),
    }
