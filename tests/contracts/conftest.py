"""Published files, on the backend of the test."""

from __future__ import annotations

import pytest

from tests.support.downloads import CONTENT
from tests.support.plane import Plane
from tests.support.publications import Published


@pytest.fixture(scope="module")
def published(plane: Plane) -> Published:
    return plane.publish(CONTENT, names=["Epic Drums v1.zip"])


@pytest.fixture(scope="module")
def several(plane: Plane) -> Published:
    return plane.publish(b"one", b"two!", b"", names=["a.wav", "sub/b & c.flac", "<empty>.txt"])


@pytest.fixture(scope="module")
def link(plane: Plane, published: Published) -> str:
    return plane.link(published)
