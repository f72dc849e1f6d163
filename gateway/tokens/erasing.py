"""Taking a person who is erased out of the store: tokens, their index, and the audit trail.

What was deleted stays in the store's log until that is written anew (`gateway.store.log_rewriting`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from gateway.errors import Declined
from gateway.store.key_names import AUDIT_KEY, token_key
from gateway.store.scripts import Script
from gateway.tokens.audit import KEPT
from gateway.tokens.index import is_token_id
from gateway.tokens.listing import MAX_LIMIT, TokenFilter
from gateway.tokens.records import TokenRecord
from gateway.tokens.repositories import Repositories

_PERSONAL: Final = ("email", "name", "metadata")
"""Fields of a token that tell of its customer."""
_BLANK: Final = Script.load("blank_entries")


async def end_tokens_of(
    store: Repositories, addresses: Iterable[str], identifiers: Iterable[str] = ()
) -> int:
    """End every token that names one of these addresses, revoked ones too. Returns how many there were.

    addresses: in all their spellings; case is ignored. identifiers: of further tokens of the person. A token
    stays as a revoked one without its customer until it would have expired, and is not found by customer any
    more. Raises StoreUnavailable.
    """
    ended: set[str] = set()
    for address in set(addresses):
        cursor = None
        while True:
            page = await store.tokens.list_page(TokenFilter(email=address), MAX_LIMIT, cursor)
            for record in page.tokens:
                await _end(store, record)
                ended.add(record.id)
            cursor = page.cursor
            if cursor is None:
                break
    for identifier in identifiers:
        if identifier not in ended and is_token_id(identifier):
            found = await store.tokens.get(identifier)
            if found is not None:
                await _end(store, found)
                ended.add(identifier)
    return len(ended)


async def _end(store: Repositories, record: TokenRecord) -> None:
    with contextlib.suppress(Declined):  # it has expired meanwhile
        await store.tokens.revoke(record.id)
    await store.client.call("HDEL", token_key(record.id), *_PERSONAL)
    if record.email:
        await store.tokens.index.unname(
            record.id, record.created, record.expires, record.product, record.email
        )


async def blank_changes(store: Repositories, mentions: Callable[[str], bool], text: str) -> int:
    """Put a text in the place of the values of changes that mention the person. Returns how many there were.

    mentions: whether a value does. Raises StoreUnavailable.
    """
    entries = await store.client.call("XREVRANGE", AUDIT_KEY, "+", "-", "COUNT", 2 * KEPT)
    found = [
        identifier
        for identifier, fields in entries
        if any(mentions(value) for name, value in dict(fields).items() if name not in ("action", "by"))
    ]
    if found:
        await store.client.run(_BLANK, [AUDIT_KEY], text, *found)
    return len(found)
