"""Files that change after publishing, on every storage: clients get a 502, and no byte of another file."""

from __future__ import annotations

import os

import pytest

from tests.support.backends import EVERY_BACKEND, Objects
from tests.support.buckets import S3Server
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND
CHANGED = ["is missing", "changed since"]


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("change", ["removed", "replaced", "shorter", "longer"])
def test_a_file_changed_before_its_first_download(plane: Plane, change: str, size: int) -> None:
    """502 and nothing is charged, whatever is asked for."""
    plane.expected += CHANGED
    published = plane.publish(os.urandom(size))
    target = plane.link(published, maximum=2)
    if change == "removed":
        plane.remove(published)
    else:
        plane.replace(
            published, os.urandom({"replaced": size, "shorter": size - 1, "longer": size + 1}[change])
        )
    assert plane.get(target, method="HEAD").status == 502
    for fields in ((), ("Range: bytes=5-9",), ("Range: bytes=0-1,5-9",)):
        answer = plane.get(target, *fields)
        assert (answer.status, answer.code) == (502, "storage_failed")
    wait_until(lambda: plane.charged(target) == 0, "it was returned")


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_replaced_after_a_download(plane: Plane, size: int) -> None:
    """A cache may still have it; nobody gets the other file."""
    plane.expected += CHANGED
    content = os.urandom(size)
    published = plane.publish(content)
    target = plane.link(published)
    assert plane.get(target).body == content
    plane.replace(published, os.urandom(size))
    cached = isinstance(plane.files, Objects) and plane.files.cached
    for fields, part in (((), content), (("Range: bytes=5-9",), content[5:10])):
        answer = plane.get(target, *fields)
        assert answer.status == 502 or (cached and answer.body == part)


@pytest.mark.slow
def test_a_version_outlives_its_successors(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> None:
    """In a bucket with versions what was published is served, whatever has happened to its key."""
    backend = Objects(s3_server, s3_server.make_bucket(versions=True))
    with run_plane(tmp_path_factory.mktemp("versions"), backend) as plane:
        plane.expected += CHANGED
        published = plane.publish(b"first")
        target = plane.link(published)
        plane.replace(published, b"other")
        assert plane.get(target).body == b"first"
        plane.remove(published)
        assert plane.get(target, "Range: bytes=1-2").body == b"ir"
        s3_server.delete(backend.bucket, published.file.key, published.file.version_id)
        assert plane.get(target).code == "storage_failed"
