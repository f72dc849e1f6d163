"""Whether an object is still the published one: by its strong entity tag, else its version, else its time."""

from __future__ import annotations

import pytest

from gateway.manifest import ManifestFile
from gateway.storage.published import difference, is_strong

SECONDS = 1_700_000_000


def published(etag: str = "", version_id: str = "") -> ManifestFile:
    return ManifestFile(
        "a.bin", 10, "text/plain", "0" * 64, "0" * 8, "shop", "a", SECONDS * 10**9 + 5, etag, version_id
    )


@pytest.mark.parametrize(("etag", "strong"), [('"a"', True), ('W/"a"', False), ("", False)])
def test_a_strong_entity_tag_stands_for_the_bytes(etag: str, strong: bool) -> None:
    assert is_strong(etag) is strong


@pytest.mark.parametrize(
    ("file", "found", "text"),
    [
        (published('"a"', "1"), ('"a"', "2", 0), ""),
        (published('"a"'), ('"b"', "", SECONDS), 'ETag "b", not "a"'),
        (published('"a"'), ("", "", SECONDS), 'ETag none, not "a"'),
        (published('"a"'), ("x" * 100, "", SECONDS), f'ETag {"x" * 80}, not "a"'),
        (published('W/"a"', "1"), ('W/"b"', "1", 0), ""),
        (published("", "1"), ("", "", 0), ""),
        (published("", "1"), ("", "2", SECONDS), "another version"),
        (published(), ('"b"', "2", SECONDS), ""),
        (published(), ("", "", SECONDS + 1), "another modification time"),
        (published(), ("", "", None), "another modification time"),
    ],
)
def test_only_the_strongest_mark_of_the_manifest_is_compared(
    file: ManifestFile, found: tuple[str, str, int | None], text: str
) -> None:
    assert difference(file, *found) == text
