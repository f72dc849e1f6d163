"""A seller's machine on each kind of database, shared by the tests that only add to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.databases import ENGINES
from tests.support.storefront import Storefront


@pytest.fixture(scope="session", params=ENGINES)
def storefront(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storefront]:
    """`up` on a database of its own. Its processes can be killed (tests/support/faults.py)."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Storefront(tmp_path_factory.mktemp(f"storefront-{request.param}"), server)
    try:
        yield made.open()
    finally:
        made.close()
