"""Attacks on the portal by other sites and by other customers. Those on signing in are in test_sign_in.py."""

from __future__ import annotations

import re

import pytest

from gateway.web.portal.application import PAGES
from tests.support.portal import Portal, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANGES = sorted({page.path for page in PAGES if page.method == "POST"})
READS = sorted({page.path for page in PAGES if page.method == "GET"})
OTHER_SITES = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "websocket", "Upgrade": "websocket"},
)


def filled(path: str, identifier: str) -> str:
    return re.sub(r"\{\w+\}", identifier, path)


@pytest.mark.parametrize("fields", OTHER_SITES, ids=lambda fields: "-".join(fields.values())[:40])
async def test_what_another_site_sends_changes_nothing(portal: Portal, fields: dict[str, str]) -> None:
    visitor, email, purchase = await portal.buyer()
    cookies = dict(visitor.cookies)
    for path in CHANGES:
        form = {"email": email, "file": "0", "version": "2.0", "session": "others", "number": "2"}
        answer = await visitor.post(filled(path, purchase), headers=fields, **form)
        assert answer.status == 403, path
        assert visitor.cookies == cookies
    assert portal.letters(email) == []
    assert (await visitor.get("/account")).status == 200


async def test_every_private_page_is_stored_by_nobody_and_framed_by_nobody(portal: Portal) -> None:
    visitor, _, purchase = await portal.buyer()
    for path in READS:
        answer = await visitor.get(filled(path, purchase) + ("?version=2.0" if "SUMS" in path else ""))
        if "/static/" in path:
            continue
        assert answer.headers["Cache-Control"] == "no-store", path
        if answer.status == 200:
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
            assert "unsafe" not in answer.headers["Content-Security-Policy"], path
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path


async def test_nothing_is_shown_or_done_without_signing_in(portal: Portal) -> None:
    _, _, purchase = await portal.buyer()
    stranger = portal.visitor()
    for path in READS:
        answer = await stranger.get(filled(path, purchase))
        assert "Epic" not in answer.text, path
    for path in CHANGES:
        answer = await stranger.post(filled(path, purchase), version="2.0", file="0", list="aria2")
        assert "ct_" not in answer.location + answer.text, path
    for cookie in ("", "x", "x" * 43, "é" * 10, "../../x"):
        visitor = Visitor(portal.api, {"customer": cookie.encode("ascii", "ignore").decode()})
        assert (await visitor.get(f"/purchases/{purchase}")).location == "/my/"


@pytest.mark.slow
async def test_the_ids_of_another_customer_are_as_unknown_as_those_of_nobody(portal: Portal) -> None:
    owner, _, theirs = await portal.buyer(number="#of-another")
    order = (await owner.get(f"/purchases/{theirs}")).text.partition("/my/orders/")[2].partition('"')[0]
    assert (await owner.get(f"/orders/{order}")).status == 200
    visitor, _, _ = await portal.buyer()
    form = {"version": "2.0", "file": "0", "list": "aria2", "email": portal.address(), "number": "2"}
    seen = set()
    for identifier in (theirs, order, "0" * 26, "x", "%00", "%27%20OR%201=1", "..%2f", "é" * 30):
        for path in (each for each in READS if "{purchase}" in each or "{order}" in each):
            answer = await visitor.get(filled(path, identifier) + "?version=2.0")
            assert answer.status == 404, path
            seen.add(answer.text.replace(identifier, "ID"))
            assert "of-another" not in answer.text
        for path in (each for each in CHANGES if "{purchase}" in each):
            answer = await visitor.post(filled(path, identifier), **form)
            assert answer.status == 404, path
            seen.add(answer.text)
    assert len(seen) <= 2, "one page, whatever the id"


async def test_a_purchase_is_not_found_by_the_id_of_its_order_or_customer(portal: Portal) -> None:
    visitor, email, _ = await portal.buyer()
    customer = await portal.customer(email)
    for path in (f"/purchases/{customer}", f"/orders/{customer}"):
        assert (await visitor.get(path)).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/my/../api/products",
        "/my/%2e%2e/api/products",
        "/my/..%2fapi/products",
        "/dashboard/",
        "/api/products",
        "/my//evil.example",
        "/my/%2F%2Fevil.example",
    ],
)
async def test_nothing_private_is_reached_through_the_portal(portal: Portal, path: str) -> None:
    answer = await portal.api.talk(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"Location" not in answer


@pytest.mark.parametrize("path", CHANGES)
async def test_forms_are_limited_and_of_one_kind(portal: Portal, path: str) -> None:
    visitor, _, purchase = await portal.buyer()
    for options in (
        {"json": {"email": "ann@example.com"}},
        {"data": b"\xff\xfe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"data": "a=1&" * 500, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ):
        answer = await visitor.ask("POST", filled(path, purchase), **options)
        if path not in ("/sign-out", "/sign-in/{secret}", "/news/{secret}"):  # these read no form
            assert answer.status in (400, 415), path
