"""How many examples a property is tried on: a tenth in `make test`, all of them in `make test-slow`."""

from __future__ import annotations

from typing import Final

from hypothesis import settings

USUAL: Final = 100
"""Examples of a property that names no number of its own: as many as Hypothesis tries by default."""
SHARE: Final = 10

_thorough = False


def try_thoroughly(thorough: bool) -> None:
    """Set how many examples are tried; called once, before the first test module is imported."""
    global _thorough  # noqa: PLW0603 - one setting of a whole test run
    _thorough = thorough
    settings.register_profile("gateway", max_examples=examples(USUAL), deadline=None)
    settings.load_profile("gateway")


def examples(number: int) -> int:
    """How many examples to try of a property that is worth `number` of them."""
    return number if _thorough else number // SHARE
