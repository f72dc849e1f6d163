"""One web process for all tests of the portal, on a database of each engine.

Every test has addresses, orders and client addresses of its own, so nothing has to be emptied between them.
The tests have the marker `asyncio(loop_scope="session")`, because the service runs in that loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

import pytest
import pytest_asyncio

from gateway.database.engine import Database
from gateway.web.service import serve
from tests.support.control_plane import listen, make_settings, run_api, url_of
from tests.support.databases import Databases
from tests.support.databases import url_of as url_of_database
from tests.support.portal import Portal, publish_versions
from tests.support.store_server import StoreServer, run_store


@pytest.fixture(scope="session")
def quiet_store() -> Iterator[StoreServer]:
    """A store that no other test empties."""
    with run_store() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def portal(
    quiet_store: StoreServer, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Portal]:
    """The public side, with the products of `publish_versions`."""
    quiet_store.empty()
    location = await databases.make()
    settings = make_settings(quiet_store.url, tmp_path_factory.mktemp("portal")).model_copy(
        update={
            "database_url": url_of_database(location),
            "trusted_proxies": (ip_network("127.0.0.0/8"),),
            "public_url": None,
            "mail_per_minute": 1_000_000,
        }
    )
    sock = listen()
    async with (
        run_api(partial(serve, passed=[sock]), settings) as api,
        Database.of(location) as database,
    ):
        running = Portal(replace(api, url=url_of(sock)), database, settings.data / "mail")
        await publish_versions(running)
        yield running
    await databases.remove(location)
