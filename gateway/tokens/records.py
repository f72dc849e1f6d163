"""A token as the store holds it (never the token itself), and what can be said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STATUSES: Final = ("active", "revoked", "exhausted")
"""Expired is no status: the store forgets an expired token."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What `dg:token:{ID}` holds. Times are ms since 1970 UTC by the store's clock.

    charged: number of the file in the manifest to bytes it has been charged (only tokens with
    `max_downloads` are charged). status: active, revoked or exhausted (every file's allowance used up).
    """

    id: str
    product: str
    version: str
    manifest: str
    created: int
    expires: int
    status: str
    max_downloads: int | None = None
    email: str | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    revoked: int | None = None
    charged: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh token: `token` is told once and held nowhere."""

    token: str
    record: TokenRecord

    def __repr__(self) -> str:
        return f"Minted({self.record!r})"


def token_record(identifier: str, fields: Mapping[str, str], sizes: tuple[int, ...] = ()) -> TokenRecord:
    """Read the hash of a token; `sizes` are its manifest's: a limited token is exhausted or not by them."""
    limit = int(fields["max"]) if "max" in fields else None
    revoked = int(fields["revoked"]) if "revoked" in fields else None
    charged = {int(name[8:]): int(count) for name, count in fields.items() if name.startswith("charged:")}
    status = "active"
    if revoked is not None:
        status = "revoked"
    elif limit is not None and _is_exhausted(limit, sizes, charged):
        status = "exhausted"
    return TokenRecord(
        id=identifier,
        product=fields["product"],
        version=fields["version"],
        manifest=fields["manifest"],
        created=int(fields["created"]),
        expires=int(fields["expires"]),
        status=status,
        max_downloads=limit,
        email=fields.get("email"),
        name=fields.get("name"),
        metadata=json.loads(fields["metadata"]) if "metadata" in fields else {},
        revoked=revoked,
        charged=charged,
    )


def _is_exhausted(limit: int, sizes: tuple[int, ...], charged: Mapping[int, int]) -> bool:
    # empty files cost nothing and are never used up: a version of only such is never exhausted
    paid = [(index, size) for index, size in enumerate(sizes) if size]
    return bool(paid) and all(charged.get(index, 0) >= limit * size for index, size in paid)
