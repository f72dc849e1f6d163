"""What a dispute asks for: the log, Stripe's fields, and which earlier payments satisfy Visa."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.usage.evidence import MAX_TEXT, Access, Payment, access_log, stripe_evidence, visa_evidence

NOON = 1_790_596_800_000_000
"""2026-09-28 12:00 UTC, in microseconds."""


def access(number: int = 0, **values: Any) -> Access:
    first = Access(
        NOON + number * 1_000_000, NOON + (number + 1) * 1_000_000, "192.0.2.1", "curl/8", "drums.zip", 1000,
        ((0, 600),), 600, 1, "t" * 32,
    )  # fmt: skip
    return first._replace(**values)


def payment(number: int = 0, **values: Any) -> Payment:
    first = Payment(
        "stripe", f"cs_{number}", None, NOON // 1000, "c1", "ann@example.com", "Ann", "203.0.113.7", "Drums",
        [("charge", f"ch_{number}"), ("payment_intent", f"pi_{number}")],
    )  # fmt: skip
    return first._replace(**values)


def test_a_line_of_the_log() -> None:
    assert access_log([access()]) == (
        "2026-09-28 12:00:00 UTC to 2026-09-28 12:00:01 UTC: 192.0.2.1 received 600 bytes of drums.zip "
        f"(bytes 0-599 of 1000), program curl/8, token {'t' * 32}"
    )


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"address": ""}, ": address not kept received"),
        ({"program": ""}, "program not told"),
        ({"requests": 3}, "600 bytes in 3 requests of"),
        ({"spans": tuple((n * 10, n * 10 + 5) for n in range(6))}, "30-34 and 2 more parts of 1000"),
        ({"file": "x" * 500}, "of " + "x" * 300 + " (bytes"),
    ],
)
def test_what_a_line_says(values: dict[str, Any], part: str) -> None:
    assert part in access_log([access(**values)])


def test_the_log_begins_with_the_oldest() -> None:
    log = access_log([access(2), access(0), access(1)]).split("\n")
    assert [line[11:19] for line in log] == ["12:00:00", "12:00:01", "12:00:02"]


def test_a_long_log_lacks_its_middle() -> None:
    log = access_log([access(number) for number in range(1000)])
    lines = log.split("\n")
    assert MAX_TEXT - 500 < len(log) <= MAX_TEXT
    [(place, middle)] = [(place, line) for place, line in enumerate(lines) if line.startswith("(")]
    assert middle == f"({1000 - len(lines) + 1} more requests)"
    assert lines[0].startswith("2026-09-28 12:00:00")
    assert lines[-1].startswith("2026-09-28 12:16:39")
    assert abs(2 * place - len(lines)) <= 2


def test_the_fields_of_stripe() -> None:
    assert stripe_evidence(payment(), [access(1), access(0)]) == {
        "access_activity_log": access_log([access(0), access(1)]),
        "customer_email_address": "ann@example.com",
        "customer_name": "Ann",
        "customer_purchase_ip": "203.0.113.7",
        "product_description": "Drums",
        "service_date": "2026-09-28",
    }
    nothing = stripe_evidence(payment(email=None, name=None, ip=None), [])
    assert {name for name, value in nothing.items() if value is None} == {
        "access_activity_log", "customer_email_address", "customer_name", "customer_purchase_ip",
        "service_date",
    }  # fmt: skip


BOTH = ["customer_account_id", "customer_email_address", "customer_purchase_ip"]


@pytest.mark.parametrize(
    ("earlier", "matches", "qualifies"),
    [
        ([], [], False),
        ([payment(1)], [BOTH], False),
        ([payment(1), payment(2)], [BOTH, BOTH], True),
        ([payment(1, ip="198.51.100.1"), payment(2)], [BOTH, BOTH[:2]], False),
        ([payment(1, ip=None), payment(2, ip=None), payment(3, ip=None)], [BOTH[:2]] * 3, False),
        (
            [payment(1, account="c2", email="x@example.com"), payment(2)],
            [["customer_purchase_ip"], BOTH],
            False,
        ),
        ([payment(1, email="x@example.com"), payment(2)], [[BOTH[0], BOTH[2]], BOTH], True),
    ],
)
def test_which_earlier_payments_are_enough_for_visa(
    earlier: list[Payment], matches: list[list[str]], qualifies: bool
) -> None:
    found = visa_evidence(payment(), earlier)
    assert [each["matches"] for each in found["prior_undisputed_transactions"]] == matches
    assert found["qualifies"] is qualifies


def test_the_fields_of_visa() -> None:
    found = visa_evidence(payment(), [payment(1, references=[("payment_intent", "pi_1"), ("x", "y")])])
    assert found["disputed_transaction"] == {
        "charge": "ch_0",
        "customer_account_id": "c1",
        "customer_email_address": "ann@example.com",
        "customer_purchase_ip": "203.0.113.7",
        "product_description": "Drums",
        "merchandise_or_services": "services",
    }
    [prior] = found["prior_undisputed_transactions"]
    assert (prior["charge"], prior["orderId"], prior["placedOn"]) == ("pi_1", "cs_1", "2026-09-28")
    assert (
        visa_evidence(payment(ip=None), [payment(1, ip=None)])["prior_undisputed_transactions"][0]["matches"]
        == BOTH[:2]
    )
