"""Signatures: one table of cases for all platforms, and the published vectors."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace

import pytest

from gateway.platforms.interface import MAX_BODY, TOLERANCE_SECONDS, Message, Reason, Verdict
from gateway.platforms.registry import PLATFORMS
from gateway.platforms.signatures import MAX_HEADER, MAX_SIGNATURES
from gateway.platforms.standard_webhooks import keys_for
from gateway.platforms.woocommerce import decode_secret
from tests.support.rows import each_row
from tests.support.webhooks import NOW, SECRETS, message, signature

BODY = '{"id": "évt", "n": 1}'.encode()
SIGNING = [kind for kind in PLATFORMS if kind != "gumroad"]
TIMED = ["stripe", "paddle", "polar"]
SEVERAL = {
    "stripe": ("stripe-signature", ",v1="),
    "paddle": ("paddle-signature", ";h1="),
    "polar": ("webhook-signature", " v1,"),
}
"""Where several signatures are possible: the field, and what stands before a further one."""
EACH = each_row("kind", SIGNING)


def verify(kind: str, sent: Message, *secrets: str, now: float = NOW) -> Verdict:
    return PLATFORMS[kind].verify(sent, secrets or (SECRETS[kind],), now)


def field(kind: str, sent: Message) -> tuple[str, str]:
    """The header field with the signature itself, which is the last one."""
    return sent.headers[-1]


def with_field(sent: Message, value: str) -> Message:
    name, _ = sent.headers[-1]
    return replace(sent, headers=(*sent.headers[:-1], (name, value)))


@EACH
@each_row(
    "body", [BODY, b"", b"\xff\x00 not UTF-8", b"x" * MAX_BODY], ids=["json", "none", "binary", "1 MiB"]
)
def test_a_right_signature_is_accepted(kind: str, body: bytes) -> None:
    secret = SECRETS[kind]
    key = 'ck & <b>\'s "secret"' if kind == "woocommerce" else secret
    assert verify(kind, message(kind, body, secret=key), secret) == Verdict(secret=0)


@EACH
def test_either_of_two_secrets_is_good_during_a_rotation(kind: str) -> None:
    for place, secret in enumerate(("the-new-secret", "the-old-secret")):
        assert verify(
            kind, message(kind, BODY, secret=secret), "the-new-secret", "the-old-secret"
        ) == Verdict(secret=place)
    assert (
        verify(kind, message(kind, BODY, secret="a-third"), "the-new-secret", "the-old-secret").reason
        is Reason.SIGNATURE_WRONG
    )


@EACH
@each_row(
    "body",
    [
        BODY + b" ",
        BODY[:-1],
        BODY.replace(b"1", b"2"),
        BODY.replace(b" ", b""),
        BODY.decode().encode("utf-16"),
        b"",
    ],
)
def test_a_changed_body_is_refused(kind: str, body: bytes) -> None:
    assert verify(kind, replace(message(kind, BODY), body=body)).reason is Reason.SIGNATURE_WRONG


@EACH
def test_a_wrong_or_missing_secret_is_refused(kind: str) -> None:
    sent = message(kind, BODY, secret="right")
    assert verify(kind, sent, "wrong").reason is Reason.SIGNATURE_WRONG
    assert PLATFORMS[kind].verify(sent, (), NOW).reason is Reason.SECRET_MISSING
    for nothing in ("", " ", "\n"):  # whoever signs with an empty key is nobody
        assert verify(kind, message(kind, BODY, secret=nothing), nothing).reason is Reason.SECRET_MISSING


@EACH
def test_a_missing_or_empty_signature_is_refused(kind: str) -> None:
    sent = message(kind, BODY)
    assert verify(kind, replace(sent, headers=())).reason is Reason.SIGNATURE_MISSING
    assert verify(kind, with_field(sent, "")).reason is Reason.SIGNATURE_MISSING
    for name, _ in sent.headers:
        rest = tuple(pair for pair in sent.headers if pair[0] != name)
        assert verify(kind, replace(sent, headers=rest)).reason is Reason.SIGNATURE_MISSING


@EACH
def test_a_field_that_comes_twice_is_refused(kind: str) -> None:
    sent = message(kind, BODY)
    for name, value in sent.headers:
        for other in (value, "other"):
            twice = replace(sent, headers=(*sent.headers, (name, other)))
            assert verify(kind, twice).reason is Reason.SIGNATURE_REPEATED


@EACH
def test_a_body_beyond_the_limit_is_refused_before_it_is_hashed(kind: str) -> None:
    assert verify(kind, message(kind, b"x" * (MAX_BODY + 1))).reason is Reason.BODY_TOO_LARGE


def other_encodings(kind: str, value: str) -> list[str]:
    """The same digest as other encodings would have it, and near misses."""
    head, separator, encoded = value.rpartition("," if kind == "polar" else "=")
    if kind in ("shopify", "woocommerce", "fastspring"):
        head, separator, encoded = "", "", value
    if kind == "lemonsqueezy":
        head, separator, encoded = "", "", value
    hexadecimal = kind in ("stripe", "paddle", "lemonsqueezy")
    raw = bytes.fromhex(encoded) if hexadecimal else base64.b64decode(encoded)
    other = base64.b64encode(raw).decode() if hexadecimal else raw.hex()
    forms = [
        other,
        encoded.upper() if hexadecimal else base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        encoded[:-1],
        encoded + "0",
        encoded + "=",
        f" {encoded}",
        f'"{encoded}"',
        f"0x{encoded}",
        "=" * 44,
        "０" * 64,
        "é" * 64,
        "\udcff" * 64,
        "\x00" * 64,
        raw.decode("latin-1"),
        raw.decode("utf-8", "surrogateescape"),
    ]
    return [f"{head}{separator}{form}" for form in forms if form != encoded]


@EACH
def test_other_encodings_and_texts_are_refused_and_never_an_exception(kind: str) -> None:
    sent = message(kind, BODY)
    _, value = field(kind, sent)
    for text in other_encodings(kind, value):
        verdict = verify(kind, with_field(sent, text))
        assert verdict.reason in (Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_WRONG), text


@each_row("kind", TIMED)
@each_row(
    ("age", "reason"),
    [
        (0, None),
        (TOLERANCE_SECONDS, None),
        (-TOLERANCE_SECONDS, None),
        (TOLERANCE_SECONDS + 1, Reason.TOO_OLD),
        (3600, Reason.TOO_OLD),
        (-TOLERANCE_SECONDS - 1, Reason.IN_THE_FUTURE),
        (-3600, Reason.IN_THE_FUTURE),
    ],
)
def test_the_time_counts_in_both_directions(kind: str, age: int, reason: Reason | None) -> None:
    assert verify(kind, message(kind, BODY, now=NOW - age)).reason is reason


@each_row("kind", TIMED)
@each_row(
    "text",
    [
        *("", "0", "-1", f"+{NOW}", f" {NOW}", f"0{NOW}", "1_790_000_000", "1.79e9", f"{NOW}.0", "nan"),
        *("١٧٩٠٠٠٠٠٠٠", "9" * 13, "9" * 4000),
    ],
)
def test_a_time_of_another_form_is_refused(kind: str, text: str) -> None:
    sent = message(kind, BODY)
    headers = tuple((name, value.replace(str(NOW), text)) for name, value in sent.headers)
    verdict = verify(kind, replace(sent, headers=headers))
    assert verdict.reason in (Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISSING, Reason.TOO_OLD)


@pytest.mark.parametrize("kind", TIMED)
def test_a_time_that_was_changed_is_refused(kind: str) -> None:
    sent = message(kind, BODY, now=NOW - 4000)
    headers = tuple((name, value.replace(str(NOW - 4000), str(NOW))) for name, value in sent.headers)
    assert verify(kind, replace(sent, headers=headers)).reason is Reason.SIGNATURE_WRONG


@pytest.mark.parametrize("kind", SEVERAL)
def test_one_of_several_signatures_is_enough_up_to_a_bound(kind: str) -> None:
    sent = message(kind, BODY)
    _, value = field(kind, sent)
    name, separator = SEVERAL[kind]
    [other] = [text for field, text in signature(kind, BODY, "other").items() if field == name]
    wrong = other.rpartition(separator.strip()[-1])[2]
    prefix, _, right = value.rpartition(separator.strip())
    for count, reason in (
        (1, None),
        (MAX_SIGNATURES - 1, None),
        (MAX_SIGNATURES, Reason.SIGNATURE_MALFORMED),
    ):
        last = f"{value}{(separator + wrong) * count}"
        assert verify(kind, with_field(sent, last)).reason is reason
        first = f"{prefix}{separator.strip()}{wrong}{(separator + wrong) * (count - 1)}{separator}{right}"
        assert verify(kind, with_field(sent, first)).reason is reason
    assert (
        verify(kind, with_field(sent, value + separator + "x" * MAX_HEADER)).reason
        is Reason.SIGNATURE_MALFORMED
    )
    assert verify(kind, with_field(sent, value + separator * 2000)).reason is Reason.SIGNATURE_MALFORMED


@each_row(
    "text",
    [
        "t={t},v0={v}",
        "t={t}",
        "v1={v}",
        "t={t},t={t},v1={v}",
        "t={t},v1",
        "t={t};v1={v}",
        "t={t}, v1={v}",
        "T={t},V1={v}",
        ",,,=,=,t,v1",
        "{v}",
    ],
)
def test_stripe_headers_of_other_forms(text: str) -> None:
    good = signature("stripe", BODY, SECRETS["stripe"])["stripe-signature"].partition("v1=")[2]
    sent = Message((("stripe-signature", text.format(t=NOW, v=good)),), BODY, 0)
    assert verify("stripe", sent).reason is Reason.SIGNATURE_MALFORMED


def test_what_stripe_adds_besides_is_ignored() -> None:
    good = signature("stripe", BODY, SECRETS["stripe"])["stripe-signature"]
    for text in (f"{good},v0={'0' * 64}", f"{good},v2=x", f"{good},", f"x=y,{good}"):
        assert verify("stripe", Message((("stripe-signature", text),), BODY, 0)).accepted


def test_newer_versions_of_shopify_drop_the_x() -> None:
    sent = message("shopify", BODY)
    [(_, value)] = sent.headers
    assert verify("shopify", replace(sent, headers=(("shopify-hmac-sha256", value),))).accepted
    both = replace(sent, headers=(*sent.headers, ("shopify-hmac-sha256", "other")))
    assert verify("shopify", both).accepted


def test_the_key_of_stripe_is_the_whole_secret() -> None:
    secret = SECRETS["stripe"]
    assert not verify(
        "stripe", message("stripe", BODY, secret=secret.removeprefix("whsec_")), secret
    ).accepted


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        ("plain", "plain"),
        ("a &amp; b", "a & b"),
        ("&lt;&gt;&quot;&#039;", "<>\"'"),
        ("&#39;&#x27;&#X27;&#0034;&#x0022;&#60;&#062;&#38;&#x26;", "'''\"\"<>&&"),
        ("&amp;amp;", "&amp;"),  # once
        ("&AMP;&apos;&nbsp;&eacute;&#65;", "&AMP;&apos;&nbsp;&eacute;&#65;"),  # not of WordPress' few
        ("&amp", "&amp"),
        ("é&lt;", "é<"),
    ],
)
def test_woocommerce_decodes_entities_in_its_secret(stored: str, key: str) -> None:
    assert decode_secret(stored) == key
    assert verify("woocommerce", message("woocommerce", BODY, secret=key), stored).accepted


def test_the_url_of_gumroad_has_the_secret() -> None:
    sent = message("gumroad", b"sale_id=1")
    assert verify("gumroad", sent) == Verdict(secret=0)
    assert verify("gumroad", sent, "new", SECRETS["gumroad"]) == Verdict(secret=1)
    assert verify("gumroad", replace(sent, url_secret="other")).reason is Reason.SIGNATURE_WRONG
    assert verify("gumroad", replace(sent, url_secret="\udcff")).reason is Reason.SIGNATURE_WRONG
    assert verify("gumroad", replace(sent, url_secret="x" * 5000)).reason is Reason.SIGNATURE_MALFORMED
    assert verify("gumroad", replace(sent, url_secret=None)).reason is Reason.SIGNATURE_MISSING
    assert (
        PLATFORMS["gumroad"].verify(replace(sent, url_secret=""), ("",), NOW).reason is Reason.SECRET_MISSING
    )


def test_the_vector_of_standard_webhooks() -> None:
    headers = (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )
    sent = Message(headers, b'{"test": 2432232314}', 0)
    for secret in ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert verify("polar", sent, secret, now=1614265330).accepted
    assert verify(
        "polar", replace(sent, headers=(("webhook-id", "msg_2"), *headers[1:])), secret, now=1614265330
    ).reason


def test_the_vector_of_paddle() -> None:
    header = "ts=1696195954;h1=d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02"
    sent = Message((("paddle-signature", header),), b"hello-world", 0)
    assert verify("paddle", sent, now=1696195954).accepted


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        (b"polar_whs_2T7kZg", [b"polar_whs_2T7kZg"]),
        (b"whsec_AAAA", [b"\0\0\0", b"whsec_AAAA"]),
        (b"whsec_", [b"whsec_"]),  # never an empty key
        (b"YWJj", [b"abc", b"YWJj"]),
        (b"YWI", [b"ab", b"YWI"]),
        (b"whsec_YWI", [b"ab", b"whsec_YWI"]),
        (b"\xff\xfe", [b"\xff\xfe"]),
        (b"====", [b"===="]),
    ],
)
def test_what_a_secret_of_standard_webhooks_may_stand_for(secret: bytes, keys: list[bytes]) -> None:
    assert keys_for(secret) == keys


@pytest.mark.parametrize("kind", ["shopify", "woocommerce", "fastspring", "lemonsqueezy"])
def test_openssl_signs_the_same(kind: str) -> None:
    command = ["openssl", "dgst", "-sha256", "-hmac", "plain-secret", "-binary"]
    made = subprocess.run(command, input=BODY, capture_output=True, check=True).stdout
    text = made.hex() if kind == "lemonsqueezy" else base64.b64encode(made).decode()
    name, _ = message(kind, BODY).headers[-1]
    assert verify(kind, Message(((name, text),), BODY, 0), "plain-secret").accepted
