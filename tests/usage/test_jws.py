"""Compact JWS with Ed25519: the examples of RFC 8037, what was changed, and what is of another kind."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.usage import jws
from gateway.usage.jws import BadSignature
from tests.support.rows import each_row

D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
SIGNED = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


PRIVATE = raw(D)
NAME = jws.thumbprint(raw(X))
KEYS = {NAME: raw(X)}


def test_the_examples_of_rfc_8037() -> None:
    """Appendix A: the public key (A.2), its thumbprint (A.3), and the signature of a payload (A.4)."""
    assert jws.public_of(PRIVATE) == raw(X)
    assert NAME == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert jws.jwk(raw(X)) == {
        "kty": "OKP", "crv": "Ed25519", "x": X, "kid": NAME, "use": "sig", "alg": "EdDSA"
    }  # fmt: skip
    # the example has no `kid`, so the key is found by the name that a header without one has
    assert jws.verify(SIGNED, {"None": raw(X)}) == b"Example of Ed25519 signing"


def test_what_is_signed_can_be_verified() -> None:
    text = jws.sign('{"a":"ü"}'.encode(), PRIVATE)
    assert json.loads(raw(text.split(".")[0])) == {"alg": "EdDSA", "kid": NAME}
    assert jws.verify(f" {text}\n", KEYS) == '{"a":"ü"}'.encode()
    assert jws.read_keys({"keys": [jws.jwk(raw(X)), {"kty": "RSA"}]}) == KEYS


GOOD = jws.sign(b"payload", PRIVATE)
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")


@each_row(
    ("text", "why"),
    [
        ("", "three parts"),
        ("a.b", "three parts"),
        (f"{GOOD}.x", "three parts"),
        (f"{HEADER}.{part(b'other')}.{SIGNATURE}", "wrong"),
        (f"{HEADER}.{PAYLOAD}.{part(b'x' * 64)}", "wrong"),
        (f"{HEADER}.{PAYLOAD}.", "wrong"),
        (f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}é", "base64url"),
        (f"{HEADER}.{PAYLOAD}.{SIGNATURE}==", "base64url"),
        (f"é.{PAYLOAD}.{SIGNATURE}", "base64url|cannot be read"),
        (f"{part(b'no json')}.{PAYLOAD}.{SIGNATURE}", "cannot be read"),
        (f"{part([])}.{PAYLOAD}.{SIGNATURE}", "EdDSA"),
        (f"{part({'alg': 'none', 'kid': NAME})}.{PAYLOAD}.{SIGNATURE}", "EdDSA"),
        (f"{part({'alg': 'HS256', 'kid': NAME})}.{PAYLOAD}.{SIGNATURE}", "EdDSA"),
        (f"{part({'alg': 'EdDSA', 'kid': NAME, 'crit': ['b64']})}.{PAYLOAD}.{SIGNATURE}", "EdDSA"),
        (f"{part({'alg': 'EdDSA', 'kid': 'other'})}.{PAYLOAD}.{SIGNATURE}", "none of the keys"),
        (f"{part({'alg': 'EdDSA', 'kid': NAME, 'more': 1})}.{PAYLOAD}.{SIGNATURE}", "wrong"),
    ],
)
def test_what_was_changed_or_is_of_another_kind_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        jws.verify(text, KEYS)


@pytest.mark.parametrize("document", [[], {}, {"keys": {}}, None, "x"])
def test_what_is_no_set_of_keys_is_refused(document: Any) -> None:
    with pytest.raises(BadSignature, match="keys"):
        jws.read_keys(document)
