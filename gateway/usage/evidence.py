"""What a dispute asks for, in the words of those who ask. Pure.

- Stripe: the fields of `dispute.evidence` that a seller of downloads can fill. Each is a text of at most
  MAX_TEXT characters. (https://docs.stripe.com/api/disputes/evidence_object)
- Visa, Compelling Evidence 3.0: the disputed payment, and at least two earlier ones of the same customer, 120
  to 365 days old and never disputed, that share two data of which one is the IP address or the device.
  (https://docs.stripe.com/disputes/api/visa-ce3)

What nobody knows is None: leave it out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

MAX_TEXT: Final = 20_000
"""Characters of one text: Stripe's limit."""
NEEDED_PAYMENTS: Final = 2
_PAYMENT_KINDS: Final = ("charge", "payment_intent", "payment", "transaction")


class Access(NamedTuple):
    """One line of the log: a request that sent bytes of a file. Moments: microseconds since 1970 UTC."""

    started: int
    ended: int
    address: str
    program: str
    file: str
    size: int
    spans: tuple[tuple[int, int], ...]
    sent: int
    requests: int
    token: str


class Payment(NamedTuple):
    """A purchase, as far as a dispute asks for it.

    references: what the platform calls it, as pairs of a kind and a value. placed: ms since 1970 UTC.
    """

    source: str
    order: str
    number: str | None
    placed: int
    account: str | None
    email: str | None
    name: str | None
    ip: str | None
    description: str
    references: Sequence[tuple[str, str]] = ()

    @property
    def charge(self) -> str | None:
        """What the platform calls the payment itself."""
        by_kind = dict(self.references)
        return next((by_kind[kind] for kind in _PAYMENT_KINDS if kind in by_kind), None)


def stripe_evidence(payment: Payment, accesses: Sequence[Access]) -> dict[str, str | None]:
    """The fields of Stripe's evidence."""
    first = min((each.started for each in accesses), default=None)
    return {
        "access_activity_log": access_log(accesses) or None,
        "customer_email_address": payment.email,
        "customer_name": payment.name,
        "customer_purchase_ip": payment.ip,
        "product_description": payment.description[:MAX_TEXT],
        "service_date": None if first is None else _date(first),
    }


def visa_evidence(disputed: Payment, earlier: Iterable[Payment]) -> dict[str, Any]:
    """The fields of Visa's Compelling Evidence 3.0. `qualifies`: whether the earlier payments are enough."""
    prior = [_prior(disputed, each) for each in earlier]
    prior.sort(key=lambda each: "customer_purchase_ip" not in each["matches"])  # the best ones first
    enough = [
        each for each in prior if "customer_purchase_ip" in each["matches"] and len(each["matches"]) > 1
    ]
    return {
        "disputed_transaction": {**_transaction(disputed), "merchandise_or_services": "services"},
        "prior_undisputed_transactions": prior,
        "qualifies": len(enough) >= NEEDED_PAYMENTS,
    }


def _transaction(payment: Payment) -> dict[str, Any]:
    return {
        "charge": payment.charge,
        "customer_account_id": payment.account,
        "customer_email_address": payment.email,
        "customer_purchase_ip": payment.ip,
        "product_description": payment.description[:MAX_TEXT],
    }


_MATCHED: Final = ("customer_account_id", "customer_email_address", "customer_purchase_ip")


def _prior(disputed: Payment, payment: Payment) -> dict[str, Any]:
    own, other = _transaction(disputed), _transaction(payment)
    return {
        **other,
        "source": payment.source,
        "orderId": payment.order,
        "number": payment.number,
        "placedOn": _date(payment.placed * 1000),
        "matches": [name for name in _MATCHED if own[name] is not None and own[name] == other[name]],
    }


def access_log(accesses: Iterable[Access]) -> str:
    """The log, a line for each request, the oldest first. Where it is too long, its middle is left out."""
    lines = [_line(each) for each in sorted(accesses)]
    if sum(map(len, lines)) + len(lines) <= MAX_TEXT:
        return "\n".join(lines)
    half = (MAX_TEXT - 100) // 2
    begin, end = _fitting(lines, half), _fitting(lines[::-1], half)[::-1]
    left_out = len(lines) - len(begin) - len(end)
    return "\n".join([*begin, f"({left_out} more requests)", *end])


def _fitting(lines: Sequence[str], most: int) -> list[str]:
    found: list[str] = []
    for line in lines:
        most -= len(line) + 1
        if most < 0:
            break
        found.append(line)
    return found


MAX_SPANS: Final = 4
MAX_WORDS: Final = 300
"""Characters of a program's name or a file's in one line."""


def _line(each: Access) -> str:
    spans = ", ".join(f"{start}-{stop - 1}" for start, stop in each.spans[:MAX_SPANS])
    more = f" and {len(each.spans) - MAX_SPANS} more parts" if len(each.spans) > MAX_SPANS else ""
    times = "" if each.requests == 1 else f" in {each.requests} requests"
    return (
        f"{_time(each.started)} to {_time(each.ended)}: {each.address or 'address not kept'} received "
        f"{each.sent} bytes{times} of {each.file[:MAX_WORDS]} (bytes {spans}{more} of {each.size}), program "
        f"{each.program[:MAX_WORDS] or 'not told'}, token {each.token}"
    )


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _date(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment // 1_000_000, UTC):%Y-%m-%d}"
