"""Real files in a real folder, opened in each way there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gateway.storage.local.confinement import Opener
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from tests.support.local_files import OPENERS, count_descriptors
from tests.support.waiting import wait_until


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__)
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The storage's root, with a secret beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"0123456789")
    return folder


@pytest.fixture
def cache() -> DescriptorCache:
    return DescriptorCache(4)


@pytest.fixture
def storage(root: Path, cache: DescriptorCache, opener: Opener) -> LocalStorage:
    return LocalStorage("files", root, cache, opener=opener)


@pytest.fixture
def no_leak(cache: DescriptorCache) -> Iterator[None]:
    """Assert that as many descriptors are open as before, once the cache is empty."""
    before = count_descriptors()
    yield
    cache.clear()
    # a deleted file's is closed in a thread; fewer, where another test's were closed meanwhile
    wait_until(lambda: count_descriptors() <= before, f"no more than {before} descriptors are open")


@pytest.fixture
def somebody() -> Callable[[], AbstractContextManager[None]]:
    """Run a block as a user to whom permissions apply, also when the tests run as root."""

    @contextmanager
    def as_somebody() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return as_somebody
