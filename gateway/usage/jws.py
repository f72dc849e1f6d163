"""Compact JWS with Ed25519 (RFC 7515, RFC 8037), and keys as JWK (RFC 7517). Pure.

    BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature)

The header is {"alg": "EdDSA", "kid": …}. The id of a key is its thumbprint (RFC 7638), so it follows from the
key and two keys never share one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM: Final = "EdDSA"


class BadSignature(ValueError):
    """A text that is no JWS of ours. What it says names the reason, and quotes nothing."""


def new_private() -> bytes:
    """A new private key: 32 random bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_of(private: bytes) -> bytes:
    """The public key of a private one, both as their 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def thumbprint(public: bytes) -> str:
    """The id of a key: 43 characters."""
    text = f'{{"crv":"Ed25519","kty":"OKP","x":"{_encode(public)}"}}'
    return _encode(hashlib.sha256(text.encode()).digest())


def jwk(public: bytes) -> dict[str, str]:
    """A public key as it is published."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _encode(public),
        "kid": thumbprint(public),
        "use": "sig",
        "alg": ALGORITHM,
    }


def read_keys(document: Any) -> dict[str, bytes]:
    """The Ed25519 keys of a JWK set, by their ids. Keys of other kinds are left out. Raises BadSignature."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise BadSignature("the set of keys has no list `keys`")
    found: dict[str, bytes] = {}
    for each in keys:
        if isinstance(each, dict) and each.get("kty") == "OKP" and each.get("crv") == "Ed25519":
            public = _decode(str(each.get("x", "")))
            found[str(each.get("kid") or thumbprint(public))] = public
    return found


def sign(payload: bytes, private: bytes) -> str:
    """Sign bytes with a private key of 32 bytes."""
    key = Ed25519PrivateKey.from_private_bytes(private)
    header = {"alg": ALGORITHM, "kid": thumbprint(key.public_key().public_bytes_raw())}
    text = f"{_encode(json.dumps(header, separators=(',', ':')).encode())}.{_encode(payload)}"
    return f"{text}.{_encode(key.sign(text.encode()))}"


def verify(text: str, keys: Mapping[str, bytes]) -> bytes:
    """The payload of a JWS that one of these keys has signed. Raises BadSignature.

    keys: public ones by their ids. The algorithm is never chosen by the header.
    """
    parts = text.strip().split(".")
    if len(parts) != 3:
        raise BadSignature("it is no compact JWS: that has three parts with dots between them")
    try:
        header = json.loads(_decode(parts[0]))
    except ValueError:
        raise BadSignature("the header of the JWS cannot be read") from None
    if not isinstance(header, dict) or header.get("alg") != ALGORITHM or "crit" in header:
        raise BadSignature(f"the JWS is not signed with {ALGORITHM}")
    public = keys.get(str(header.get("kid")))
    if public is None:
        raise BadSignature("none of the keys has signed it")
    signature = _decode(parts[2])
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(signature, f"{parts[0]}.{parts[1]}".encode())
    except (InvalidSignature, ValueError):
        raise BadSignature("the signature is wrong: something was changed") from None
    return _decode(parts[1])


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Read base64url without padding; one content has one text. Raises BadSignature."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("a part of it is not written in base64url") from None
    if _encode(content) != text:
        raise BadSignature("a part of it is not written in base64url")
    return content
