"""The form of a token and of an API key, and the names they go by in the store.

A token is `ct_` and 32 random bytes in base64url without padding: 43 characters, 256 bits. It is never
stored and never logged: the store and the logs carry its id, the first 32 hex digits of its SHA-256. A
256-bit random value needs no slow hash: there is nothing to guess.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final

TOKEN_PREFIX: Final = "ct_"  # noqa: S105 - the public part
KEY_PREFIX: Final = "gk_"
SECRET_BYTES: Final = 32
MAX_TOKEN_LENGTH: Final = 128
"""A longer string is refused before it is hashed; tokens of ours are 46 characters long."""

SECRET: Final = re.compile(r"\b(?:ct|gk)_[A-Za-z0-9_-]{8,}|(?:ct|gk)_[A-Za-z0-9_-]{40,}")
"""What looks like a token or an API key, for cutting them out of anything that is logged: part of one as a
word of its own, a whole one wherever it stands."""


def encode_secret(prefix: str, secret: bytes) -> str:
    """The text form of 32 secret bytes: prefix and base64url without padding."""
    return prefix + base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def new_token() -> str:
    """A fresh token from the operating system's random source."""
    return encode_secret(TOKEN_PREFIX, secrets.token_bytes(SECRET_BYTES))


def new_key() -> str:
    """A fresh API key for the mint service."""
    return encode_secret(KEY_PREFIX, secrets.token_bytes(SECRET_BYTES))


def token_id(token: str) -> str:
    """The public name of a token: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def key_hash(key: str) -> str:
    """What the store knows an API key by: its SHA-256, 64 hex digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def redact(text: str) -> str:
    """The text with anything that looks like a token or an API key replaced by `[secret]`."""
    return SECRET.sub("[secret]", text)
