"""The secrets of sign-in mails: links, codes, and what the asking browser keeps. Pure but for randomness.

- A *link* has 256 random bits. The store has only its SHA-256.
- A *code* has CODE_DIGITS digits, is typed by a person, and is good only in the browser that asked for it:
  the proof, which the store has, is a hash of the code and of the secret in that browser's cookie. So
  somebody who reads the store cannot try codes.
- The *cookie* of the asking browser holds its secret and the address that was typed, so that the page can
  show where the mail went. It says nothing that its owner has not typed.

With MAX_TRIES tries for each mail, and the limits of `quotas.py`, somebody who guesses codes of all customers
at once, from hundreds of addresses, meets one in about three years.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import unicodedata
from typing import Final, NamedTuple

from gateway.orders.email_addresses import AddressError, normalise

CODE_DIGITS: Final = 8
MAX_TRIES: Final = 5
LIFETIME_MINUTES: Final = 15
"""How long a mail's link and code are good. People find a mail within minutes; archives keep it for ever."""
_SECRET_LENGTH: Final = 43
"""Of 256 random bits in base64url."""
_MAX_TYPED: Final = 40
"""Characters of a typed code that are looked at."""


class Asked(NamedTuple):
    """What a browser remembers of a mail that it asked for. address: in its normal form."""

    secret: str
    address: str


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def new_code() -> str:
    """A code, with leading zeros."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


def shown_code(code: str) -> str:
    """A code as a mail shows it: in two groups, which are easier to type."""
    half = len(code) // 2
    return f"{code[:half]} {code[half:]}"


def read_code(typed: str) -> str:
    """The digits of what a person typed, in any script, with anything between; empty if it is no code."""
    digits = [unicodedata.digit(each, None) for each in typed[:_MAX_TYPED]]
    code = "".join(str(digit) for digit in digits if digit is not None)
    return code if len(code) == CODE_DIGITS else ""


def hash_of(*parts: str) -> str:
    """The SHA-256 of texts, as 64 hex digits. Different parts never give the same text."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def proof_of(secret: str, *codes: str) -> str:
    """What the store keeps of codes. secret: of the browser that asked."""
    return hash_of("proof", secret, *codes)


def is_secret(text: str) -> bool:
    """Whether a text may be a secret of `new_secret`."""
    return (
        len(text) == _SECRET_LENGTH and text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()
    )


def write_cookie(asked: Asked) -> str:
    """What the asking browser's cookie holds."""
    return f"{asked.secret}.{base64.urlsafe_b64encode(asked.address.encode()).decode().rstrip('=')}"


def read_cookie(text: str) -> Asked | None:
    """Read such a cookie; None for anything else."""
    secret, dot, encoded = text.partition(".")
    if not dot or not is_secret(secret) or len(encoded) > 1000:
        return None
    try:
        written = base64.b64decode(
            encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        ).decode()
        address = normalise(written)
    except (binascii.Error, UnicodeDecodeError, AddressError):
        return None
    return Asked(secret, address)
