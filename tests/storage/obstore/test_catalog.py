"""The catalogue of a Google Cloud Storage bucket."""

from __future__ import annotations

import pytest

from gateway.errors import StorageError
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.clouds import catalog_of
from tests.support.google import Google

CONTENT = Pattern(5_000_000)


def test_an_object_is_described_with_its_generation(google: Google) -> None:
    google.put("kit/a.zip", CONTENT, modified=1_750_000_000, version="1700000000000001")
    facts = catalog_of(google.table(prefix="kit")).stat("a.zip")
    assert facts.key == "a.zip"
    assert facts.size == len(CONTENT)
    assert facts.modified == 1_750_000_000 * 10**9
    assert facts.etag == google.objects["kit/a.zip"].etag
    assert facts.version_id == "1700000000000001"


def test_objects_that_stand_for_folders_are_left_out(google: Google) -> None:
    for key in ("kit/", "kit/a.zip", "kit/deep/", "kit/deep/b.zip"):
        google.put(key, b"" if key.endswith("/") else b"x")
    google.put("kit/empty", b"")
    catalog = catalog_of(google.table())
    assert catalog.check_root() == ""
    assert catalog.root == "gs://shop/"
    assert list(catalog.list("kit/")) == ["kit/a.zip", "kit/deep/b.zip", "kit/empty"]
    assert list(catalog.list("kit/deep/")) == ["kit/deep/b.zip"]


def test_reading_goes_on_after_a_break(google: Google) -> None:
    google.put("a", CONTENT, version="1")
    catalog = catalog_of(google.table())
    facts = catalog.stat("a")
    google.faults += [Fault(reset_after=2_000_000), Fault(status=503), Fault(short_after=1_000_000)]
    assert b"".join(catalog.read(facts)) == CONTENT[: len(CONTENT)]


def test_what_is_read_is_what_was_described(google: Google) -> None:
    google.put("a", CONTENT)
    catalog = catalog_of(google.table())
    facts = catalog.stat("a")
    google.faults.append(Fault(reset_after=2_000_000, then=lambda: None))
    reading = catalog.read(facts)
    next(reading)
    google.put("a", Pattern(5_000_000, seed=1))
    google.objects["a"].etag = '"other"'
    with pytest.raises(StorageError, match="the object 'a' has changed since it was published"):
        list(reading)
