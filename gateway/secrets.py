"""The forms of tokens and API keys, the names that the store has for them, and what hides them from logs.

A token is `ct_` and 32 random bytes in base64url without padding: 46 characters, 256 random bits. It is never
stored and never logged: the store and the logs have its id, the first 32 hex digits of its SHA-256. A random
value of 256 bits needs no slow hash, because nobody can guess it. All this holds for an API key, too, which
begins with `gk_`; the store has its whole SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final
from urllib.parse import urlsplit

TOKEN_PREFIX: Final = "ct_"  # noqa: S105 - the public part
KEY_PREFIX: Final = "gk_"
SECRET_BYTES: Final = 32
MAX_TOKEN_LENGTH: Final = 128
"""A longer string is refused before it is hashed. Our tokens have 46 characters."""

KEY_ID_LENGTH: Final = 16
"""Hex digits of a key's hash by which people name the key."""
KEY_FORM: Final = re.compile(r"gk_[A-Za-z0-9_-]{43}")
TOKEN_FORM: Final = re.compile(r"ct_[A-Za-z0-9_-]{43}")
"""The exact form of our tokens."""
TOKEN_LENGTH: Final = 46

SECRET: Final = re.compile(
    r"[cg](?:(?<=c)t|(?<=g)k)_(?:[A-Za-z0-9_-]{40,}|(?<!\w[cg][tk]_)[A-Za-z0-9_-]{8,})"
)
"""Text that looks like a token or an API key: a whole one anywhere, or a part at the beginning of a word. It
begins with a set of characters, because such an expression skips all other text quickly."""


REDACTED: Final = "[secret]"
"""What stands in the place of a token or an API key."""


def encode_secret(prefix: str, secret: bytes) -> str:
    """The text form of 32 secret bytes: the prefix, and base64url without padding."""
    return prefix + base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def new_token() -> str:
    """A new token from the operating system's random source."""
    return encode_secret(TOKEN_PREFIX, secrets.token_bytes(SECRET_BYTES))


def new_key() -> str:
    """A new API key from the operating system's random source."""
    return encode_secret(KEY_PREFIX, secrets.token_bytes(SECRET_BYTES))


def token_id(token: str) -> str:
    """The public name of a token: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def key_hash(key: str) -> str:
    """The name of an API key in the store: its SHA-256, 64 hex digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_id(key: str) -> str | None:
    """The public name of an API key, as lists and the log show it; None for what has not the form of a key.

    A digest of something else, such as a password that was sent by mistake, would help to guess it.
    """
    return key_hash(key)[:KEY_ID_LENGTH] if KEY_FORM.fullmatch(key) else None


def redact(text: str) -> str:
    """The text with everything that looks like a token or an API key replaced by REDACTED."""
    return SECRET.sub(REDACTED, text)


def redact_url(url: str) -> str:
    """The URL without its secrets: `***` in place of user and password, and no query."""
    try:
        parts = urlsplit(url)
        has_credentials = "@" in parts.netloc
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "[a URL that cannot be read]"
    return f"{parts.scheme}://{'***@' if has_credentials else ''}{host}{parts.path}"
