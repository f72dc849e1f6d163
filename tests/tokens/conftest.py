"""A limited token in the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lease_ledger import Wire
from tests.support.store_server import StoreServer


@pytest.fixture
def wire(store: StoreServer) -> Iterator[Wire]:
    """The token of `lease_ledger`, of which nothing is used."""
    made = Wire(store)
    made.reset()
    yield made
    made.close()
