"""Webhooks as the platforms send them: fixtures, and signatures made here by the platforms' documents."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from gateway.platforms.interface import Message

FIXTURES: Final = Path(__file__).parents[1] / "platforms/fixtures"
NOW: Final = 1_790_000_000
"""When the messages of the tests are signed and arrive: seconds since 1970, in September 2026."""
NOW_MS: Final = NOW * 1000
PING: Final = (FIXTURES / "gumroad/sale.txt").read_bytes().strip()
SECRETS: Final = {
    "stripe": "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    "shopify": "hush_3f1ad7b3c2e94b0f8d6a5c4e",
    "woocommerce": 'ck & <b>\'s "secret"',
    "fastspring": "f\u00e9astspring secret",
    "paddle": "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
    "lemonsqueezy": "lemon-signing-secret",
    "gumroad": "a-secret-of-our-url",
    "polar": "polar_whs_2T7kZgqk0aVJXw",
}
"""A secret of each platform, in the form in which the platform shows it."""


def digest(secret: str | bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def signature(kind: str, body: bytes, secret: str, now: int = NOW, identity: str = "msg_1") -> dict[str, str]:
    """The header fields with which a platform signs a body."""
    seconds = str(now).encode()
    text = base64.b64encode(digest(secret, body)).decode()
    match kind:
        case "stripe":
            return {"stripe-signature": f"t={now},v1={digest(secret, seconds, b'.', body).hex()}"}
        case "paddle":
            return {"paddle-signature": f"ts={now};h1={digest(secret, seconds, b':', body).hex()}"}
        case "polar":
            signed = digest(secret, identity.encode(), b".", seconds, b".", body)
            return {
                "webhook-id": identity,
                "webhook-timestamp": str(now),
                "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
            }
        case "shopify":
            return {"x-shopify-hmac-sha256": text}
        case "woocommerce":
            return {"x-wc-webhook-signature": text}
        case "fastspring":
            return {"x-fs-signature": text}
        case "lemonsqueezy":
            return {"x-signature": digest(secret, body).hex()}
        case "gumroad":
            return {}
    raise AssertionError(kind)


def message(kind: str, body: bytes, headers: dict[str, str] | None = None, **options: Any) -> Message:
    """A signed message. headers: further ones. options: secret, now, identity of the signature."""
    secret = options.pop("secret", SECRETS[kind])
    signed = {**signature(kind, body, secret, **options), **(headers or {})}
    url_secret = secret if kind == "gumroad" else None
    return Message(tuple(signed.items()), body, options.get("now", NOW) * 1000, url_secret)


def fixture(kind: str, name: str) -> Any:
    """The content of a fixture in JSON."""
    return json.loads((FIXTURES / kind / f"{name}.json").read_text())


def changed(value: Any, **changes: Any) -> Any:
    """A copy with changes: the names are paths with `__` between (`data__object__id`, `line_items__0__id`).

    The value `...` removes what is there.
    """
    result = copy.deepcopy(value)
    for path, new in changes.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("__")]
        place = result
        for part in way:
            place = place[part]
        if new is ...:
            del place[last]
        else:
            place[last] = new
    return result
