"""The admin API on a database of each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.web.service import serve
from tests.support.control_plane import run_api
from tests.support.databases import Databases, url_of
from tests.support.sales import Sales


@pytest.fixture
async def sales(settings: Settings, databases: Databases) -> AsyncIterator[Sales]:
    location = await databases.make()
    settings = settings.model_copy(update={"database_url": url_of(location)})
    async with run_api(serve, settings) as api, Database.of(location) as database:
        yield Sales(api, database)
    await databases.remove(location)
