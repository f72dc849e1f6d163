"""*Health*: what `check` finds, on a page."""

from __future__ import annotations

import pytest

from gateway.web.dashboard import health_report
from tests.support.control_plane import Api
from tests.support.dashboard import Visitor, check_markup


@pytest.mark.slow
async def test_every_part_is_checked_as_the_command_does(
    owner: Visitor, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_report, "WAIT_SECONDS", health_report.MOST_SECONDS)
    assert "Nothing has been checked" in (await owner.get("/settings/health")).text
    assert (await owner.post("/settings/health/check")).location == "/settings/health"
    page = await owner.get("/settings/health")
    for part in ("settings", "database", "store"):
        assert f"<strong>{part}</strong>" in page.text, page.text
    check_markup(page)
    assert ("maria", "health.check") in [(each.by, each.action) for each in await api.store.audit.latest(5)]


async def test_a_check_that_goes_wrong_is_said(owner: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_report, "PROGRAM", ("/bin/false",))
    monkeypatch.setattr(health_report, "WAIT_SECONDS", health_report.MOST_SECONDS)
    await owner.post("/settings/health/check")
    assert "the checks did not come to an end" in (await owner.get("/settings/health")).text


async def test_a_check_goes_on_when_the_page_is_left(owner: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_report, "PROGRAM", ("/bin/sleep", "1000"))
    monkeypatch.setattr(health_report, "WAIT_SECONDS", 0.01)
    page = await owner.send("/settings/health/check")
    assert "still being checked" in page.notice
    assert "It is being checked." in page.text
