"""What each platform sends in the life of an order, made from the fixtures of tests/platforms.

An order has two lines: three drums and one pack of loops. `Story` has the messages of one order in the order
in which they come; each is a payload and further header fields. Numbers make the ids of orders differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.webhooks import changed, fixture

Sent = tuple[Any, dict[str, str]]


@dataclass(frozen=True)
class Story:
    """One order on one platform.

    items: what to map, and to which product. left: the quantity of drums after one was refunded; a platform
    that refunds amounts does not tell of which line. answers: of the platform's API, by path.
    """

    order_id: str
    email: str
    bought: Sent
    one_refunded: Sent
    all_refunded: Sent
    disputed: Sent
    won: Sent
    items: dict[tuple[str, str], str]
    left: int = 2
    answers: dict[str, Any] = field(default_factory=dict)
    after_refund: dict[str, Any] = field(default_factory=dict)


def _email(kind: str, number: int) -> str:
    return f"ann.{kind}.{number}@example.com"


def stripe(number: int) -> Story:
    """Stripe: the lines come from the API; refunds are amounts, and the charge says when all was refunded."""
    session, payment = f"cs_live_{number}", f"pi_{number}"
    email = _email("stripe", number)
    step = iter(range(100))

    def event(name: str, **changes: Any) -> Sent:
        at = next(step)
        base = fixture("stripe", name)
        payload = changed(
            base,
            id=f"evt_{number}_{at}",
            created=1789999000 + 100 * at,
            **{f"data__object__{path}": value for path, value in changes.items()},
        )
        return payload, {}

    def line(identity: str, price: str, quantity: int) -> dict[str, Any]:
        return {
            "id": identity,
            "object": "item",
            "description": price,
            "quantity": quantity,
            "price": {"id": price, "product": f"prod_{price}"},
        }

    lines = [line(f"li_d{number}", "price_Drums", 3), line(f"li_l{number}", "price_Loops", 1)]
    person = {"address": {"country": "AT"}, "email": email, "name": "Ann Example", "phone": None}
    bought = event(
        "checkout_session_completed",
        id=session,
        payment_intent=payment,
        customer=f"cus_{number}",
        customer_details=person,
        payment_link=None,
        metadata={},
    )
    one = event("refund_created", id=f"re_{number}", payment_intent=payment, charge=f"ch_{number}")
    whole = event(
        "charge_refunded", id=f"ch_{number}", payment_intent=payment, refunded=True, amount_refunded=9700
    )
    dispute = {"id": f"dp_{number}", "payment_intent": payment, "charge": f"ch_{number}"}
    opened = event("dispute_created", **dispute)
    closed = event("dispute_created", **dispute, status="won")
    won = changed(closed[0], type="charge.dispute.closed")
    return Story(
        session,
        email,
        bought,
        one,
        whole,
        opened,
        (won, {}),
        {("price", "price_Drums"): "drums.bin", ("price", "price_Loops"): "loops.bin"},
        left=3,
        answers={
            f"/v1/checkout/sessions/{session}/line_items": {
                "object": "list",
                "data": lines,
                "has_more": False,
            }
        },
    )


def shopify(number: int) -> Story:
    """Shopify: refunds have lines."""
    order_id, email = 8209829119461 + number, _email("shopify", number)
    step = iter(range(100))

    def sent(payload: Any, topic: str) -> Sent:
        return payload, {
            "x-shopify-topic": topic,
            "x-shopify-webhook-id": f"w-{number}-{next(step)}",
            "x-shopify-shop-domain": "acme.myshopify.com",
        }

    drums, loops = 10 * order_id, 10 * order_id + 1
    order = changed(
        fixture("shopify", "order_paid"),
        id=order_id,
        name=f"#{number}",
        email=email,
        contact_email=email,
        customer__id=number,
        customer__email=email,
        line_items__0__id=drums,
        line_items__1__id=loops,
        line_items__1__sku="LOOPS",
        line_items__1__variant_id=39072857,
    )
    refund = changed(
        fixture("shopify", "refund_created"),
        id=order_id + 1,
        order_id=order_id,
        refund_line_items__0__line_item_id=drums,
        transactions__0__order_id=order_id,
    )
    rest = changed(
        refund,
        id=order_id + 2,
        refund_line_items=[
            changed(refund["refund_line_items"][0], id=1, quantity=2),
            changed(refund["refund_line_items"][0], id=2, line_item_id=loops),
        ],
    )
    later = {"financial_status": "refunded", "updated_at": "2026-09-21T18:00:00+02:00"}
    whole = changed(order, **later, refunds=[refund, rest])
    dispute = changed(fixture("shopify", "dispute_created"), id=order_id + 3, order_id=order_id)
    return Story(
        str(order_id),
        email,
        sent(order, "orders/paid"),
        sent(refund, "refunds/create"),
        sent(whole, "orders/updated"),
        sent(dispute, "disputes/create"),
        sent(changed(dispute, status="won"), "disputes/update"),
        {("variant", "39072856"): "drums.bin", ("variant", "39072857"): "loops.bin"},
    )


def woocommerce(number: int) -> Story:
    """WooCommerce: the API tells the lines of refunds. A dispute puts the order on hold, as gateways do."""
    order_id, email = 72700 + number, _email("woocommerce", number)
    order = changed(
        fixture("woocommerce", "order_updated"),
        id=order_id,
        number=str(order_id),
        customer_id=number,
        billing__email=email,
        line_items__0__id=10 * order_id,
        line_items__1__id=10 * order_id + 1,
        line_items__1__sku="LOOPS",
        line_items__1__variation_id=95,
    )

    def sent(minute: int, **changes: Any) -> Sent:
        payload = changed(order, date_modified_gmt=f"2026-09-21T14:{minute:02}:00", **changes)
        return payload, {"x-wc-webhook-topic": "order.updated"}

    [refund, _] = fixture("woocommerce", "refunds")
    refund = changed(refund, line_items__0__meta_data__0__value=str(10 * order_id))
    refund["line_items"] = refund["line_items"][:1]
    listed = [{"id": refund["id"], "reason": "", "total": "-29.00"}]
    one = sent(10, refunds=listed)
    path = f"/wp-json/wc/v3/orders/{order_id}"
    return Story(
        str(order_id),
        email,
        sent(0),
        one,
        sent(20, status="refunded", refunds=[*listed, {"id": 724, "reason": "", "total": "-88.00"}]),
        sent(10, status="on-hold"),
        sent(20, status="processing"),
        {("variant", "94"): "drums.bin", ("variant", "95"): "loops.bin"},
        answers={path: one[0], f"{path}/refunds": [refund]},
    )


def fastspring(number: int) -> Story:
    """FastSpring: returns have items; a chargeback that was won is told as FastSpring's own state."""
    order_id, email = f"9qflPQrkR76oKDLO{number:06}", _email("fastspring", number)
    step = iter(range(100))

    def sent(name: str, **changes: Any) -> Sent:
        at = next(step)
        payload = changed(
            fixture("fastspring", name),
            events__0__id=f"event-{number}-{at}",
            events__0__created=1789999000123 + 1000 * at,
            **{f"events__0__data__{path}": value for path, value in changes.items()},
        )
        return payload, {}

    bought = sent(
        "order_completed",
        order=order_id,
        id=order_id,
        reference=f"ACM-{number}",
        customer__email=email,
        recipients__0__recipient__email=email,
        account=f"account-{number}",
        items__1__product="loops",
        items__1__subscription=...,
    )
    item = fixture("fastspring", "return_created")["events"][0]["data"]["items"][0]
    original = {"original__id": order_id, "original__order": order_id, "original__reference": f"ACM-{number}"}
    case = {"order": order_id, "processorCaseId": f"dsp_{number}"}
    return Story(
        order_id,
        email,
        bought,
        sent("return_created", **{"return": f"return-{number}-1"}, **original),
        sent(
            "return_created",
            **{"return": f"return-{number}-2"},
            **original,
            totalReturn=88.0,
            subtotal=88.0,
            items=[changed(item, quantity=2), changed(item, product="loops", sku=None)],
        ),
        sent("chargeback_created", **case),
        sent("chargeback_created", **case, status="WON"),
        {("product", "drums-full"): "drums.bin", ("product", "loops"): "loops.bin"},
    )


STORIES: dict[str, Callable[[int], Story]] = {
    "stripe": stripe,
    "shopify": shopify,
    "woocommerce": woocommerce,
    "fastspring": fastspring,
}
