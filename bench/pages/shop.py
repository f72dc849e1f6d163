"""A large shop as rows of the tables: whom it sold what, in the shapes that make pages slow.

Few products are bought by most (Zipf), and so are few items that nobody has mapped. Some customers are
resellers with very many purchases. A tenth of what is bought is never downloaded, some downloads are never
completed, some links are shared, some webhooks and mails have failed. Rows come in the order in which things
happened. The same plan makes the same rows but for the present time, from which all moments are counted.

A row is a tuple of the values that the driver gets, in the order of its COLUMNS. What no page reads is left
out: facts, references of orders, items of lines, and customers of days.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

from gateway.manifest import Manifest, ManifestFile

DAYS: Final = 730
"""Of the shop's past."""
DAY_MS: Final = 86_400_000
PRODUCTS: Final = 200
VERSIONS: Final = ("1.0.0", "1.1.0", "2.0.0")
FILES: Final = 3
"""Files of a version at most; a third of the versions each has one, two and three."""
UNMAPPED_ITEMS: Final = 400
UNMAPPED_PART: Final = 0.02
"""Of the lines of orders."""
RESELLERS: Final = 20
RESELLER_PURCHASES: Final = 2_000
ORDERS_A_CUSTOMER: Final = 2.5
NEVER_PART: Final = 0.1
DIRECT_PART: Final = 0.2
"""Of the tokens: made by the shop itself, without an entitlement."""
SHARED_PART: Final = 0.002
OPEN_PART: Final = 0.08
STATUSES: Final = (("paid", 93), ("refunded", 4), ("disputed", 1), ("cancelled", 2))
CLIENTS: Final = (
    ("browser", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", 70),
    ("aria2", "aria2/1.37.0", 12),
    ("curl", "curl/8.5.0", 8),
    ("download manager", "Free Download Manager/6", 6),
    ("bot", "Googlebot/2.1", 4),
)
FIRST_NAMES: Final = ("anna", "ben", "chloe", "david", "emma", "felix", "grace", "hugo", "iris", "jo")
LAST_NAMES: Final = (
    "adams",
    "becker",
    "costa",
    "dubois",
    "evans",
    "fischer",
    "garcia",
    "haas",
    "ito",
    "king",
)
DETAILS: Final = '{"ip":null,"total":{"amount":"29.00","currency":"EUR"},"unassigned":[]}'
"""What else an order has: see gateway.orders.order_writer."""
KINDS: Final = ("stripe", "shopify", "woocommerce")

Row = tuple[Any, ...]


def identifier(kind: str, number: int) -> str:
    """An id of 26 characters, which sorts by its number as ids of the gateway do by their moment."""
    return f"{kind}{number:025d}"


def scattered(number: int, digits: int) -> str:
    """Hexadecimal digits that lie anywhere, as those of a hash do: another number gives other ones."""
    return f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 4 * digits):0{digits}x}"


