"""Reading tokens: one by its id, and pages of all of them.

There is no index: a token costs 400 bytes, and one would double it. A page walks on
through the store's keys with SCAN. Rules:

- The work of a page is bounded: it looks at about MAX_LOOKED keys, so with a rare filter a page can be
  short, even empty, and still have a next cursor; only a missing cursor means the end.
- SCAN gives whole buckets of the store's table, so it may find more than a page has room for. The ids
  left over travel in the cursor and open the next page: nothing that is present throughout is skipped.
- Nothing is repeated either, with one exception, SCAN's own: if the store shrinks its table between two
  pages (most of its keys went), a token may come twice.
- A cursor is opaque, holds no secret, works with any filter and limit, and never goes stale.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.manifest import Manifest
from gateway.products.repository import manifest_key
from gateway.store.client import StoreClient, WrongKind
from gateway.store.key_names import token_key
from gateway.tokens.records import TokenRecord, token_record

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MIN_STEP: Final = 64
"""Keys looked at in one SCAN, at least: what is left over then still fits in a URL (32 characters each)."""
MAX_LOOKED: Final = 3200
"""Keys looked at for one page: some 20 ms of the store's and this process' time."""
MAX_LEFT: Final = 200
"""Ids a cursor may carry; a real one carries some dozens, and a URL of 8 KiB has room for 250."""
CURSOR_PATTERN: Final = rf"^[0-9a-f]{{16}}(?:[0-9a-f]{{32}}){{0,{MAX_LEFT}}}$"
SIZES_KEPT: Final = 100_000
"""Sizes of files kept in memory, of all manifests together (about 4 MB)."""
_TOKEN_ID: Final = re.compile("[0-9a-f]{32}")
_CURSOR: Final = re.compile(CURSOR_PATTERN[1:-1])


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens are wanted; None means any. `email` is compared without regard to case."""

    product: str | None = None
    status: str | None = None
    email: str | None = None

    def wants(self, record: TokenRecord) -> bool:
        """Whether the record passes."""
        return (
            (self.product is None or record.product == self.product)
            and (self.status is None or record.status == self.status)
            and (self.email is None or (record.email or "").casefold() == self.email.casefold())
        )


@dataclass(frozen=True)
class TokenPage:
    """Some of the tokens, in no order. `cursor` asks for the next page; None: that was the last.

    damaged: ids whose keys were met on the way and hold no token, whatever was wanted.
    """

    tokens: tuple[TokenRecord, ...]
    cursor: str | None
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Position:
    """Where a walk stands: SCAN's cursor (0: at the end) and the ids found and not yet given."""

    scan: int
    left: tuple[str, ...] = ()

    def encode(self) -> str:
        """The opaque text of it, safe in a URL."""
        return f"{self.scan:016x}{''.join(self.left)}"

    @classmethod
    def decode(cls, text: str) -> Position:
        """Read a cursor back. Raises ValueError when it is none of ours."""
        if not _CURSOR.fullmatch(text):
            raise ValueError("not a cursor of this list")
        return cls(int(text[:16], 16), tuple(text[start : start + 32] for start in range(16, len(text), 32)))


def is_token_id(text: str) -> bool:
    """Whether it can be the id of a token: 32 lower-case hex digits."""
    return _TOKEN_ID.fullmatch(text) is not None


def describe_damage(identifier: str) -> str:
    """One line about a key that holds no token, and how to mend it."""
    key = token_key(identifier)
    return f"token {identifier} is damaged: its key in the store holds no token; DEL {key} removes it"


class TokenReader(StoreClient):
    """What can be asked of tokens. Every method may raise StoreUnavailable."""

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(url, timeout)
        self._sizes: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    async def get_token(self, identifier: str) -> TokenRecord | None:
        """The record of a token id, or None when there is none (unknown or expired)."""
        if not is_token_id(identifier):
            return None
        damaged: list[str] = []
        records = await self._read([identifier], damaged)
        if damaged:
            raise StoreUnavailable(describe_damage(identifier))
        return records[0] if records else None

    async def list_tokens(
        self, wanted: TokenFilter | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> TokenPage:
        """One page of the tokens there are; see gateway.tokens.listing for what a page promises.

        Raises ValueError when the cursor is none of ours.
        """
        wanted = wanted or TokenFilter()
        limit = max(1, min(limit, MAX_LIMIT))
        position = Position.decode(cursor) if cursor is not None else None
        waiting = list(position.left) if position else []
        scan = position.scan if position else 0
        ended = position is not None and scan == 0
        found: list[TokenRecord] = []
        damaged: list[str] = []
        looked = 0
        while True:
            take, waiting = waiting[:MAX_LIMIT], waiting[MAX_LIMIT:]
            records = [record for record in await self._read(take, damaged) if wanted.wants(record)]
            room = limit - len(found)
            found += records[:room]
            waiting = [record.id for record in records[room:]] + waiting
            if waiting and len(found) < limit:
                continue
            if len(found) >= limit or ended or looked >= MAX_LOOKED:
                break
            step = max(limit - len(found), MIN_STEP)
            scan, waiting = await self._scan(scan, step)
            looked += step
            ended = scan == 0
        if len(waiting) > MAX_LEFT:  # a page over its limit is better than a token nobody sees
            found += [
                record for record in await self._read(waiting[MAX_LEFT:], damaged) if wanted.wants(record)
            ]
            waiting = waiting[:MAX_LEFT]
        last = ended and not waiting
        cursor = None if last else Position(scan, tuple(waiting)).encode()
        return TokenPage(tuple(found), cursor, tuple(damaged))

    async def _scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        scan, keys = await self.call("SCAN", str(cursor), "MATCH", token_key("*"), "COUNT", count)
        start = len(token_key("")) - 1
        identifiers = dict.fromkeys(key[start:-1] for key in keys)
        return int(scan), [identifier for identifier in identifiers if is_token_id(identifier)]

    async def _read(self, identifiers: Sequence[str], damaged: list[str]) -> list[TokenRecord]:
        """Those that there are; the ids of keys that hold no token are added to `damaged`."""
        if not identifiers:
            return []
        records: list[TokenRecord] = []
        replies = await self.call_each(*(("HGETALL", token_key(id_)) for id_ in identifiers))
        for identifier, fields in zip(identifiers, replies, strict=True):
            try:
                if isinstance(fields, WrongKind):
                    damaged.append(identifier)
                elif fields:
                    records.append(await self._record(identifier, fields))
            except (KeyError, ValueError):  # a hash of something else
                damaged.append(identifier)
        return records

    async def _record(self, identifier: str, fields: dict[str, str]) -> TokenRecord:
        sizes: tuple[int, ...] = ()
        if "max" in fields and "revoked" not in fields:
            sizes = (int(fields["size"]),) if "size" in fields else await self._sizes_of(fields["manifest"])
        return token_record(identifier, fields, sizes)

    async def _sizes_of(self, digest: str) -> tuple[int, ...]:
        """The sizes of a manifest's files, kept in a bounded memory: manifests never change."""
        sizes = self._sizes.get(digest)
        if sizes is not None:
            self._sizes.move_to_end(digest)
            return sizes
        text = await self.call("GET", manifest_key(digest))
        if text is None:
            raise StoreUnavailable(f"the store has lost manifest {digest[:12]}…; register the version again")
        sizes = tuple(file.size for file in Manifest.parse(text.encode("utf-8", "surrogateescape")).files)
        self._sizes[digest] = sizes
        while len(self._sizes) > 1 and sum(map(len, self._sizes.values())) > SIZES_KEPT:
            self._sizes.popitem(last=False)
        return sizes
