"""The table of platforms, and what every row promises."""

from __future__ import annotations

import pytest

from gateway.platforms.interface import EXPLANATIONS, Answer, Message, Reason, mode_fault
from gateway.platforms.registry import PLATFORMS
from tests.support.webhooks import SECRETS


def test_the_kinds() -> None:
    assert list(PLATFORMS) == [
        *("stripe", "shopify", "woocommerce", "fastspring", "paddle", "lemonsqueezy", "gumroad", "polar"),
    ]
    assert all(kind == platform.kind for kind, platform in PLATFORMS.items())
    assert all(platform.events and platform.title for platform in PLATFORMS.values())


def test_every_reason_is_explained_without_secrets() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert not any(secret in text for text in EXPLANATIONS.values() for secret in SECRETS.values())


@pytest.mark.parametrize("kind", PLATFORMS)
def test_the_answers(kind: str) -> None:
    """200 and nothing else where all was taken; the platform tries again where nothing was."""
    platform = PLATFORMS[kind]
    readings = platform.read(Message((), b"{", 0))
    assert platform.answer(readings, [each.event.dedupe_key for each in readings]) == Answer(200)
    assert platform.answer(readings, []) == Answer(503)


def test_only_woocommerce_greets() -> None:
    greeting = Message((), b"webhook_id=1", 0)
    assert [kind for kind, platform in PLATFORMS.items() if platform.is_ping(greeting)] == ["woocommerce"]


@pytest.mark.parametrize(
    ("test", "live", "fits"),
    [
        (False, True, True),
        (True, False, True),
        (None, True, True),
        (None, False, True),
        (True, True, False),
        (False, False, False),
    ],
)
def test_test_and_live_never_mix(test: bool | None, live: bool, fits: bool) -> None:
    assert (mode_fault(test, live) is None) is fits
