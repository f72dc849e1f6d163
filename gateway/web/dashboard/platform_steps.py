"""What the seller does on each platform, as the page of a connection tells it. docs/platforms/ has the same.

The texts are marked for the catalogue with `_`; the page translates them. Names of menus stay as the platform
writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_ = str


@dataclass(frozen=True)
class Guide:
    """menu: where webhooks are set up. secret: where the signing secret comes from.

    api_key: what an API key is for and where it comes from; empty where it is of no use. shop: whether the
    API needs the shop's address. note: what else is to be known.
    """

    menu: str
    secret: str
    api_key: str = ""
    shop: bool = False
    note: str = ""


_SHOWN: Final = _("The platform shows the secret when the webhook is made.")

GUIDES: Final[dict[str, Guide]] = {
    "stripe": Guide(
        "Developers → Webhooks → Add endpoint",
        _("Reveal the signing secret (whsec_…) of the endpoint, and copy the whole text."),
        _(
            "A restricted key (rk_…) that may read Checkout sessions, invoices, refunds and events. Without "
            "it, "
            "what is in an order is not known."
        ),
    ),
    "shopify": Guide(
        "Settings → Notifications → Webhooks",
        _("The same page shows the key with which the webhooks are signed."),
        _("An Admin API token with read_orders finds orders whose webhooks were lost."),
        shop=True,
        note=_("Make one webhook for each event, all in the format JSON."),
    ),
    "woocommerce": Guide(
        "WooCommerce → Settings → Advanced → Webhooks",
        _("Make up a secret of 20 characters or more, and enter the same on both sides."),
        _(
            "A key with Read, under Advanced → REST API: both parts, joined by a colon (ck_…:cs_…). It tells "
            "what "
            "a refund returns, and finds what was lost."
        ),
        shop=True,
        note=_(
            "WooCommerce greets the address when the webhook is saved, and stops after five failures in a "
            "row."
        ),
    ),
    "fastspring": Guide(
        "Developer Tools → Webhooks → Configuration",
        _("Enter an HMAC SHA256 secret there, and the same here."),
        _(
            "API credentials, joined by a colon (name:password). They tell what a renewal contains, and find "
            "what "
            "was lost."
        ),
    ),
    "paddle": Guide(
        "Developer tools → Notifications → New destination (webhook)",
        _("The destination's secret key (pdl_ntf_…)."),
        _("An API key that may read customers: without it, who bought may not be known."),
    ),
    "lemonsqueezy": Guide(
        "Settings → Webhooks",
        _("Make up a secret of 20 characters or more, and enter the same on both sides."),
        _(
            "An API key finds lost orders: Lemon Squeezy tries three times within three minutes, and "
            "never again."
        ),
    ),
    "gumroad": Guide(
        "Settings → Advanced → Ping",
        _(
            "Make up a long secret of letters and digits. Gumroad signs nothing, so the secret is the "
            "end of the address: ADDRESS/SECRET."
        ),
        _("An access token with the scope view_sales. It is necessary: a ping grants nothing by itself."),
    ),
    "polar": Guide(
        "Settings → Webhooks → Add endpoint (format Raw)",
        _SHOWN,
    ),
}
"""By the kind of the platform."""