def address_of(customer: int) -> str:
    """The address of a customer."""
    first, last = FIRST_NAMES[customer % 10], LAST_NAMES[customer // 10 % 10]
    return f"{first}.{last}{customer}@example.com"


def product_id(product: int) -> str:
    """The id of a product; the first one is bought most."""
    return f"product-{product:03}"


def manifest_of(product: int, version: str) -> Manifest:
    """The files of a version."""
    name = product_id(product)
    files = tuple(
        ManifestFile(
            f"{name}-{version}-part{number + 1}.zip",
            (number + 1) * 40_000_000,
            "application/zip",
            scattered(product * 100 + VERSIONS.index(version) * 10 + number, 64),
            "00000000",
            "local",
            f"{name}/{version}/{number}.zip",
            1,
        )
        for number in range(1 + (product + VERSIONS.index(version)) % FILES)
    )
    return Manifest(name, version, files)


class Chooser:
    """Chooses among a number of things, of which the first is chosen most: the n-th a n-th as often."""

    def __init__(self, chosen: random.Random, count: int) -> None:
        self._random = chosen
        self._places = range(count)
        self._weights = list(accumulate(1 / (place + 1) for place in range(count)))

    def __call__(self) -> int:
        """One of them."""
        return self._random.choices(self._places, cum_weights=self._weights)[0]


@dataclass(frozen=True)
class ShopPlan:
    """How large the shop is. end: the present, ms since 1970 UTC."""

    customers: int
    downloads: int
    end: int
    products: int = PRODUCTS

    @property
    def start(self) -> int:
        """When the shop opened, ms."""
        return self.end - DAYS * DAY_MS

    @property
    def resellers(self) -> int:
        """The first so many customers are resellers."""
        return min(RESELLERS, max(1, self.customers // 50))

    @property
    def purchases_of_reseller(self) -> int:
        """Orders of each."""
        return min(RESELLER_PURCHASES, max(5, self.customers // 10))


@dataclass
class Shop:
    """The rows. connections: the ids of the shop accounts. webhook: the id of the endpoint.

    `orders` has to be read to its end before `tokens`, which needs to know what was bought.
    """

    plan: ShopPlan
    connections: Sequence[str]
    webhook: str
    owners: array[int] = field(default_factory=lambda: array("l"))
    products: array[int] = field(default_factory=lambda: array("h"))
    placed: array[int] = field(default_factory=lambda: array("q"))

    @cached_property
    def _random(self) -> random.Random:
        return random.Random(46)

    def customers(self) -> Iterator[dict[str, Row]]:
        """Customers, each with an address."""
        span = self.plan.end - self.plan.start
        for number in range(self.plan.customers):
            name = f"{FIRST_NAMES[number % 10]} {LAST_NAMES[number // 10 % 10]}".title()
            created = self.plan.start + span * number // self.plan.customers
            email = address_of(number)
            yield {
                "customer": (identifier("c", number), name, created, None),
                "customer_email": (email, identifier("c", number), email, True, created),
            }

    def _buyers(self) -> list[int]:
        """Who bought each order, in the order of time."""
        plan = self.plan
        buyers = [number for number in range(plan.resellers) for _ in range(plan.purchases_of_reseller)]
        others = range(plan.resellers, plan.customers)
        buyers += others  # everybody has bought something
        buyers += self._random.choices(others, k=int((ORDERS_A_CUSTOMER - 1) * plan.customers))
        self._random.shuffle(buyers)
        return buyers

    def orders(self) -> Iterator[dict[str, Row]]:
        """Orders, each with a line, and with what it granted unless nobody has said which product it is."""
        plan, chosen = self.plan, self._random
        product, item = Chooser(chosen, plan.products), Chooser(chosen, UNMAPPED_ITEMS)
        words, weights = [word for word, _ in STATUSES], [weight for _, weight in STATUSES]
        buyers = self._buyers()
        span = plan.end - plan.start
        for number, buyer in enumerate(buyers):
            placed = plan.start + span * number // len(buyers)
            source = self.connections[number % len(self.connections)]
            customer, order, line = (
                identifier("c", buyer), identifier("o", number), identifier("l", number)
            )  # fmt: skip
            [status] = chosen.choices(words, weights)
            bought, waits = product(), chosen.random() < UNMAPPED_PART
            email = address_of(buyer)
            key, value = ("sku", f"ITEM-{item()}") if waits else ("sku", product_id(bought))
            rows: dict[str, Row] = {
                "order": (
                    order, source, f"ext-{number}", source, customer, customer, email, email,
                    f"#{1000 + number}", status, placed, False, "DE", DETAILS, placed, placed, placed, None,
                ),
                "order_line": (
                    line, order, "1", 0, key, value, f"Title of {value}", 1, 0, waits, False, source,
                ),
            }  # fmt: skip
            if not waits:
                state = "active" if status == "paid" else "suspended" if status == "disputed" else "revoked"
                right = len(self.owners)
                self.owners.append(buyer)
                self.products.append(bought)
                self.placed.append(placed)
                reasons = "[]" if state == "active" else f'["order_{status}"]'
                rows["entitlement"] = (
                    identifier("e", right), customer, line, product_id(bought), "all", None, None, 1,
                    f'["{state}",{reasons},1]', 1, state, reasons, None, None, False, state, placed, placed,
                )  # fmt: skip
            yield rows

    def events(self) -> Iterator[dict[str, Row]]:
        """Webhooks of the last weeks, a hundredth of which failed; mails; and messages to the endpoint."""
        plan = self.plan
        count = max(200, plan.customers // 2)
        first = plan.end - 20 * DAY_MS
        body = b'{"id":"evt","note":"' + b"x" * 900 + b'"}'
        for number in range(count):
            at = first + 20 * DAY_MS * number // count
            source = self.connections[number % len(self.connections)]
            is_bad = number % 100 == 7
            state, error = ("failed", "the order has no customer") if is_bad else ("applied", None)
            email, customer = address_of(number % plan.customers), identifier("c", number % plan.customers)
            sent = "failed" if is_bad else "sent"
            message = identifier("v", number)
            attempt = f"[[{at},{500 if is_bad else 200},40,null]]"
            yield {
                "inbox": (
                    identifier("i", number), source, f"evt_{number}", "order.paid", state, error, at, at,
                    None, 1, '[["Content-Type","application/json"]]', body,
                ),
                "outbox_mail": (
                    identifier("m", number), "ready", 2, sent, None, customer, email, "en", "{}", None, at,
                    None, None, 1, at, 550 if is_bad else 250, None,
                ),
                "webhook_event": (
                    message, None, "download.completed", at, '{"tokenId":"x"}', customer, at,
                ),
                "outbox_webhook": (
                    identifier("d", number), self.webhook, message, "failed" if is_bad else "delivered", None,
                    None, 1, attempt,
                ),
            }  # fmt: skip

    def never(self, right: int) -> bool:
        """Whether nobody downloads what was bought."""
        return right * 0x9E3779B1 % (1 << 32) < NEVER_PART * (1 << 32)
