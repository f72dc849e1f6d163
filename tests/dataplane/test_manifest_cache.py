"""The manifests that a worker keeps: their number is bounded, and each must match its digest."""

from __future__ import annotations

import pytest

from gateway.dataplane.manifest_cache import ManifestCache
from gateway.manifest import Manifest, ManifestFile


def manifest(number: int, files: int = 1) -> Manifest:
    return Manifest(
        f"product-{number}",
        "1",
        tuple(ManifestFile(f"{index}", 1, "a/b", "0" * 64, "0" * 8, "s", "k", 0) for index in range(files)),
    )


def test_what_is_added_is_found() -> None:
    cache, one = ManifestCache(), manifest(1)
    digest = one.digest.encode()
    assert cache.get(digest) is None
    loaded = cache.add(digest, one.text)
    assert cache.get(digest) is loaded
    assert loaded.manifest == one
    assert loaded.representation(0) is loaded.representation(0)


def test_the_least_used_go_first() -> None:
    cache = ManifestCache(files=6)
    made = [manifest(number, files=2) for number in range(4)]
    digests = [one.digest.encode() for one in made]
    for one, digest in zip(made[:3], digests[:3], strict=True):
        cache.add(digest, one.text)
    cache.get(digests[0])
    cache.add(digests[3], made[3].text)
    assert [cache.get(digest) is not None for digest in digests] == [True, False, True, True]


def test_one_larger_than_the_bound_is_kept_alone() -> None:
    cache, large = ManifestCache(files=2), manifest(1, files=10)
    cache.add(large.digest.encode(), large.text)
    assert cache.get(large.digest.encode()) is not None


def test_adding_twice_counts_once() -> None:
    cache, one, two = ManifestCache(files=3), manifest(1, files=2), manifest(2)
    for _ in range(5):
        cache.add(one.digest.encode(), one.text)
    cache.add(two.digest.encode(), two.text)
    assert cache.get(one.digest.encode()) is not None


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", manifest(2).text])
def test_what_the_digest_does_not_name_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"digest"):
        ManifestCache().add(manifest(1).digest.encode(), text)
