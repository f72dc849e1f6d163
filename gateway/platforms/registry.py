"""The table of platforms."""

from __future__ import annotations

from typing import Final

from gateway.platforms import (
    fastspring,
    gumroad,
    lemon_squeezy,
    paddle,
    polar,
    shopify,
    stripe,
    woocommerce,
)
from gateway.platforms.interface import Platform

PLATFORMS: Final[dict[str, Platform]] = {
    platform.kind: platform
    for platform in (
        stripe.PLATFORM,
        shopify.PLATFORM,
        woocommerce.PLATFORM,
        fastspring.PLATFORM,
        paddle.PLATFORM,
        lemon_squeezy.PLATFORM,
        gumroad.PLATFORM,
        polar.PLATFORM,
    )
}
"""Each platform by its kind, as the admin API names it."""
