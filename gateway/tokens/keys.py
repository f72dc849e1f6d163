"""API keys. A key is shown once, when it is made; the store holds its SHA-256 (see gateway.store.key_names).

A key is 256 random bits, so a fast hash is enough: nobody can guess it (see gateway.secrets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import Declined
from gateway.products.validation import display_name_faults
from gateway.secrets import KEY_ID_LENGTH, MAX_TOKEN_LENGTH, key_hash, new_key, redact
from gateway.store.client import StoreClient
from gateway.store.key_names import API_KEY_PATTERN, api_key_key, old_key_key
from gateway.store.scripts import Script

ROLES: Final = ("admin", "mint")
"""admin: may do everything. mint: may only make download URLs."""
MAX_LIFETIME: Final = 10 * 366 * 86_400
"""Seconds. A longer one is most likely a mistake in the unit."""
KEEP_SECONDS: Final = 90 * 86_400
"""How long a refusal says that a key has expired, and not that it is unknown."""
SCAN_COUNT: Final = 1000
"""Keys of the store looked at in one step of listing API keys. There is no index of API keys: they are few,
and only people list them, rarely."""

CREATE: Final = Script.load("create_key")


@dataclass(frozen=True)
class KeyRecord:
    """An API key in the store. id: the first 16 hex digits of its hash. Times are ms since 1970 UTC.

    expires: None for a key that never does.
    """

    id: str
    hash: str
    name: str
    role: str
    created: int
    expires: int | None = None


@dataclass(frozen=True)
class MintedKey:
    """A new API key. `key` is returned this once and stored nowhere."""

    key: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"MintedKey({self.record!r})"


class KeyRepository:
    """The API keys of a store. Every method may raise StoreUnavailable."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def create(self, name: str, role: str = "admin", expires_in: int | None = None) -> MintedKey:
        """Create a key. expires_in: seconds from now by the store's clock. Raises Declined: invalid."""
        check_key(name, role, expires_in)
        key = new_key()
        digest = key_hash(key)
        lifetime = "" if expires_in is None else 1000 * expires_in
        keys = [api_key_key(digest), old_key_key(digest)]
        created, *expires = await self._client.run(CREATE, keys, name, role, lifetime, 1000 * KEEP_SECONDS)
        moment = int(expires[0]) if expires else None
        return MintedKey(key, KeyRecord(digest[:KEY_ID_LENGTH], digest, name, role, int(created), moment))

    async def list_all(self) -> list[KeyRecord]:
        """Every key, the oldest first. This walks through all keys of the store."""
        hashes: set[str] = set()
        prefix = len(api_key_key("")) - 1
        cursor = 0
        while True:
            cursor, found = await self._client.scan(cursor, API_KEY_PATTERN, SCAN_COUNT)
            hashes.update(key[prefix:-1] for key in found)
            if cursor == 0:
                break
        if not hashes:
            return []
        replies = await self._client.call_all(*(("HGETALL", api_key_key(digest)) for digest in hashes))
        records = [key_record(digest, fields) for digest, fields in zip(hashes, replies, strict=True)]
        return sorted(
            (record for record in records if record), key=lambda record: (record.created, record.hash)
        )

    async def revoke(self, which: str) -> KeyRecord:
        """Remove a key, named by its id (or more digits of its hash), or by its name if only one key has it.

        Raises Declined: key_unknown, key_ambiguous.
        """
        key = await self.find(which)
        await self._client.call_all(("DEL", api_key_key(key.hash)), ("DEL", old_key_key(key.hash)))
        return key

    async def find(self, which: str) -> KeyRecord:
        """The key that is named as for `revoke`. Raises Declined: key_unknown, key_ambiguous."""
        return find_key(which, await self.list_all())

    async def expired_at(self, key: str) -> int | None:
        """When a key that is unknown now has expired (ms since 1970 UTC); None if it has not."""
        if len(key) > MAX_TOKEN_LENGTH:
            return None
        moment = await self._client.call("GET", old_key_key(key_hash(key)))
        return None if moment is None else int(moment)

    async def authenticate(self, key: str) -> KeyRecord | None:
        """The record of a key, or None when the key is unknown."""
        if len(key) > MAX_TOKEN_LENGTH:
            return None
        digest = key_hash(key)
        return key_record(digest, await self._client.call("HGETALL", api_key_key(digest)))


def find_key(which: str, *lists: Sequence[KeyRecord]) -> KeyRecord:
    """The key that is named as for `KeyRepository.revoke`, of the first list that has one.

    Raises Declined: key_unknown, key_ambiguous.
    """
    for keys in lists:
        found = [key for key in keys if len(which) >= KEY_ID_LENGTH and key.hash.startswith(which)]
        found = found or [key for key in keys if key.name == which]
        if len(found) > 1:
            text = f"{len(found)} API keys have that name; name one by id (`key list`)"
            raise Declined("key_ambiguous", text)
        if found:
            return found[0]
    raise Declined("key_unknown", f"there is no API key {redact(which)}; `key list` shows them")


def check_key(name: str, role: str, expires_in: int | None) -> None:
    """Raises Declined (invalid) with everything that is wrong with a key to be made; seconds."""
    faults = display_name_faults("name", name)
    if role not in ROLES:
        faults.append(("role", "must be admin or mint"))
    if expires_in is not None and not 1 <= expires_in <= MAX_LIFETIME:
        faults.append(("expires", "must be at least 1 second and at most ten years"))
    if faults:
        raise Declined.invalid(faults)


def key_record(digest: str, fields: dict[str, str]) -> KeyRecord | None:
    """The record that a key's hash in the store gives; None when it is empty or its role is unknown here."""
    if fields.get("role") not in ROLES:
        return None
    return KeyRecord(
        digest[:KEY_ID_LENGTH],
        digest,
        fields.get("name", ""),
        fields["role"],
        int(fields.get("created", 0)),
        int(fields["expires"]) if "expires" in fields else None,
    )
