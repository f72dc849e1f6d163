"""The table of the platforms' APIs. Polar needs none: its events have everything."""

from __future__ import annotations

from typing import Final

from gateway.platforms.clients import (
    fastspring,
    gumroad,
    lemon_squeezy,
    paddle,
    shopify,
    stripe,
    woocommerce,
)
from gateway.platforms.clients.interface import Client

CLIENTS: Final[dict[str, Client]] = {
    client.kind: client
    for client in (
        stripe.CLIENT,
        shopify.CLIENT,
        woocommerce.CLIENT,
        fastspring.CLIENT,
        paddle.CLIENT,
        lemon_squeezy.CLIENT,
        gumroad.CLIENT,
    )
}
