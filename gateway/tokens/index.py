"""The index of all tokens in the store: newest first, also those of one product or one customer.

The index is one sorted set, `dg:tokens`, whose members all have the score 0, so that their bytes order them:

    t CREATED ID PRODUCT CUSTOMER EXPIRES    every token. CREATED and EXPIRES: 6 bytes, ms since 1970,
                                             big-endian. ID: 16 bytes. PRODUCT and CUSTOMER: marks of 4 bytes
    p PRODUCT CREATED ID                     the same by product
    c CUSTOMER CREATED ID                    and by customer, where the token has an e-mail address
    s CREATED ID …                           how far the search for expired entries has come
    d ID                                     a key that holds no token, for a line beside the list
    z                                        the index is complete: what was there before it has been added

The rules:

- The index only says where to look: every token that is shown is read from its own key. A mark is 4 bytes of
  a SHA-256: enough to find a customer's tokens, too few to show whose they are. Two customers may have one
  mark, so the record decides.
- Its key is in a slot of its own, and so another command writes it than the one that writes the token. Both
  leave in one write, and nobody waits for the index. A write that fails removes `z`, so that the next use
  fills the index again; what a crash leaves out is found by the web process (`fill`, once an hour).
- A token's entry leaves after its expiry: each write looks at EXAMINED entries for each token that it adds,
  one after another, so that no command takes long. What a list finds to be gone is removed at once.
- An entry's expiry is never moved to an earlier time, so whatever order writes arrive in, no entry leaves
  before its token does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from gateway.errors import StoreUnavailable
from gateway.store.client import StoreClient
from gateway.store.key_names import TOKEN_INDEX_KEY, TOKEN_PATTERN, token_key
from gateway.store.scripts import Script

_log = logging.getLogger("gateway")

EXAMINED: Final = 4
"""Entries that are looked at for their expiry, for each one that is added. While as many tokens are made as
expire, a third more entries than tokens are there at most."""
EXAMINED_AT_ONCE: Final = 128
"""They are looked at when so many are due, which is cheaper: about 0.1 ms of the server's time."""
FILL_STEP: Final = 250
"""Keys of the store looked at in one step of `fill`: about 3 ms of work for this process."""
PAUSE_SECONDS: Final = 0.1
"""Between the steps of a fill that nobody waits for."""
SWEEP_STEP: Final = 500
"""Entries looked at for their expiry in one command of `sweep`: about 0.3 ms of the server's time."""
KEEP_SECONDS: Final = 5.0
"""How often `keep` looks whether the index is there, and sweeps."""
FILL_EVERY_SECONDS: Final = 3600.0
"""How often `keep` looks for tokens without an entry."""
YOUNG_SECONDS: Final = 60
"""So soon after its creation, a token that is not found may be about to be written."""
LAST_MOMENT: Final = 2**48 - 1
"""Later times (after the year 10889) are written as this one."""
DAMAGED_AT_MOST: Final = 50
"""Damaged keys that one list names."""
POSITION_BYTES: Final = 22
_TOKEN_ID: Final = re.compile("[0-9a-f]{32}")

_PUT: Final = Script.load("index_tokens")
_FORGET: Final = Script.load("forget_tokens")
_COMPLETE: Final = "z"
_NO_CUSTOMER: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of the index. position: CREATED and ID, which say where a list goes on."""

    member: bytes
    position: bytes

    @classmethod
    def read(cls, text: str) -> Entry:
        """Read a member t…, p… or c… as the store's client returns it."""
        member = text.encode("utf-8", "surrogateescape")
        start = 1 if member[:1] == b"t" else 5
        return cls(member, member[start : start + POSITION_BYTES])

    @property
    def created(self) -> int:
        """When the token was made, ms since 1970."""
        return int.from_bytes(self.position[:6], "big")

    @property
    def identifier(self) -> str:
        """The token's id."""
        return self.position[6:].hex()


def is_token_id(text: str) -> bool:
    """Whether the text has the form of a token's id: 32 lower-case hex digits."""
    return _TOKEN_ID.fullmatch(text) is not None


@lru_cache(1024)
def product_mark(product: str) -> bytes:
    """The 4 bytes by which a product's tokens are found."""
    return _mark("product", product)


