"""Webhooks as the platforms send them, each signed, each of an order of its own.

The bodies have the fields and the size that the platforms' have. `WEBHOOKS` makes them from templates that
are written once, so that signing is most of the generator's work.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.load.client import LoadConnection
from bench.load.loops import OpenLoop

SECRET: Final = "whsec_a-secret-of-the-bench"
_NUMBER: Final = 100_000_000_001
"""Stands in templates for the number of the order: as many digits as each number has."""
_PLACE: Final = str(_NUMBER).encode()
_BASE: Final = 100_000_000_002
_ADDRESS: Final = {
    "first_name": "Ann",
    "last_name": "Example",
    "name": "Ann Example",
    "company": None,
    "address1": "Hauptplatz 1",
    "address2": "",
    "city": "Graz",
    "province": "Steiermark",
    "zip": "8010",
    "country": "AT",
    "country_code": "AT",
    "phone": None,
}
_MAIL: Final = f"customer.{_NUMBER}@example.com"


def _stripe() -> dict[str, Any]:
    customer = {"address": {"city": "Graz", "country": "AT", "line1": "Hauptplatz 1", "postal_code": "8010"}}
    texts = ("url", "client_secret", "locale", "recovered_from", "setup_intent", "submit_type", "ui_mode")
    item = {
        "id": f"li_{_NUMBER}",
        "object": "item",
        "amount_total": 2900,
        "currency": "eur",
        "description": "Drums",
        "quantity": 1,
        "price": {"id": "price_Drums", "object": "price", "product": "prod_Drums", "unit_amount": 2900},
    }
    session = {
        "id": f"cs_live_{_NUMBER}",
        "object": "checkout.session",
        "amount_subtotal": 2900,
        "amount_total": 2900,
        "automatic_tax": {"enabled": True, "liability": {"type": "self"}, "status": "complete"},
        "billing_address_collection": "required",
        "cancel_url": "https://shop.example/cancelled",
        "created": 1_790_000_000,
        "currency": "eur",
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None},
        "customer": f"cus_{_NUMBER}",
        "customer_details": {**customer, "email": _MAIL, "name": "Ann Example", "tax_exempt": "none"},
        "line_items": {"object": "list", "data": [item], "has_more": False},
        "livemode": True,
        "metadata": {"campaign": "autumn"},
        "mode": "payment",
        "payment_intent": f"pi_{_NUMBER}",
        "payment_method_types": ["card", "link", "paypal"],
        "payment_status": "paid",
        "status": "complete",
        "success_url": "https://shop.example/thanks?session_id={CHECKOUT_SESSION_ID}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 483},
        **dict.fromkeys(texts),
    }
    return {
        "id": f"evt_{_NUMBER}",
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": 1_790_000_000,
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "checkout.session.completed",
        "data": {"object": session},
    }


def _shopify() -> dict[str, Any]:
    money = {"amount": "29.00", "currency_code": "EUR"}
    both = {"shop_money": money, "presentment_money": money}
    lines = [
        {
            "id": _NUMBER,
            "admin_graphql_api_id": f"gid://shopify/LineItem/{_NUMBER}",
            "current_quantity": 1,
            "fulfillable_quantity": 1,
            "fulfillment_service": "manual",
            "gift_card": False,
            "grams": 0,
            "name": f"{title} - Full",
            "price": "29.00",
            "price_set": both,
            "product_exists": True,
            "product_id": 632910392,
            "properties": [],
            "quantity": 1,
            "requires_shipping": False,
            "sku": title.upper(),
            "taxable": True,
            "title": title,
            "total_discount": "0.00",
            "total_discount_set": both,
            "variant_id": 39072856,
            "variant_title": "Full",
            "vendor": "Acme",
            "tax_lines": [{"price": "4.83", "price_set": both, "rate": 0.2, "title": "MwSt"}],
            "duties": [],
            "discount_allocations": [],
        }
        for title in ("Drums",)
    ]
    moment = "2026-09-21T15:00:05+02:00"
    return {
        "id": _NUMBER,
        "admin_graphql_api_id": f"gid://shopify/Order/{_NUMBER}",
        "browser_ip": "192.0.2.7",
        "buyer_accepts_marketing": False,
        "cancelled_at": None,
        "client_details": {
            "accept_language": "de-AT",
            "browser_ip": "192.0.2.7",
            "user_agent": "Mozilla/5.0",
        },
        "confirmed": True,
        "contact_email": _MAIL,
        "created_at": moment,
        "currency": "EUR",
        **dict.fromkeys(
            (
                "current_subtotal_price_set",
                "current_total_discounts_set",
                "current_total_price_set",
                "current_total_tax_set",
                "total_line_items_price_set",
                "total_outstanding_set",
                "total_price_set",
                "total_shipping_price_set",
            ),
            both,
        ),
        "email": _MAIL,
        "financial_status": "paid",
        "name": f"#{_NUMBER}",
        "order_number": _NUMBER,
        "processed_at": moment,
        "test": False,
        "total_price": "29.00",
        "updated_at": moment,
        "billing_address": _ADDRESS,
        "shipping_address": _ADDRESS,
        "customer": {"id": _NUMBER, "email": _MAIL, **_ADDRESS, "default_address": _ADDRESS},
        "line_items": lines,
        "refunds": [],
        "shipping_lines": [],
    }


def _woocommerce() -> dict[str, Any]:
    moment = "2026-09-21T13:00:05"
    line = {
        "id": _NUMBER,
        "name": "Drums - Full",
        "product_id": 93,
        "variation_id": 94,
        "quantity": 1,
        "tax_class": "",
        "subtotal": "24.17",
        "subtotal_tax": "4.83",
        "total": "24.17",
        "total_tax": "4.83",
        "taxes": [{"id": 1, "total": "4.833333", "subtotal": "4.833333"}],
        "meta_data": [{"id": 1, "key": "pa_edition", "value": "full", "display_key": "Edition"}],
        "sku": "DRUMS-FULL",
        "price": 24.166667,
        "image": {"id": "12", "src": "https://shop.example/wp-content/uploads/drums.jpg"},
        "parent_name": "Drums",
    }
    links = {"self": [{"href": f"https://shop.example/wp-json/wc/v3/orders/{_NUMBER}"}]}
    return {
        "id": _NUMBER,
        "parent_id": 0,
        "status": "completed",
        "currency": "EUR",
        "version": "9.9.5",
        "prices_include_tax": True,
        "date_created_gmt": moment,
        "date_modified_gmt": moment,
        "date_paid_gmt": moment,
        "total": "29.00",
        "total_tax": "4.83",
        "customer_id": _NUMBER,
        "order_key": f"wc_order_{_NUMBER}",
        "billing": {**_ADDRESS, "email": _MAIL},
        "shipping": _ADDRESS,
        "payment_method": "stripe",
        "customer_ip_address": "192.0.2.7",
        "customer_user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "created_via": "checkout",
        "number": str(_NUMBER),
        "meta_data": [
            {"id": place, "key": f"_attribution_{place}", "value": "x" * 20} for place in range(12)
        ],
        "line_items": [line],
        "tax_lines": [
            {"id": 1, "rate_code": "AT-MWST-1", "rate_id": 1, "label": "MwSt", "tax_total": "4.83"}
        ],
        "shipping_lines": [],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
        "_links": links,
    }


def _fastspring() -> dict[str, Any]:
    shown = {"subtotalInPayoutCurrency": 31.0, "subtotalDisplay": "29,00 \u20ac", "discount": 0.0}
    item = {
        "product": "drums-full",
        "quantity": 1,
        "display": "Drums, full",
        "sku": "DRUMS-FULL",
        "subtotal": 29.0,
        "attributes": {"edition": "full"},
        "fulfillments": {},
        **shown,
    }
    person = {"first": "Ann", "last": "Example", "email": _MAIL, "company": None, "phone": None}
    order = {
        "order": f"order-{_NUMBER}",
        "id": f"order-{_NUMBER}",
        "reference": f"ACM{_NUMBER}",
        "ipAddress": "192.0.2.7",
        "completed": True,
        "changed": 1_790_000_000_000,
        "language": "de",
        "live": True,
        "currency": "EUR",
        "payoutCurrency": "USD",
        "invoiceUrl": f"https://acme.onfastspring.com/account/order/ACM{_NUMBER}/invoice",
        "account": f"account-{_NUMBER}",
        "total": 29.0,
        "tax": 4.83,
        "subtotal": 24.17,
        **shown,
        "payment": {"type": "creditcard", "creditcard": "visa", "cardEnding": "4242"},
        "customer": person,
        "address": {"city": "Graz", "postalCode": "8010", "country": "AT", "addressLine1": "Hauptplatz 1"},
        "recipients": [{"recipient": {**person, "address": {"city": "Graz", "country": "AT"}}}],
        "tags": {},
        "notes": [],
        "items": [item],
    }
    event = {
        "id": f"event-{_NUMBER}",
        "processed": False,
        "created": 1_790_000_000_123,
        "type": "order.completed",
        "live": True,
        "data": order,
    }
    return {"events": [event]}


def _mac(*parts: bytes) -> bytes:
    return hmac.new(SECRET.encode(), b"".join(parts), hashlib.sha256).digest()


def _sign_stripe(body: bytes, _number: bytes) -> bytes:
    moment = str(int(time.time())).encode()
    return b"Stripe-Signature: t=%b,v1=%b\r\n" % (moment, _mac(moment, b".", body).hex().encode())


def _sign_shopify(body: bytes, number: bytes) -> bytes:
    return (
        b"X-Shopify-Topic: orders/paid\r\nX-Shopify-Webhook-Id: %b\r\nX-Shopify-API-Version: 2026-07\r\n"
        b"X-Shopify-Shop-Domain: acme.myshopify.com\r\nX-Shopify-Hmac-Sha256: %b\r\n"
    ) % (number, base64.b64encode(_mac(body)))


def _sign_woocommerce(body: bytes, _number: bytes) -> bytes:
    return (
        b"X-WC-Webhook-Source: https://shop.example/\r\nX-WC-Webhook-Topic: order.updated\r\n"
        b"X-WC-Webhook-Signature: %b\r\n"
    ) % base64.b64encode(_mac(body))


def _sign_fastspring(body: bytes, _number: bytes) -> bytes:
    return b"X-FS-Signature: %b\r\n" % base64.b64encode(_mac(body))


@dataclass(frozen=True)
class WebhookKind:
    """A platform. sign: makes the header fields of its signature, from a body and the order's number."""

    name: str
    template: bytes
    sign: Callable[[bytes, bytes], bytes]
    agent: str

    def request(self, path: str, number: int) -> bytes:
        """A whole request. number: of the order, which has its own event."""
        text = str(_BASE + number).encode()
        body = self.template.replace(_PLACE, text)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: downloads.example\r\nUser-Agent: {self.agent}\r\n"
            f"Content-Type: application/json; charset=utf-8\r\nAccept: */*\r\nContent-Length: {len(body)}\r\n"
        )
        return b"%b%b\r\n%b" % (head.encode(), self.sign(body, text), body)


