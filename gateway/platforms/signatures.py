"""Signatures of webhooks: HMAC-SHA256 over raw bytes, compared in constant time. Pure.

Anybody may send anything here, so all work is bounded: a header field has at most MAX_HEADER characters and
at most MAX_SIGNATURES signatures, and the body is hashed once for each key. Only the one canonical form of a
signature is compared (64 lower-case hex digits; base64 with its padding), as bytes. Text that is not ASCII
never is a signature; comparing it as text would raise TypeError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.platforms.interface import MAX_BODY, MAX_SECRETS, TOLERANCE_SECONDS, Message, Reason, Verdict

MAX_HEADER: Final = 4096
"""Characters of a header field with signatures. One of Stripe with two secrets has some 150."""
MAX_SIGNATURES: Final = 16
"""Signatures in one header field. A platform sends one for each secret of a rotation."""

_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
"""Seconds since 1970. 12 digits last for 30,000 years. Leading zeros and signs would make a second form."""
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)


def keys_of(secrets: Sequence[str]) -> list[bytes]:
    """The UTF-8 of each secret. Empty ones are left out, because everybody could sign with them."""
    return [secret.encode("utf-8", "surrogateescape") for secret in secrets[:MAX_SECRETS] if secret.strip()]


def only_value(message: Message, *names: str) -> str | Reason:
    """The value of a header field of the signature; names are those it may have, the preferred one first.

    A field that comes twice is refused, because a proxy and we could believe different ones.
    """
    for name in names:
        values = message.values(name)
        if len(values) > 1:
            return Reason.SIGNATURE_REPEATED
        if values and values[0]:
            return values[0] if len(values[0]) <= MAX_HEADER else Reason.SIGNATURE_MALFORMED
    return Reason.SIGNATURE_MISSING


def check_time(text: str, now: float) -> Reason | None:
    """Compare the time in a signature, in seconds, with ours."""
    if not _TIMESTAMP.fullmatch(text):
        return Reason.SIGNATURE_MALFORMED
    age = now - int(text)
    if age > TOLERANCE_SECONDS:
        return Reason.TOO_OLD
    return Reason.IN_THE_FUTURE if age < -TOLERANCE_SECONDS else None


def check_hex(signed: Sequence[bytes], keys: Sequence[bytes], given: Iterable[str]) -> Verdict:
    """Compare signatures in hex. signed: what was signed, in parts. keys: one for each secret."""
    found = [each.encode() for each in given if _HEX.fullmatch(each)]
    return _check([[key] for key in keys], signed, found, lambda digest: digest.hex().encode())


def check_timed_hex(
    message: Message,
    secrets: Sequence[str],
    now: float,
    name: str,
    *,
    words: tuple[str, str],
    marks: tuple[str, str],
) -> Verdict:
    """Check a header field that has a time and signatures in hex, as Stripe and Paddle send it.

    name: of the field. words: what stands before the time, and before each signature. marks: what separates
    the parts of the field, and the time from the body in what is signed. now: seconds since 1970.
    """
    if reason := precheck(message, secrets):
        return Verdict(reason)
    header = only_value(message, name)
    if isinstance(header, Reason):
        return Verdict(header)
    separator, joint = marks
    pairs = [part.partition("=") for part in header.split(separator, 4 * MAX_SIGNATURES)]
    times = [value for word, _, value in pairs if word == words[0]]
    given = [value for word, _, value in pairs if word == words[1]]
    if len(times) != 1 or not given or len(given) > MAX_SIGNATURES:
        return Verdict(Reason.SIGNATURE_MALFORMED)
    if reason := check_time(times[0], now):
        return Verdict(reason)
    return check_hex((times[0].encode(), joint.encode(), message.body), keys_of(secrets), given)


def check_base64(signed: Sequence[bytes], forms: Sequence[Sequence[bytes]], given: Iterable[str]) -> Verdict:
    """Compare signatures in base64. forms: for each secret, the keys that it may stand for."""
    found = [each.encode() for each in given if _BASE64.fullmatch(each)]
    return _check(forms, signed, found, base64.b64encode)


def check_text(given: str, secrets: Sequence[str]) -> Verdict:
    """Compare a secret that is sent as it is."""
    keys = keys_of(secrets)
    if not keys:
        return Verdict(Reason.SECRET_MISSING)
    text = given.encode("utf-8", "surrogateescape")
    found = [hmac.compare_digest(hashlib.sha256(key).digest(), hashlib.sha256(text).digest()) for key in keys]
    return Verdict(secret=found.index(True)) if any(found) else Verdict(Reason.SIGNATURE_WRONG)


def precheck(message: Message, secrets: Sequence[str]) -> Reason | None:
    """Refuse what needs no look at the signature."""
    if len(message.body) > MAX_BODY:
        return Reason.BODY_TOO_LARGE
    return None if keys_of(secrets) else Reason.SECRET_MISSING


def decode_key(text: str) -> bytes | None:
    """The bytes of a secret in base64, with or without padding. None where it is not, or is empty."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (ValueError, binascii.Error):  # also for text that is not ASCII
        return None


def _check(
    forms: Sequence[Sequence[bytes]],
    signed: Sequence[bytes],
    given: Sequence[bytes],
    encode: Callable[[bytes], bytes],
) -> Verdict:
    if not given:
        return Verdict(Reason.SIGNATURE_MALFORMED)
    fits = []
    for keys in forms:
        fit = False
        for key in keys:
            mac = hmac.new(key, digestmod=hashlib.sha256)
            for part in signed:
                mac.update(part)
            expected = encode(mac.digest())
            for each in given[:MAX_SIGNATURES]:
                fit |= hmac.compare_digest(expected, each)
        fits.append(fit)
    return Verdict(secret=fits.index(True)) if any(fits) else Verdict(Reason.SIGNATURE_WRONG)
