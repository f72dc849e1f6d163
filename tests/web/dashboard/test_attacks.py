"""Attacks on the pages of daily work: from another site, by inline code, by framing, and by caches."""

from __future__ import annotations

import re

import pytest

from gateway.config.settings import Settings
from gateway.web.dashboard.work import WORK_SCREENS
from tests.support.control_plane import Api
from tests.support.dashboard import PREFIX, Visitor
from tests.support.dashboard_data import NAUGHTY, OrdinaryDay, make_ordinary_day

INLINE = re.compile(
    r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:|<base|<iframe|<object", re.I
)


def filled(path: str, day: OrdinaryDay) -> str:
    """A path with ids that are there in the place of its names."""
    ids = {
        "product": "drums",
        "version": "1.0.0",
        "token": day.token,
        "order": day.order,
        "customer": day.customer,
        "entitlement": day.right,
        "job": "x",
    }
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=["cross-site", "same-site", "origin", "null"],
)
async def test_nothing_is_changed_from_another_site(
    api: Api, owner: Visitor, settings: Settings, headers: dict[str, str]
) -> None:
    day = await make_ordinary_day(api, settings)
    before = await api.store.audit.latest(50)
    for screen in WORK_SCREENS:
        if screen.method == "POST":
            path = PREFIX + filled(screen.path, day)
            data = {"sure": "yes", "override": "revoke", "status": "archived", "email": "evil@evil.example"}
            answer = await owner.request("POST", path, data=data, headers=headers)
            assert answer.status == 403, screen.path
    assert await api.store.audit.latest(50) == before


@pytest.mark.slow
async def test_no_page_has_anything_inline_or_may_be_framed_or_kept(
    api: Api, owner: Visitor, settings: Settings
) -> None:
    day = await make_ordinary_day(api, settings)
    for screen in WORK_SCREENS:
        if screen.method != "GET":
            continue
        answer = await owner.get(filled(screen.path, day))
        assert answer.status == (404 if "{job}" in screen.path else 200), screen.path
        assert answer.headers["Cache-Control"] == "no-store", screen.path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", screen.path
        if screen.path.endswith(".csv"):
            assert answer.headers["Content-Disposition"].startswith("attachment"), screen.path
            continue
        policy = answer.headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert part in policy, screen.path
        assert "unsafe" not in policy
        assert not INLINE.search(answer.text), screen.path


@pytest.mark.slow
async def test_what_strangers_write_is_text_in_every_filter(
    api: Api, owner: Visitor, settings: Settings
) -> None:
    await make_ordinary_day(api, settings)
    for path in ("/products", "/tokens", "/orders", "/customers", "/usage"):
        names = ("q", "status", "product", "email", "from", "to", "version", "client", "by", "after", "id")
        for name in names:
            answer = await owner.get(path, params={name: NAUGHTY})
            assert answer.status in (200, 400), (path, name)
            assert "<script>" not in answer.text, (path, name)


@pytest.mark.slow
async def test_a_get_changes_nothing(api: Api, owner: Visitor, settings: Settings) -> None:
    day = await make_ordinary_day(api, settings)
    before = await api.store.audit.latest(50)
    shown = {screen.path for screen in WORK_SCREENS if screen.method == "GET"}
    for screen in WORK_SCREENS:
        if screen.method == "POST" and screen.path not in shown:
            answer = await owner.get(filled(screen.path, day) + "?sure=yes&override=revoke")
            assert answer.status in (404, 405), screen.path
    assert await api.store.audit.latest(50) == before
