"""Signatures, compared with the vendors' own libraries on invented secrets, bodies and times.

These libraries take a second to import, so only the process that runs these tests imports them.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.platforms.interface import TOLERANCE_SECONDS, Message, Verdict
from gateway.platforms.registry import PLATFORMS
from tests.support.webhooks import digest, message

logging.getLogger("paddle_billing").setLevel(logging.CRITICAL)


def verify(kind: str, sent: Message, *secrets: str, now: float) -> Verdict:
    return PLATFORMS[kind].verify(sent, secrets, now)


secrets = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=40)
bodies = st.text(st.characters(codec="utf-8"), max_size=60)
header_texts = st.text("tv1,=;h0ax. \u00e9", max_size=40)


ages = st.one_of(st.integers(-600, -310), st.integers(-290, 290), st.integers(310, 600))
"""Not within 10 s of the tolerance, because the libraries read the clock themselves."""


@given(secrets, bodies, ages, header_texts)
def test_stripes_library_agrees(secret: str, body: str, age: int, junk: str) -> None:
    """We accept what it signs while it is new, and nothing that it refuses."""
    import stripe  # noqa: PLC0415 - see above

    now = int(time.time())
    made = stripe.WebhookSignature.generate_signature_header(body, secret, now - age)
    for header in (made, f"{made},{junk}", f"{junk},{made}", junk, made[:-1], made.replace("v1", "v0")):
        sent = Message((("stripe-signature", header),), body.encode(), 0)
        accepted = verify("stripe", sent, secret, now=now).accepted
        theirs = False
        with contextlib.suppress(stripe.SignatureVerificationError, ValueError, IndexError):
            theirs = stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_SECONDS)
        assert theirs or not accepted
        if header == made:
            assert accepted is (abs(age) <= TOLERANCE_SECONDS)


@given(st.binary(min_size=1, max_size=64), bodies, ages, st.text("v1a,=+/", max_size=60))
def test_the_library_of_standard_webhooks_agrees(key: bytes, body: str, age: int, junk: str) -> None:
    import standardwebhooks  # noqa: PLC0415 - see above

    now = int(time.time())
    secret = "whsec_" + base64.b64encode(key).decode()
    moment = str(now - age)
    signed = base64.b64encode(digest(key, b"msg_1.", moment.encode(), b".", body.encode())).decode()
    for header in (
        f"v1,{signed}",
        f"v2,x v1,{signed}",
        f"v2,{signed}",
        f"v1a,{signed}",
        f"v1,{signed[:-1]}",
        junk,
    ):
        headers = {"webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": header}
        sent = Message(tuple(headers.items()), body.encode(), 0)
        accepted = verify("polar", sent, secret, now=now).accepted
        theirs = False
        with contextlib.suppress(Exception):  # it raises whatever b64decode raises
            standardwebhooks.Webhook(secret).verify(body, headers, json_parse=False)
            theirs = True
        assert theirs or not accepted
        if header.endswith(f"v1,{signed}"):
            assert accepted is theirs is (abs(age) <= TOLERANCE_SECONDS)


@pytest.mark.slow
@given(secrets, bodies, ages)
def test_paddles_library_agrees(secret: str, body: str, age: int) -> None:
    from paddle_billing.Notifications import Secret, Verifier  # noqa: PLC0415 - see above

    now = int(time.time())
    sent = message("paddle", body.encode(), secret=secret, now=now - age)
    new = abs(age) <= TOLERANCE_SECONDS
    assert verify("paddle", sent, "another", secret, now=now).accepted is new
    request: Any = SimpleNamespace(headers={"Paddle-Signature": sent.headers[0][1]}, body=body.encode())
    assert Verifier(TOLERANCE_SECONDS).verify(request, [Secret(secret)]) is new
