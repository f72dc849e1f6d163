"""A storage behind the cache, whose fetches have ended when the test has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.storage.cache import fetching
from tests.support.cached_storage import Rig
from tests.support.faulty_bucket import Upstream


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, too, nobody reads past the cache."""
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    with Upstream() as upstream:
        rig = Rig(upstream, tmp_path / "cache")
        try:
            yield rig
            await rig.settled()
        finally:
            rig.storage.close()
