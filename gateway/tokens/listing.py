"""Pages of all tokens, newest first, with filters.

A page comes from the index of tokens (tokens/index.py): of the customer, else of the product, else of all.
What the index does not have, status and API key, is looked at in each record. The rules:

- The work of a page is bounded: it looks at about MAX_SCANNED tokens. So with a filter that few tokens pass,
  a page can be short or even empty and still have a next cursor; only a missing cursor means the end.
- A cursor says after which token a page begins, by the token's time and id. So tokens that are made or that
  expire between two pages make no other token come twice or be left out. A cursor is opaque, contains no
  secret, works with any filter and limit, and never expires.
- The first list of a store waits until the index has been filled with the tokens of earlier versions.

What must not miss a token, such as revoking all tokens of a stolen API key, walks through all keys instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.store.client import StoreClient
from gateway.store.client_server import WrongKind
from gateway.store.key_names import TOKEN_PATTERN, token_key
from gateway.tokens.index import POSITION_BYTES, Entry, TokenIndex, customer_mark, product_mark
from gateway.tokens.records import RecordReader, TokenRecord

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MAX_SCANNED: Final = 600
"""Tokens looked at for one page: about 15 ms of work for the server and this process."""
READ_TOGETHER: Final = 200
"""Tokens that are read by commands which leave together."""
WALK_STEP: Final = 1000
"""Keys of the store looked at in one step of `walk`."""
CURSOR_PATTERN: Final = rf"^[0-9a-f]{{{2 * POSITION_BYTES}}}$"
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

    @property
    def is_indexed(self) -> bool:
        """Whether almost every token that the index finds for it passes."""
        return self.status is None and self.key is None

    @property
    def prefix(self) -> bytes:
        """What the members of the index begin with that such tokens have."""
        if self.email:
            return b"c" + customer_mark(self.email)
        return b"t" if self.product is None else b"p" + product_mark(self.product)


@dataclass(frozen=True)
class TokenPage:
    """Some of the tokens, newest first. `cursor` gives the next page; None: this is the last page.

    damaged: ids of keys that were found on the way and hold no token, whatever the filter.
    """

    tokens: tuple[TokenRecord, ...]
    cursor: str | None
    damaged: tuple[str, ...] = ()


def read_cursor(text: str) -> bytes:
    """Read a cursor: the position after which a page begins. Raises ValueError."""
    if not _CURSOR.fullmatch(text):
        raise ValueError("not a cursor of this list")
    return bytes.fromhex(text)


def is_token_id(text: str) -> bool:
    """Whether the text has the form of a token's id: 32 lower-case hex digits."""
    return _TOKEN_ID.fullmatch(text) is not None


def describe_damage(identifier: str) -> str:
    """One line about a key that holds no token, and what to do about it."""
    key = token_key(identifier)
    return f"token {identifier} is damaged: its key in the store holds no token; DEL {key} removes it"


class TokenListing:
    """Reads tokens by their ids and in pages. Every method may raise StoreUnavailable."""

    def __init__(self, client: StoreClient, reader: RecordReader, index: TokenIndex) -> None:
        self._client = client
        self._reader = reader
        self._index = index

    async def page(
        self,
        only: TokenFilter | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        patience: float | None = None,
    ) -> TokenPage:
        """One page of the tokens that pass the filter; the rules above say what a page promises.

        limit: tokens on a page, at most MAX_LIMIT. patience: for how many seconds to wait at most while the
        index is filled. Raises ValueError when the cursor is not one of this list.
        """
        only = only or TokenFilter()
        limit = max(1, min(limit, MAX_LIMIT))
        position = None if cursor is None else read_cursor(cursor)
        found: list[TokenRecord] = []
        damaged: list[str] = []
        scanned = 0
        is_filled = False
        while True:
            missing = limit - len(found) + 1
            count = min(missing if only.is_indexed or not scanned else READ_TOGETHER, READ_TOGETHER + 1)
            entries, is_complete = await self._index.find(only.prefix, position, count)
            if not is_complete and not is_filled:
                await self._fill(patience)
                is_filled = True
                continue
            records = await self._read_entries(entries, damaged)
            for entry, record in zip(entries, records, strict=True):
                if record is not None and only.accepts(record):
                    if len(found) == limit:
                        return TokenPage(tuple(found), _cursor(position), tuple(damaged))
                    found.append(record)
                position = entry.position
            scanned += len(entries)
            if len(entries) < count:
                return TokenPage(tuple(found), None, tuple(damaged))
            if scanned >= MAX_SCANNED:
                return TokenPage(tuple(found), _cursor(position), tuple(damaged))

    async def walk(self, only: TokenFilter) -> AsyncIterator[TokenRecord]:
        """Every token that passes the filter, in no order, found by looking at all keys of the store.

        A token may come twice when most keys of the store have just gone.
        """
        cursor = 0
        start = len(token_key("")) - 1
        while True:
            cursor, keys = await self._client.scan(cursor, TOKEN_PATTERN, WALK_STEP)
            identifiers = [key[start:-1] for key in dict.fromkeys(keys)]
            identifiers = [identifier for identifier in identifiers if is_token_id(identifier)]
            for first in range(0, len(identifiers), READ_TOGETHER):
                for record in await self.read(identifiers[first : first + READ_TOGETHER], []):
                    if record is not None and only.accepts(record):
                        yield record
            if cursor == 0:
                return

    async def read(self, identifiers: Sequence[str], damaged: list[str]) -> list[TokenRecord | None]:
        """The record of each token, None where it does not exist.

        Ids of keys that hold no token are appended to `damaged`.
        """
        if not identifiers:
            return []
        records: list[TokenRecord | None] = []
        replies = await self._client.call_each(*(("HGETALL", token_key(id_)) for id_ in identifiers))
        for identifier, fields in zip(identifiers, replies, strict=True):
            record = None
            try:
                if isinstance(fields, WrongKind):
                    damaged.append(identifier)
                elif fields:
                    record = await self._reader.record(identifier, fields)
            except (KeyError, ValueError):  # a hash of something else
                damaged.append(identifier)
            records.append(record)
        return records

    async def _read_entries(self, entries: Sequence[Entry], damaged: list[str]) -> list[TokenRecord | None]:
        """The records of what the index has; what the store does not have any more leaves the index."""
        broken: list[str] = []
        records = await self.read([entry.identifier for entry in entries], broken)
        gone: list[Entry] = []
        for number, entry in enumerate(entries):
            record = records[number]
            if record is not None and record.created != entry.created:
                records[number] = record = None  # an entry of a token that was made again; it has another one
            if record is None and entry.identifier not in broken:
                gone.append(entry)
        await self._index.forget(gone)
        damaged += broken
        return records

    async def _fill(self, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._index.fill_once()
        except TimeoutError:
            raise StoreUnavailable(
                "the list of tokens is being made for the first time; ask again in a few seconds"
            ) from None


def _cursor(position: bytes | None) -> str | None:
    return None if position is None else position.hex()
