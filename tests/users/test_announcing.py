"""What `up` and `serve-web` print about the dashboard."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from gateway.users.announcing import DEFAULT_URL, announce_dashboard, invite_command
from gateway.users.links import find_link
from tests.support.dashboard import open_database_of
from tests.support.databases import new_database_url
from tests.support.users import make_user

LISTENING = "http://127.0.0.1:8083"


def settings_of(folder: Path, url: str, **more: str) -> Settings:
    return Settings.model_validate({"data": folder, "database_url": url, **more})


async def test_a_link_is_printed_as_long_as_there_is_nobody(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, new_database_url())
    links = []
    for _ in range(2):
        [text, line] = await announce_dashboard(settings, LISTENING)
        assert "works once" in text
        assert line.strip().startswith(f"{LISTENING}/dashboard/join?link=")
        links.append(line.partition("link=")[2])
    async with open_database_of(settings) as database:
        assert links[0] != links[1]
        assert all([await find_link(database, each) for each in links])
        await make_user(database)
        assert not any([await find_link(database, each) for each in links])
    assert await announce_dashboard(settings, LISTENING) == [f"Dashboard at {LISTENING}/dashboard/"]


async def test_the_link_begins_with_the_setting(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, new_database_url(), dashboard_url="https://seller.example/")
    assert (
        "  https://seller.example/dashboard/join?link=" in (await announce_dashboard(settings, LISTENING))[1]
    )


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none"])
async def test_a_database_that_is_away_is_said(tmp_path: Path, url: str) -> None:
    settings = settings_of(tmp_path, url)
    _, line = await announce_dashboard(settings, LISTENING)
    assert line == f"  {invite_command(settings, LISTENING)}"


def test_the_command_for_another_link_works_in_any_folder(tmp_path: Path) -> None:
    """It names the data folder, and the dashboard's URL where that is not the usual one; never a password."""
    folder = tmp_path / "my shop"
    settings = settings_of(folder, "postgresql://user:secret@127.0.0.1/none")
    command = invite_command(settings, "http://127.0.0.1:4711")
    assert shlex.split(command) == [
        *("download-gateway", "user", "invite", "--data", str(settings.data)),
        *("--dashboard-url", "http://127.0.0.1:4711"),
    ]
    assert "--dashboard-url" not in invite_command(settings, DEFAULT_URL)
