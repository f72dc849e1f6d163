"""What `up` and `serve-web` print about the dashboard: its address, and a link to set it up.

The link goes to the terminal only. The log has no secrets, and the database has only the link's hash, so each
start makes a new one, as long as nobody has set the dashboard up.
"""

from __future__ import annotations

from typing import Final

from gateway.config.settings import Settings
from gateway.database.migrating import open_database
from gateway.errors import DatabaseError
from gateway.users.links import SETUP_HOURS, make_setup_link

PATH: Final = "/dashboard/"
ANOTHER: Final = "download-gateway user invite"
"""The command that makes another link."""


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
        return [
            f"The database is away, so there is no link to set the dashboard up: {ANOTHER} makes one later."
        ]
    if secret is None:
        return [f"Dashboard at {dashboard_url(settings, listening)}"]
    return [
        f"Set the dashboard up with this link, which works once and for {SETUP_HOURS} h:",
        f"  {link_url(settings, listening, secret)}",
    ]
