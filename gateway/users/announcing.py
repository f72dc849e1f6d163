"""What `up` and `serve-web` print about the dashboard: its address, and a link to set it up.

The link goes to the terminal only. The log has no secrets, and the database has only the link's hash, so each
start makes a new one, as long as nobody has set the dashboard up.
"""

from __future__ import annotations

import shlex
from typing import Final

from gateway.config.settings import Settings, address_of
from gateway.database.migrating import open_database
from gateway.errors import DatabaseError
from gateway.users.links import SETUP_HOURS, make_setup_link

PATH: Final = "/dashboard/"
DEFAULT_URL: Final = address_of(Settings.model_construct(), "dashboard_listen").url()
"""Where the dashboard is unless the settings say otherwise."""


def invite_command(settings: Settings, url: str) -> str:
    """The command line that makes another link, as it works in any folder of the gateway's machine.

    url: where people open the dashboard, without a path. What may hold a password is not in it: the URLs of
    database and Redis.
    """
    words = ["download-gateway", "user", "invite", "--data", str(settings.data)]
    if url != DEFAULT_URL:
        words += ["--dashboard-url", url]
    return shlex.join(words)


def dashboard_url(settings: Settings, listening: str) -> str:
    """Where people open the dashboard. listening: the URL where the web process listens."""
    return (settings.dashboard_url or listening).rstrip("/") + PATH


def link_url(settings: Settings, listening: str, secret: str) -> str:
    """The URL of a link that makes a user or sets a password."""
    return f"{dashboard_url(settings, listening)}join?link={secret}"


async def announce_dashboard(settings: Settings, listening: str) -> list[str]:
    """The lines for a person. A database that is away is no reason to stop; then they say what to do."""
    try:
        async with open_database(settings) as database:
            secret = await make_setup_link(database)
    except DatabaseError:
        command = invite_command(settings, settings.dashboard_url or listening)
        return [
            "The database is away, so there is no link to set the dashboard up. This makes one later:",
            f"  {command}",
        ]
    if secret is None:
        return [f"Dashboard at {dashboard_url(settings, listening)}"]
    return [
        f"Set the dashboard up with this link, which works once and for {SETUP_HOURS} h:",
        f"  {link_url(settings, listening, secret)}",
    ]
