"""Both clouds: Azure as a real server, Google as bytes with faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.runtime.metrics import UPSTREAM_IN_USE, Counters
from gateway.storage import retries
from gateway.storage.obstore.bucket import make_store
from gateway.storage.obstore.storage import CloudStorage
from tests.support.clouds import Make, settings_of
from tests.support.google import Google


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(retries, "LAST_BACKOFF", 0.004)


@pytest.fixture
def google() -> Iterator[Google]:
    with Google() as running:
        yield running


@pytest.fixture
def counters() -> Iterator[Counters]:
    """The storage's counters; asserts at the end that nothing is in use."""
    made = Counters()
    yield made
    assert made.values()[UPSTREAM_IN_USE] == 0


@pytest.fixture
def make(counters: Counters) -> Make:
    """Makes a storage from a table of settings."""

    def storage(table: dict[str, Any]) -> CloudStorage:
        settings = settings_of(table)
        return CloudStorage("cloud", make_store("cloud", settings), settings.prefix, counters.add)

    return storage
