"""Challenges of passkeys in the store: each is for one browser, for some minutes, and counts once.

The browser that asked has a random cookie (or its session); the challenge is kept by the hash of that. To
take it is to remove it, in one step, so an answer that is sent again, or twice at once, finds none.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from gateway.store.client import StoreClient
from gateway.store.key_names import challenge_key

CHALLENGE_SECONDS: Final = 300
"""How long a person may take to touch a security key. It is what browsers are told, too."""
CHALLENGE_COOKIE: Final = CHALLENGE_SECONDS


async def make_challenge(store: StoreClient, secret: str = "") -> tuple[str, str]:
    """Make a challenge. Returns what the browser's cookie is to hold, and the challenge.

    secret: what only this browser has, such as the id of its session. Raises StoreUnavailable.
    """
    from gateway.users.passkeys import new_challenge  # noqa: PLC0415 - slow to import

    secret = secret or secrets.token_urlsafe(32)
    challenge = new_challenge()
    await store.call("SET", challenge_key(_hash(secret)), challenge, "EX", CHALLENGE_SECONDS)
    return secret, challenge


async def take_challenge(store: StoreClient, secret: str) -> str | None:
    """The challenge of a browser, which is gone now; None if there is none. Raises StoreUnavailable."""
    if not secret or len(secret) > 200:
        return None
    found: str | None = await store.call("GETDEL", challenge_key(_hash(secret)))
    return found


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
