"""Signatures, with the package of the specification's authors as the judge."""

from __future__ import annotations

import base64
import time

import pytest
import standardwebhooks

from gateway.webhooks.signing import SECRET, headers, new_secret, sign

BODY = '{"type":"order.paid","data":{"number":"ä"}}'.encode()


def test_the_example_of_the_specification() -> None:
    """github.com/standard-webhooks/standard-webhooks, the test of its libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


def test_a_secret_has_32_random_bytes() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for each in secrets:
        assert SECRET.fullmatch(each)
        assert len(base64.b64decode(each.removeprefix("whsec_"), validate=True)) == 32


def test_the_authors_library_accepts_each_of_two_signatures() -> None:
    secrets = [new_secret(), new_secret()]
    signed = headers(secrets, "msg_1", int(time.time()), BODY)
    for secret in secrets:
        assert standardwebhooks.Webhook(secret).verify(BODY, signed)["type"] == "order.paid"


@pytest.mark.parametrize(
    "changed", ["webhook-id", "webhook-timestamp", "webhook-signature", "body", "secret"]
)
def test_it_accepts_nothing_else(changed: str) -> None:
    secret = new_secret()
    signed = headers([secret], "msg_1", int(time.time()), BODY)
    body = BODY + b" " if changed == "body" else BODY
    if changed in signed:
        moved = str(int(time.time()) - 1)
        other = {"webhook-id": "msg_2", "webhook-timestamp": moved}
        signed[changed] = other.get(changed, sign(new_secret(), "msg_1", int(time.time()), BODY))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new_secret() if changed == "secret" else secret).verify(body, signed)
