"""What refusals and problems say: what is wrong and what to do, and nothing that does not happen."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from gateway import errors
from gateway.config.portal_link import leads_to_portal
from gateway.config.settings import Settings
from gateway.errors import METHOD_NOT_ALLOWED_HERE, TABLE, Refusal
from gateway.http.pages import refusal_answer
from gateway.web import problems
from tests.support.rows import each_row

CLAIMS = re.compile(
    r"\b(told|notif\w+|inform\w+|report(s|ed)?|contacted|alerted|e-?mail\w*|has been|have been|is being|"
    r"we|our|soon|briefly|shortly|automatically|logged|will)\b",
    re.IGNORECASE,
)
"""Words of claims about what others do, know or have been told, and of promises. A customer's page has none
of them: the gateway writes its log and does nothing else."""

EACH_REFUSAL = each_row(
    "refusal",
    [*TABLE, METHOD_NOT_ALLOWED_HERE],
    ids=lambda refusal: f"{refusal.code}-{dict(refusal.headers).get('Allow', '')}",
)


@EACH_REFUSAL
def test_a_refusal_claims_and_promises_nothing(refusal: Refusal) -> None:
    assert not CLAIMS.search(f"{refusal.title}. {refusal.detail}")
    _, page = refusal_answer(refusal, None, html=True)
    assert refusal.detail in unescape(page.decode())
    _, problem = refusal_answer(refusal, None, html=False)
    assert json.loads(problem)["detail"] == refusal.detail


def test_every_refusal_of_the_module_is_looked_at() -> None:
    made = {value.code for value in vars(errors).values() if isinstance(value, Refusal)}
    assert made == {refusal.code for refusal in TABLE}


@EACH_REFUSAL
def test_methods_are_those_of_the_allow_field(refusal: Refusal) -> None:
    allowed = dict(refusal.headers).get("Allow", "")
    assert all(method in refusal.detail for method in filter(None, allowed.split(", ")))


def test_a_problem_claims_and_promises_nothing() -> None:
    texts = [row.title for row in problems.TABLE.values()]
    texts += [
        made.detail
        for made in (
            problems.key_missing(),
            problems.key_invalid(),
            problems.malformed_request(),
            problems.internal_error(),
            problems.too_large(1),
            problems.method_not_allowed(["GET"]),
        )
    ]
    assert [text for text in texts if CLAIMS.search(text)] == []


HELPED = ("token_missing", "token_invalid", "limit_reached", "bound_elsewhere")
"""Codes of links that a customer can replace."""


@EACH_REFUSAL
def test_a_page_about_a_dead_link_leads_to_the_portal(refusal: Refusal) -> None:
    _, page = refusal_answer(refusal, None, html=True, portal=True)
    assert (b'<a href="/my">Get a fresh link</a>' in page) == (refusal.code in HELPED)
    assert b"/my" not in refusal_answer(refusal, None, html=False, portal=True)[1]
    assert b"/my" not in refusal_answer(refusal, None, html=True)[1], "where there is no portal"


@pytest.mark.parametrize(
    ("values", "leads"),
    [
        ({}, True),  # a trial on this machine prints the links of mails
        ({"public_url": "http://localhost:8080"}, True),
        ({"public_url": "https://shop.example"}, False),  # mails are files that no customer reads
        ({"public_url": "https://shop.example", "mail_url": "smtp://mail.example"}, True),
        ({"public_url": "https://shop.example", "portal_link": "yes"}, True),
        (
            {"public_url": "https://shop.example", "mail_url": "smtp://mail.example", "portal_link": "no"},
            False,
        ),
        ({"portal_link": False}, False),
    ],
)
def test_the_link_is_there_where_customers_can_sign_in(values: dict[str, Any], leads: bool) -> None:
    assert leads_to_portal(Settings(**values)) is leads
