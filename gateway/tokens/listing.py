"""Pages of all tokens, with filters.

There is no index, which would double the 400 bytes that a token costs. A page continues through the store's
keys with SCAN. The rules:

- The work of a page is bounded: it looks at about MAX_SCANNED keys. So with a filter that few tokens pass, a
  page can be short or even empty and still have a next cursor; only a missing cursor means the end.
- SCAN returns whole buckets of the server's table, so it may find more tokens than a page has room for. Their
  ids travel in the cursor and begin the next page: a token that exists throughout is never left out.
- No token is repeated, with one exception, which is SCAN's own: when the server shrinks its table between two
  pages, because most of its keys have gone, a token may come twice.
- A cursor is opaque, contains no secret, works with any filter and limit, and never expires.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.store.client import StoreClient
from gateway.store.client_server import WrongKind
from gateway.store.key_names import TOKEN_PATTERN, token_key
from gateway.tokens.records import RecordReader, TokenRecord

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MIN_STEP: Final = 64
"""The fewest keys to look at in one SCAN: the ids for the next page still fit in a URL, 32 letters each."""
MAX_SCANNED: Final = 3200
"""Keys looked at for one page: about 20 ms of work for the server and this process."""
MAX_CARRIED: Final = 200
"""Ids that a cursor may carry. A real one carries some dozens, and a URL of 8 KiB has room for 250."""
CURSOR_PATTERN: Final = rf"^[0-9a-f]{{16}}(?:[0-9a-f]{{32}}){{0,{MAX_CARRIED}}}$"
_TOKEN_ID: Final = re.compile("[0-9a-f]{32}")
_CURSOR: Final = re.compile(CURSOR_PATTERN[1:-1])


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens a list has; None means any. Case is ignored in `email`. key: an API key's id."""

    product: str | None = None
    status: str | None = None
    email: str | None = None
    key: str | None = None

    def accepts(self, record: TokenRecord) -> bool:
        """Whether the record passes."""
        return (
            (self.product is None or record.product == self.product)
            and (self.status is None or record.status == self.status)
            and (self.key is None or record.key == self.key)
            and (self.email is None or (record.email or "").casefold() == self.email.casefold())
        )


@dataclass(frozen=True)
class TokenPage:
    """Some of the tokens, in no order. `cursor` gives the next page; None: this is the last page.

    damaged: ids of keys that were found on the way and hold no token, whatever the filter.
    """

    tokens: tuple[TokenRecord, ...]
    cursor: str | None
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Position:
    """How far a listing has come: SCAN's cursor (0: at the end), and ids found but not yet returned."""

    scan: int
    carried: tuple[str, ...] = ()

    def encode(self) -> str:
        """The position as a cursor: opaque text that is safe in a URL."""
        return f"{self.scan:016x}{''.join(self.carried)}"

    @classmethod
    def decode(cls, text: str) -> Position:
        """Read a cursor. Raises ValueError when it is not a cursor of this list."""
        if not _CURSOR.fullmatch(text):
            raise ValueError("not a cursor of this list")
        return cls(int(text[:16], 16), tuple(text[start : start + 32] for start in range(16, len(text), 32)))


def is_token_id(text: str) -> bool:
    """Whether the text has the form of a token's id: 32 lower-case hex digits."""
    return _TOKEN_ID.fullmatch(text) is not None


def describe_damage(identifier: str) -> str:
    """One line about a key that holds no token, and what to do about it."""
    key = token_key(identifier)
    return f"token {identifier} is damaged: its key in the store holds no token; DEL {key} removes it"


class TokenListing:
    """Reads tokens by their ids and in pages. Every method may raise StoreUnavailable."""

    def __init__(self, client: StoreClient, reader: RecordReader) -> None:
        self._client = client
        self._reader = reader

    async def page(
        self, only: TokenFilter | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> TokenPage:
        """One page of the tokens that pass the filter; the rules above say what a page promises.

        limit: tokens on a page, at most MAX_LIMIT. Raises ValueError when the cursor is not one of this list.
        """
        only = only or TokenFilter()
        limit = max(1, min(limit, MAX_LIMIT))
        position = Position.decode(cursor) if cursor is not None else None
        unread = list(position.carried) if position else []
        scan = position.scan if position else 0
        at_end = position is not None and scan == 0
        found: list[TokenRecord] = []
        damaged: list[str] = []
        scanned = 0
        while True:
            batch, unread = unread[:MAX_LIMIT], unread[MAX_LIMIT:]
            records = [record for record in await self.read(batch, damaged) if only.accepts(record)]
            room = limit - len(found)
            found += records[:room]
            unread = [record.id for record in records[room:]] + unread
            if unread and len(found) < limit:
                continue
            if len(found) >= limit or at_end or scanned >= MAX_SCANNED:
                break
            step = max(limit - len(found), MIN_STEP)
            scan, unread = await self._scan(scan, step)
            scanned += step
            at_end = scan == 0
        if len(unread) > MAX_CARRIED:  # a page over its limit is better than a token that no page has
            found += [
                record for record in await self.read(unread[MAX_CARRIED:], damaged) if only.accepts(record)
            ]
            unread = unread[:MAX_CARRIED]
        is_last = at_end and not unread
        next_cursor = None if is_last else Position(scan, tuple(unread)).encode()
        return TokenPage(tuple(found), next_cursor, tuple(damaged))

    async def read(self, identifiers: Sequence[str], damaged: list[str]) -> list[TokenRecord]:
        """The records of the tokens that exist; ids of keys that hold no token are appended to `damaged`."""
        if not identifiers:
            return []
        records: list[TokenRecord] = []
        replies = await self._client.call_each(*(("HGETALL", token_key(id_)) for id_ in identifiers))
        for identifier, fields in zip(identifiers, replies, strict=True):
            try:
                if isinstance(fields, WrongKind):
                    damaged.append(identifier)
                elif fields:
                    records.append(await self._reader.record(identifier, fields))
            except (KeyError, ValueError):  # a hash of something else
                damaged.append(identifier)
        return records

    async def _scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        next_cursor, keys = await self._client.scan(cursor, TOKEN_PATTERN, count)
        start = len(token_key("")) - 1
        identifiers = dict.fromkeys(key[start:-1] for key in keys)
        return next_cursor, [identifier for identifier in identifiers if is_token_id(identifier)]
