"""API keys of the mint service: shown once, held as `dg:key:{SHA-256}` hash: name, role, created (ms).

A key is 256 random bits, so a fast hash is enough: there is nothing to guess (see gateway.secrets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.products.validation import MAX_DISPLAY_NAME, is_text
from gateway.secrets import MAX_TOKEN_LENGTH, key_hash, new_key, redact
from gateway.store.client import Declined, StoreClient
from gateway.store.scripts import Script

ROLES: Final = ("admin", "mint")
"""admin: everything. mint: only making download URLs."""
KEY_ID_LENGTH: Final = 16
"""Hex digits of a key's hash by which people name it."""
SCAN_COUNT: Final = 1000
"""Keys of the store looked at in one step while listing API keys (there is no index of them: they are few,
listed rarely, and only by a person)."""

CREATE: Final = Script.load("create_key")


@dataclass(frozen=True)
class KeyRecord:
    """An API key as the store holds it. id: the first 16 hex digits of its hash. created: ms since 1970."""

    id: str
    hash: str
    name: str
    role: str
    created: int


@dataclass(frozen=True)
class MintedKey:
    """A fresh API key: `key` is told once and held nowhere."""

    key: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"MintedKey({self.record!r})"


def api_key_key(digest: str) -> str:
    """The store's key of an API key, by its hash."""
    return f"dg:key:{{{digest}}}"


class KeyStore(StoreClient):
    """What can be asked of and done to API keys. Every method may raise StoreUnavailable."""

    async def create_key(self, name: str, role: str = "admin") -> MintedKey:
        """A fresh key. Raises Declined: invalid."""
        faults = []
        if not (0 < len(name) <= MAX_DISPLAY_NAME and is_text(name)):
            faults.append(("name", f"must be 1 to {MAX_DISPLAY_NAME} characters without NUL"))
        if role not in ROLES:
            faults.append(("role", "must be admin or mint"))
        if faults:
            raise Declined.invalid(faults)
        key = new_key()
        digest = key_hash(key)
        created = await self.run(CREATE, [api_key_key(digest)], name, role)
        return MintedKey(key, KeyRecord(digest[:KEY_ID_LENGTH], digest, name, role, int(created)))

    async def list_keys(self) -> list[KeyRecord]:
        """Every key, oldest first. Walks the whole store."""
        hashes: set[str] = set()
        cursor = "0"
        while True:
            cursor, found = await self.call("SCAN", cursor, "MATCH", "dg:key:*", "COUNT", SCAN_COUNT)
            hashes.update(key[len("dg:key:{") : -1] for key in found)
            if int(cursor) == 0:
                break
        if not hashes:
            return []
        replies = await self.call_all(*(("HGETALL", api_key_key(digest)) for digest in hashes))
        records = [key_record(digest, fields) for digest, fields in zip(hashes, replies, strict=True)]
        return sorted(
            (record for record in records if record), key=lambda record: (record.created, record.hash)
        )

    async def revoke_key(self, which: str) -> KeyRecord:
        """Remove the key named by its id (or more digits of its hash), or by its name if only one has it.

        Raises Declined: key_unknown, key_ambiguous.
        """
        keys = await self.list_keys()
        found = [key for key in keys if len(which) >= KEY_ID_LENGTH and key.hash.startswith(which)]
        found = found or [key for key in keys if key.name == which]
        if not found:
            raise Declined("key_unknown", f"there is no API key {redact(which)}; `key list` shows them")
        if len(found) > 1:
            raise Declined(
                "key_ambiguous", f"{len(found)} API keys have that name; revoke by id (`key list`)"
            )
        await self.call("DEL", api_key_key(found[0].hash))
        return found[0]

    async def authenticate(self, key: str) -> KeyRecord | None:
        """The record of a key, or None when it is not known."""
        if len(key) > MAX_TOKEN_LENGTH:
            return None
        digest = key_hash(key)
        return key_record(digest, await self.call("HGETALL", api_key_key(digest)))


def key_record(digest: str, fields: dict[str, str]) -> KeyRecord | None:
    """The record that the store's hash holds, None when it is empty or of no role known here."""
    if fields.get("role") not in ROLES:
        return None
    return KeyRecord(
        digest[:KEY_ID_LENGTH], digest, fields.get("name", ""), fields["role"], int(fields.get("created", 0))
    )
