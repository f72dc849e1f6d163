"""A token as the store holds it (never the token itself), and how a record is read from its hash."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.manifest import Manifest
from gateway.store.client import StoreClient
from gateway.store.key_names import manifest_key
from gateway.tokens.caps import NO_CAPS, Caps, read_caps

_log = logging.getLogger("gateway")

STATUSES: Final = ("active", "revoked", "exhausted")
"""There is no status "expired": the store deletes an expired token."""

SIZES_KEPT: Final = 100_000
"""Sizes of files that are kept in memory, of all manifests together (about 4 MB)."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The content of the key `dg:token:{ID}`. Times are ms since 1970 UTC by the store's clock.

    key: the id of the API key that made it, None for a token made by a command.
    charged: the bytes charged to each file, by the file's number in the manifest (only tokens with
    `max_downloads` are charged). caps: its other limits. status: active, revoked or exhausted (every file's
    allowance is used up).
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
    key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    revoked: int | None = None
    charged: Mapping[int, int] = field(default_factory=dict)
    caps: Caps = NO_CAPS


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token. `token` is returned this once and stored nowhere."""

    token: str
    record: TokenRecord

    def __repr__(self) -> str:
        return f"MintedToken({self.record!r})"


def token_record(identifier: str, fields: Mapping[str, str], sizes: tuple[int, ...] = ()) -> TokenRecord:
    """Read the hash of a token. Raises KeyError or ValueError when it is not the hash of a token.

    sizes: the sizes of the files of its manifest, by which a token with a limit is exhausted or not.
    """
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
        key=fields.get("key"),
        metadata=json.loads(fields["metadata"]) if "metadata" in fields else {},
        revoked=revoked,
        charged=charged,
        caps=read_caps(fields.get("caps", "").encode()) or NO_CAPS,
    )


def _is_exhausted(limit: int, sizes: tuple[int, ...], charged: Mapping[int, int]) -> bool:
    # An empty file costs nothing, so its allowance is never used up: a version of only empty files is never
    # exhausted.
    paid = [(index, size) for index, size in enumerate(sizes) if size]
    return bool(paid) and all(charged.get(index, 0) >= limit * size for index, size in paid)


class ManifestLost(StoreUnavailable):
    """The store has not the manifest of a version that it has."""


class RecordReader:
    """Reads records, and the manifests' file sizes that a record's status depends on."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._sizes: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    async def record(self, identifier: str, fields: Mapping[str, str]) -> TokenRecord:
        """The record that a token's hash gives. Raises as `token_record` does, and StoreUnavailable.

        Where the store has lost the manifest, nobody can tell whether the allowance is used up: it is active.
        """
        sizes: tuple[int, ...] = ()
        if "max" in fields and "revoked" not in fields:
            try:
                sizes = (
                    (int(fields["size"]),) if "size" in fields else await self.file_sizes(fields["manifest"])
                )
            except ManifestLost as error:
                _log.warning("token %s: %s", identifier, error)
        return token_record(identifier, fields, sizes)

    async def file_sizes(self, digest: str) -> tuple[int, ...]:
        """The sizes of a manifest's files in bytes, kept in a bounded memory, since manifests never change.

        Raises StoreUnavailable, and ManifestLost when the store has no such manifest.
        """
        sizes = self._sizes.get(digest)
        if sizes is not None:
            self._sizes.move_to_end(digest)
            return sizes
        text = await self._client.call("GET", manifest_key(digest))
        if text is None:
            raise ManifestLost(f"the store has lost manifest {digest[:12]}…; register the version again")
        sizes = tuple(file.size for file in Manifest.parse(text.encode("utf-8", "surrogateescape")).files)
        self._sizes[digest] = sizes
        while len(self._sizes) > 1 and sum(map(len, self._sizes.values())) > SIZES_KEPT:
            self._sizes.popitem(last=False)
        return sizes