def _kind(
    name: str, template: dict[str, Any], sign: Callable[[bytes, bytes], bytes], agent: str
) -> WebhookKind:
    return WebhookKind(name, json.dumps(template, separators=(",", ":")).encode(), sign, agent)


WEBHOOKS: Final = (
    _kind("stripe", _stripe(), _sign_stripe, "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
    _kind("shopify", _shopify(), _sign_shopify, "Shopify-Captain-Hook"),
    _kind("woocommerce", _woocommerce(), _sign_woocommerce, "WooCommerce/9.9.5 Hookshot (WordPress/6.8)"),
    _kind("fastspring", _fastspring(), _sign_fastspring, "Apache-HttpClient/4.5.13"),
)
"""The platforms in turn."""


_FOUND: Final = re.compile(rb"customer\.([0-9]{12})@")


def order_number(body: bytes) -> int:
    """The number of the order in a body; -1 where it is none of ours."""
    found = _FOUND.search(body)
    return int(found[1]) - _BASE if found else -1


class WebhookLoop(OpenLoop):
    """Sends signed webhooks at a fixed rate, and notes which of them were taken (status 200).

    paths: of the connections, one for each of WEBHOOKS, or fewer.
    """

    def __init__(self, *given: Any, paths: dict[str, str], junk: bool = False) -> None:
        super().__init__(*given)
        self._makers = [(kind, paths[kind.name]) for kind in WEBHOOKS if kind.name in paths]
        self._junk = junk
        self._under_way: dict[float, int] = {}
        self.taken: list[int] = []
        self.sent = 0

    def request_due(self, due: float) -> bytes:
        """Make the next request."""
        number, self.sent = self.sent, self.sent + 1
        self._under_way[due] = number
        kind, path = self._makers[number % len(self._makers)]
        made = kind.request(path, number)
        return made[:-2] + b" }" if self._junk else made

    def on_idle(self, connection: LoadConnection) -> None:
        if self._waiting:
            due = self._waiting.popleft()
            connection.send(self.request_due(due), due)
        else:
            self._idle.append(connection)

    def _send(self, due: float) -> None:
        if self._idle:
            self._idle.popleft().send(self.request_due(due), due)
        else:
            self._waiting.append(due)

    def on_response(self, status: int, due: float) -> None:
        super().on_response(status, due)
        number = self._under_way.pop(due)
        if status == 200:
            self.taken.append(number)

    def on_fault(self, reason: str, due: float | None) -> None:
        super().on_fault(reason, due)
        if due is not None:
            self._under_way.pop(due, None)
