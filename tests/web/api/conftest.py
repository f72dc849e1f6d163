"""The admin API on a database of each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.web.service import serve
from tests.support.control_plane import Api, make_settings, run_api
from tests.support.databases import Databases, url_of
from tests.support.sales import Sales
from tests.support.store_server import StoreServer, run_store


@pytest.fixture(scope="session")
def quiet_store() -> Iterator[StoreServer]:
    """A store that no other test empties."""
    with run_store() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def refusing(quiet_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One service for tables of what is refused, which changes nothing: quicker than one for each row.

    Its tests have the marker `asyncio(loop_scope="session")`, because the service runs in that loop.
    """
    folder: Path = tmp_path_factory.mktemp("api")
    settings = make_settings(quiet_store.url, folder)
    (folder / "files" / "link").symlink_to("/etc/passwd")
    (folder / "files" / "folder").mkdir()
    async with run_api(serve, settings) as running:
        yield running


@pytest.fixture
async def sales(settings: Settings, databases: Databases) -> AsyncIterator[Sales]:
    location = await databases.make()
    settings = settings.model_copy(update={"database_url": url_of(location)})
    async with run_api(serve, settings) as api, Database.of(location) as database:
        yield Sales(api, database)
    await databases.remove(location)