def customer_mark(email: str | None) -> bytes:
    """The 4 bytes by which a customer's tokens are found: zeros for no address. Case is ignored."""
    if not email:
        return _NO_CUSTOMER
    mark = _mark("customer", email.casefold())
    return mark if mark != _NO_CUSTOMER else b"\0\0\0\1"


def _mark(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogateescape")).digest()[:4]


def pack_entry(identifier: str, created: int, expires: int, product: str, email: str | None) -> bytes:
    """What index_tokens.lua reads of a token; times in ms since 1970."""
    return b"".join((
        created.to_bytes(6, "big"),
        bytes.fromhex(identifier),
        product_mark(product),
        customer_mark(email),
        min(expires, LAST_MOMENT).to_bytes(6, "big"),
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What `find` returns. damaged: ids of keys that held no token when the index was filled."""

    entries: list[Entry]
    is_complete: bool
    damaged: list[str]


class TokenIndex:
    """The index of a store's tokens. Methods that wait may raise StoreUnavailable."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._entries: list[bytes] = []
        self._are_new = True
        self._unexamined = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling: asyncio.Task[None] | None = None
        self._was_missed = False

    def put(self, entry: bytes, *, is_new: bool = True) -> None:
        """Add an entry (of `pack_entry`) soon, together with the others of this turn of the event loop.

        is_new: the token has no entry, or this one.

        Called before the command that writes the token is sent, it leaves in the same write as that one.
        Nobody learns of a failure: it is logged, and mended later.
        """
        if not self._entries:
            self._start(self._write())
        self._entries.append(entry)
        self._are_new = self._are_new and is_new

    def correct(self, wrong: bytes, entry: bytes) -> None:
        """Replace an entry whose times have turned out to be others."""

        async def replace() -> None:
            await self._forget([b"t" + wrong])
            self.put(entry)

        self._start(replace())

    async def unname(self, identifier: str, created: int, expires: int, product: str, email: str) -> None:
        """Take the customer's mark from a token's entry: nobody finds it by that address any more."""
        await self._forget([b"t" + pack_entry(identifier, created, expires, product, email)])
        self.put(pack_entry(identifier, created, expires, product, None))
        await self.drain()

    async def drain(self) -> None:
        """Wait until what was put is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Wait until what was put is written, and end a fill."""
        await self.drain()
        if self._filling is not None:
            self._filling.cancel()

    async def find(self, prefix: bytes, before: bytes | None, count: int) -> Found:
        """Find entries whose member begins with `prefix`, the newest first.

        prefix: b"t", or b"p" or b"c" and a mark. before: the position where a page ended; None: the newest.
        Damaged keys come with the newest only.
        """
        below = b"(" + prefix + (before if before is not None else b"\xff" * (POSITION_BYTES + 1))
        page = ("ZRANGE", TOKEN_INDEX_KEY, below, b"[" + prefix, "BYLEX", "REV", "LIMIT", 0, count)
        mark = ("ZRANGE", TOKEN_INDEX_KEY, f"[{_COMPLETE}", f"[{_COMPLETE}", "BYLEX")
        bad = ("ZRANGE", TOKEN_INDEX_KEY, "[d", "(e", "BYLEX", "LIMIT", 0, DAMAGED_AT_MOST)
        members, complete, *damaged = await self._client.call_all(page, mark, *([] if before else [bad]))
        identifiers = [text[1:] for texts in damaged for text in texts]
        return Found([Entry.read(member) for member in members], bool(complete), identifiers)

    async def note_damaged(self, identifiers: Sequence[str]) -> None:
        """Note keys that hold no token."""
        if identifiers:
            pairs = [part for identifier in identifiers for part in (0, f"d{identifier}")]
            await self._client.call("ZADD", TOKEN_INDEX_KEY, *pairs)

    async def forget_damaged(self, identifiers: Sequence[str]) -> None:
        """Forget keys that were damaged and are so no more."""
        if identifiers:
            members = [f"d{identifier}" for identifier in identifiers]
            await self._client.call("ZREM", TOKEN_INDEX_KEY, *members)

    async def forget(self, entries: Sequence[Entry]) -> None:
        """Remove the entries of tokens that are not in the store, but for young ones.

        A fault of the store does not matter here: the next list finds them again.
        """
        if not entries:
            return
        try:
            seconds, _ = await self._client.call("TIME")
            limit = 1000 * (int(seconds) - YOUNG_SECONDS)
            members = [entry.member for entry in entries if entry.created < limit]
            if members:
                await self._forget(members)
        except StoreUnavailable:
            pass

    async def fill(self, pause: float = 0.0) -> None:
        """Add every token of the store that has no entry. It walks through all keys, in bounded steps.

        pause: seconds between two steps.
        """
        cursor = 0
        while True:
            cursor, keys = await self._client.scan(cursor, TOKEN_PATTERN, FILL_STEP)
            await self._add(keys)
            if cursor == 0:
                break
            await asyncio.sleep(pause)
        await self._client.call("ZADD", TOKEN_INDEX_KEY, 0, _COMPLETE)

    async def fill_once(self) -> None:
        """Fill the index, or wait for a fill that is under way in this process."""
        if self._filling is None or self._filling.done():
            self._filling = asyncio.get_running_loop().create_task(self.fill())
        await asyncio.shield(self._filling)

    async def is_complete(self) -> bool:
        """Whether the index has been filled since it was begun."""
        return (await self.find(b"t", None, 1)).is_complete

    async def keep(self) -> NoReturn:
        """Keep the index complete and free of expired tokens. One process of an installation is enough."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                if not await self.is_complete():
                    await self.fill_once()
                    due = loop.time() + FILL_EVERY_SECONDS
                elif loop.time() >= due:
                    await self.fill(PAUSE_SECONDS)
                    due = loop.time() + FILL_EVERY_SECONDS
                await self.sweep()
            except StoreUnavailable:
                pass  # the services say why the store cannot be used
            await asyncio.sleep(KEEP_SECONDS)

    async def sweep(self) -> int:
        """Look at SWEEP_STEP entries for their expiry. Returns how many were removed."""
        removed: int = await self._client.run(_PUT, [TOKEN_INDEX_KEY], SWEEP_STEP, 0)
        return removed

    async def _add(self, keys: Sequence[str]) -> None:
        start = len(token_key("")) - 1
        identifiers = [key[start:-1] for key in keys if is_token_id(key[start:-1])]
        fields = ("created", "expires", "product", "email")
        commands = [("HMGET", token_key(identifier), *fields) for identifier in identifiers]
        if not commands:
            return
        replies = await self._client.call_each(*commands)
        entries = [_read_token(*each) for each in zip(identifiers, replies, strict=True)]
        found = [entry for entry in entries if entry is not None]
        await self._client.run(_PUT, [TOKEN_INDEX_KEY], 0, 1, *found)
        others = [one for one, entry in zip(identifiers, entries, strict=True) if entry is None]
        if others:  # they have gone meanwhile, or hold something else
            exist = await self._client.call_all(*(("EXISTS", token_key(identifier)) for identifier in others))
            await self.note_damaged([one for one, is_there in zip(others, exist, strict=True) if is_there])

    async def _forget(self, members: Sequence[bytes]) -> None:
        await self._client.run(_FORGET, [TOKEN_INDEX_KEY], *members)

    async def _write(self) -> None:
        entries, self._entries = self._entries, []
        may_exist, self._are_new = int(not self._are_new), True
        self._unexamined += EXAMINED * len(entries)
        count = self._unexamined if self._unexamined >= EXAMINED_AT_ONCE else 0
        self._unexamined -= count
        await self._client.run(_PUT, [TOKEN_INDEX_KEY], count, may_exist, *entries)
        if self._was_missed:
            self._was_missed = False
            await self._client.call("ZREM", TOKEN_INDEX_KEY, _COMPLETE)

    def _start(self, writing: Any) -> None:
        task = asyncio.get_running_loop().create_task(writing)
        self._tasks.add(task)
        task.add_done_callback(self._on_written)

    def _on_written(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not self._was_missed:
            _log.warning("a token is not in the list of tokens yet: %s", error)
        self._was_missed = True


def _read_token(identifier: str, values: Any) -> bytes | None:
    """The entry of a token by its hash's fields; None where the key holds no token."""
    try:
        created, expires, product, email = values
        return pack_entry(identifier, int(created), int(expires), product, email)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
