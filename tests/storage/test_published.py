"""Whether an object is still the published one: by its strong entity tag, else its version, else its time."""

from __future__ import annotations

import pytest

from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts
from gateway.storage.published import condition, difference, encoding_fault, identity_fault, is_strong
from tests.support.rows import each_row

SECONDS = 1_700_000_000


def published(etag: str = "", version_id: str = "") -> ManifestFile:
    return ManifestFile(
        "a.bin", 10, "text/plain", "0" * 64, "0" * 8, "shop", "a", SECONDS * 10**9 + 5, etag, version_id
    )


@pytest.mark.parametrize(("etag", "strong"), [('"a"', True), ('W/"a"', False), ("", False)])
def test_a_strong_entity_tag_stands_for_the_bytes(etag: str, strong: bool) -> None:
    assert is_strong(etag) is strong


@pytest.mark.parametrize(
    ("etag", "sent"),
    [
        ('"a"', '"a"'),
        ("a", ""),
        ('W/"a"', ""),
        ('"a\r\nX: b"', ""),
        ('"ä"', ""),
        ('"a" "b"', ""),
        ("", ""),
        ('"', ""),
    ],
)
def test_only_a_strong_entity_tag_in_quotes_is_sent(etag: str, sent: str) -> None:
    assert condition(etag) == sent


CHANGED = "has changed since it was published: "


@each_row(
    ("file", "found", "text"),
    [
        (published('"a"', "1"), ('"a"', "2", 0), ""),
        (published('"a"'), ('"b"', "", SECONDS), f'{CHANGED}ETag "b", not "a"'),
        (
            published('"a"'),
            ("", "", SECONDS),
            'comes without its ETag "a": a proxy before the storage changes',
        ),
        (published('"a"'), ('W/"a"', "", SECONDS), 'comes with the weak ETag W/"a", not "a": a proxy before'),
        (published('"a"'), ("W/a", "", SECONDS), "comes with the weak ETag W/a"),
        (published('"a"'), ('W/"b"', "", SECONDS), f'{CHANGED}ETag W/"b", not "a"'),
        (published('"a"'), ("a", "", SECONDS), ""),
        (published("a"), ('"a"', "", SECONDS), ""),
        (published("a"), ("a", "", SECONDS), ""),
        (published("a"), ("b", "", SECONDS), f"{CHANGED}ETag b, not a"),
        (published('"a"'), ("x" * 100, "", SECONDS), f'{CHANGED}ETag {"x" * 80}, not "a"'),
        (published('W/"a"', "1"), ('W/"b"', "1", 0), ""),
        (published("", "1"), ("", "", 0), ""),
        (published("", "1"), ("", "2", SECONDS), f"{CHANGED}another version"),
        (published(), ('"b"', "2", SECONDS), ""),
        (published(), ("", "", SECONDS + 1), f"{CHANGED}another modification time"),
        (published(), ("", "", None), "comes without a modification time (Last-Modified): a proxy before"),
    ],
)
def test_only_the_strongest_mark_of_the_manifest_is_compared(
    file: ManifestFile, found: tuple[str, str, int | None], text: str
) -> None:
    seen = difference(file, *found)
    assert (seen.text if seen else "").startswith(text)
    assert (seen is None) is (text == "")
    assert seen is None or seen.changed is text.startswith(CHANGED)


def facts(
    key: str = "a", encoding: str = "", etag: str = "", version_id: str = "", modified: int = 0
) -> ObjectFacts:
    return ObjectFacts(key, 5, modified, etag, version_id, encoding=encoding)


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (facts(etag='"a"'), ""),
        (facts(etag="a"), ""),
        (facts(version_id="1"), ""),
        (facts(modified=1), ""),
        (facts(etag='W/"a"', modified=1), ""),
        (facts(etag='W/"a"'), "has neither an ETag nor a version nor a modification time"),
        (facts(), "has neither an ETag nor a version nor a modification time"),
    ],
)
def test_something_has_to_show_a_change(found: ObjectFacts, fault: str) -> None:
    assert identity_fault(found).startswith(fault)
    assert bool(identity_fault(found)) is bool(fault)


@each_row(
    ("key", "encoding", "advice"),
    [
        ("dir/a.csv", "", None),
        ("dir/a.csv", "identity", None),
        ("dir/a.csv", "aws-chunked", None),
        ("dir/a.csv", "gzip", "as a.csv.gz"),
        ("dir/a.csv", "GZIP", "as a.csv.gz"),
        ("dir/a.csv", "aws-chunked,gzip", "as a.csv.gz"),
        ("dir/a.csv", "br", "as a.csv.br"),
        ("dir/a.csv", "zstd", "as a.csv.zst"),
        ("dir/a.csv", "gzip, br", "upload it again without that field"),
        ("dir/a.csv", "rot13", "upload it again without that field"),
        ("samples.tar.gz", "gzip", None),
        ("samples.TGZ", "x-gzip", None),
        ("samples.tar.zst", "zstd", None),
        ("samples.tar.gz", "br", "as samples.tar.gz.br"),
    ],
)
def test_compressed_bytes_need_a_name_that_says_so(key: str, encoding: str, advice: str | None) -> None:
    fault = encoding_fault(facts(key, encoding, '"a"'))
    if advice is None:
        assert fault == ""
    else:
        assert f"Content-Encoding: {encoding}" in fault
        assert advice in fault
