"""Two files of the shared worker, and a look at what tests leave open there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.downloads import LARGE
from tests.support.plane import Plane
from tests.support.publications import Published


@pytest.fixture(scope="module")
def small(plane: Plane) -> Published:
    return plane.publish(b"a small file")


@pytest.fixture(scope="module")
def large(plane: Plane) -> Published:
    return plane.publish(LARGE)


@pytest.fixture
def no_leak(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of the shared plane leaves it with the descriptors it had."""
    if "plane" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("plane").no_leak():
        yield
