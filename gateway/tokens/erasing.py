"""Ending the tokens of a person who is erased, and taking the person out of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from gateway.errors import Declined, StoreUnavailable
from gateway.store.key_names import token_key
from gateway.tokens.listing import MAX_LIMIT, TokenFilter
from gateway.tokens.repositories import Repositories

_PERSONAL: Final = ("email", "name", "metadata")
"""Fields of a token that tell of its customer."""


async def end_tokens_of(store: Repositories, addresses: Iterable[str]) -> int:
    """End every token that names one of these addresses, revoked ones too. Returns how many there were.

    The token stays as a revoked one without its customer until it would have expired. The embedded store's
    log is written anew, because it still has what was deleted. Raises StoreUnavailable.
    """
    ended = 0
    for address in set(addresses):
        cursor = None
        while True:
            page = await store.tokens.list_page(TokenFilter(email=address), MAX_LIMIT, cursor)
            for record in page.tokens:
                with contextlib.suppress(Declined):  # it has expired meanwhile
                    await store.tokens.revoke(record.id)
                await store.client.call("HDEL", token_key(record.id), *_PERSONAL)
                ended += 1
            cursor = page.cursor
            if cursor is None:
                break
    if ended:
        with contextlib.suppress(StoreUnavailable):  # a Redis that others run may not allow it
            await store.client.call("BGREWRITEAOF")
    return ended
