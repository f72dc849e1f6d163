"""Secrets and signatures of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks). Pure.

What is signed is `ID.SECONDS.BODY`: the message's id, which stays the same over all attempts, the moment of
the attempt, and the bytes of the body. The key is what the base64 after `whsec_` says. While a secret is
being replaced, the message has a signature by each of them, separated by spaces.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
"""The specification asks for 24 to 64."""
ID_PREFIX: Final = "msg_"
SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}", re.ASCII)


def new_secret() -> str:
    """Make a secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, identity: str, seconds: int, body: bytes) -> str:
    """The signature of a message, as `v1,BASE64`. Raises ValueError for what is no secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = b".".join((identity.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(secrets_: Iterable[str], identity: str, seconds: int, body: bytes) -> dict[str, str]:
    """The header fields of a message. seconds: since 1970, of this attempt."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(sign(secret, identity, seconds, body) for secret in secrets_),
    }
