"""Signatures of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks, spec). Pure.

`webhook-signature` has signatures separated by spaces, each `v1,BASE64`: HMAC-SHA256 of `ID.SECONDS.BODY`,
where `webhook-id` and `webhook-timestamp` have the first two. The key is what the base64 after `whsec_` says.
Some senders, Polar among them, sign with the text of the secret itself, so both are tried for each secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.platforms.interface import Message, Reason, Verdict
from gateway.platforms.signatures import (
    MAX_SIGNATURES,
    check_base64,
    check_time,
    decode_key,
    keys_of,
    only_value,
    precheck,
)

ID: Final = ("webhook-id", "svix-id")
TIMESTAMP: Final = ("webhook-timestamp", "svix-timestamp")
SIGNATURE: Final = ("webhook-signature", "svix-signature")
PREFIX: Final = b"whsec_"


def keys_for(secret: bytes) -> list[bytes]:
    """The keys that a secret may stand for: its text, and what its base64 says."""
    text = secret.removeprefix(PREFIX)
    decoded = decode_key(text.decode("utf-8", "replace"))
    return [secret] if decoded is None else [decoded, secret]


def verify(message: Message, secrets: Sequence[str], now: float) -> Verdict:
    """Check `webhook-signature`. now: seconds since 1970."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    identity = only_value(message, *ID)
    moment = only_value(message, *TIMESTAMP)
    header = only_value(message, *SIGNATURE)
    for each in (header, moment, identity):
        if isinstance(each, Reason):
            return Verdict(each)
    assert not isinstance(identity, Reason)
    assert not isinstance(moment, Reason)
    assert not isinstance(header, Reason)
    parts = [part.partition(",") for part in header.split(" ", 4 * MAX_SIGNATURES)]
    given = [value for version, _, value in parts if version == "v1"]
    if not given or len(given) > MAX_SIGNATURES:
        return Verdict(Reason.SIGNATURE_MALFORMED)
    if reason := check_time(moment, now):
        return Verdict(reason)
    signed = (identity.encode("utf-8", "surrogateescape"), b".", moment.encode(), b".", message.body)
    return check_base64(signed, [keys_for(key) for key in keys_of(secrets)], given)
