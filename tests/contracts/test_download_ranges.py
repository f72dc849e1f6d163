"""Ranges and conditions: the tables of tests/support, over a socket."""

from __future__ import annotations

import email
import email.policy
import os
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.ranges import UNSATISFIABLE, Spans, select_ranges
from tests.support import condition_cases as condition_rules
from tests.support import range_cases as range_rules
from tests.support.backends import EVERY_BACKEND, Folder
from tests.support.downloads import CONTENT
from tests.support.examples import examples
from tests.support.http_client import Response, request
from tests.support.plane import Plane
from tests.support.publications import Published

BACKENDS = EVERY_BACKEND


def test_beyond_4_gib(planes: Callable[..., Plane]) -> None:
    plane = planes("local")
    size = (5 << 30) + 12_345
    published = plane.publish(b"begin", sparse=size)
    with published.path.open("r+b") as file:
        file.seek(size - 3)
        file.write(b"end")
    facts = published.path.stat()
    os.utime(published.path, ns=(facts.st_atime_ns, published.file.modified))
    target = plane.link(published)
    with plane.connect() as client:
        assert client.get(target, method="HEAD")["Content-Length"] == str(size)
        answer = client.get(target, "Range: bytes=-5")
        assert (answer["Content-Range"], answer.body) == (f"bytes {size - 5}-{size - 1}/{size}", b"\0\0end")
        at = (4 << 30) - 1_000_000
        answer = client.get(target, f"Range: bytes={at}-{at + 2_000_000 - 1}")
        assert answer.body == bytes(2_000_000)
        answer = client.get(target, f"Range: bytes=0-4,{(4 << 30) - 2}-{(4 << 30) + 2},-3")
        assert [part for _, part in parts_of(answer)] == [b"begin", bytes(5), b"end"]
        assert client.get(target, f"Range: bytes={size}-").status == 416


def parts_of(answer: Response) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges answer, by Python's own mail parser."""
    assert answer.status == 206
    assert "Content-Range" not in answer
    text = f"MIME-Version: 1.0\r\nContent-Type: {answer['Content-Type']}\r\n\r\n".encode() + answer.body
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    assert message.defects == []
    found = []
    for part in message.iter_parts():
        assert part.get_content_type()
        assert set(part.keys()) == {"Content-Type", "Content-Range"}
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((str(part["Content-Range"]), payload))
    return found


def assert_spans(answer: Response, spans: Spans | None, content: bytes) -> None:
    """The answer is what the rules select."""
    size = len(content)
    if spans is None:
        assert (answer.status, answer.body) == (200, content)
        assert "Content-Range" not in answer
    elif spans == UNSATISFIABLE:
        assert (answer.status, answer.code) == (416, "range_not_satisfiable")
        assert answer["Content-Range"] == f"bytes */{size}"
    elif len(spans) == 1:
        [(start, stop)] = spans
        assert (answer.status, answer.body) == (206, content[start:stop])
        assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    else:
        assert parts_of(answer) == [
            (f"bytes {start}-{stop - 1}/{size}", content[start:stop]) for start, stop in spans
        ]


def sendable(value: str) -> bool:
    """Whether a field value gets past the parser unchanged: no control characters, no space at its ends."""
    return value.isascii() and value.isprintable() and value == value.strip() and len(value) < 16_000


SOME_RANGES = {
    "14.1.2 first 500 bytes",
    "14.1.2 final 500 bytes, suffix",
    "14.1.2 final 500 bytes, open end",
    "14.1.2 first, middle and last 1000",
    "14.2 another unit is ignored",
    "14.1.2 LAST beyond the end is clamped",
    "14.1.2 FIRST at the end",
    "14.1.2 one byte file",
    "14.2 empty file, open end",
    "14.2 empty file, suffix",
    "15.3.7.2 suffix first",
    "14.2 whole file twice",
}
"""Each way of delivery once: a whole file, one span, several, none. The rules are the same everywhere."""


SOME_CONDITIONS = {
    "13 no conditions",
    "13.1.1 the tag",
    "13.1.1 another",
    "13.1.4 the same second",
    "13.1.4 earlier",
    "13.1.2 the tag",
    "13.1.2 another",
    "13.1.3 the same second",
    "13.1.3 earlier",
    "13.2.2 both dates",
}
"""Each field with each verdict once."""


def on_local(plane: Plane) -> bool:
    """Whether this is the backend on which whole tables of rules are looked at."""
    return isinstance(plane.files, Folder)


def test_ranges(plane: Plane) -> None:
    """Every row of the table of tests/support/range_cases.py; a few where the rules are not in question."""
    links: dict[int, tuple[str, bytes]] = {}
    rows = [row for row in range_rules.CASES if sendable(row[1]) and row[2] < 1 << 20]
    assert len(rows) > 60
    if not on_local(plane):
        rows = [row for row in rows if row[0] in SOME_RANGES]
        assert len(rows) == len(SOME_RANGES)
    with plane.connect() as client:
        for _, value, size, spans in rows:
            if size not in links:
                content = os.urandom(size)
                links[size] = (plane.link(plane.publish(content)), content)
            target, content = links[size]
            assert_spans(client.get(target, f"Range: {value}"), spans, content)
            headed = client.get(target, f"Range: {value}", method="HEAD")
            assert (headed.status, headed["Content-Length"]) == (200, str(size))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(plane: Plane, method: str) -> None:
    """Every row of the table of tests/support/condition_cases.py, with this file's tag and time."""
    published = dated(plane, CONTENT)
    target = plane.link(published, maximum=1000)
    statuses = {condition_rules.GO: 200, condition_rules.SAME: 304, condition_rules.FAILED: 412}
    sent = 0
    with plane.connect() as client:
        for name, fields, verdict in condition_rules.CASES:
            lines = field_lines(fields, published)
            if lines is None or not (on_local(plane) or name in SOME_CONDITIONS):
                continue
            sent += 1
            answer = client.get(target, *lines, method=method)
            assert answer.status == statuses[verdict], name
            assert answer["ETag"] == published.etag
            if answer.status == 304:
                assert "Content-Length" not in answer
                assert "Content-Type" not in answer
                assert answer["Last-Modified"] == condition_rules.DATE
                assert answer["Cache-Control"] == "private, no-transform"
    assert sent > 50 if on_local(plane) else sent == len(SOME_CONDITIONS)


def test_if_range(plane: Plane) -> None:
    published = dated(plane, CONTENT)
    target = plane.link(published)
    with plane.connect() as client:
        for name, fields, holds in condition_rules.RANGE_CASES:
            lines = field_lines(fields, published)
            assert lines is not None
            answer = client.get(target, *lines, "Range: bytes=4-8")
            assert answer.status == (206 if holds else 200), name
            assert answer.body == (b"quick" if holds else CONTENT), name


def dated(plane: Plane, content: bytes) -> Published:
    """A file whose time is the one of the tables."""
    published = plane.publish(content)
    file = published.file
    modified = condition_rules.MODIFIED * 10**9 + 123_456_789
    plane.files.date(file.key, modified)
    moved = type(file)(**{**vars(file), "modified": modified})
    manifest = type(published.manifest)(published.manifest.product, "2.0", (moved,))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    return Published(manifest, published.paths)


def field_lines(fields: condition_rules.Fields, published: Published) -> list[str] | None:
    """A row's fields for this file; None where a socket cannot carry them."""
    lines = []
    for name, value in fields.items():
        for line in [value] if isinstance(value, str) else value:
            if not line.isascii() or not line.replace("\t", " ").isprintable():
                return None
            lines.append(f"{name}: {line}".replace('"xyzzy"', published.etag))
    return lines


@pytest.mark.slow
def test_a_thousand_ranges(plane: Plane, link: str) -> None:
    with plane.connect() as client:
        for value in (
            ",".join(f"{number}-{number}" for number in range(1000)),
            ",".join(f"{3 * number}-{3 * number}" for number in range(1000)),
            ",".join(["0-"] * 1000),
            ",".join(["0-0"] * 1000),
        ):
            answer = client.get(link, f"Range: bytes={value}")
            assert_spans(answer, select_ranges(f"bytes={value}", len(CONTENT)), CONTENT)


@pytest.mark.slow
def test_several_large_parts(plane: Plane) -> None:
    content = os.urandom(4_000_000)
    target = plane.link(plane.publish(content), maximum=1)
    spans = "3000000-3999999,0-9,100000-1500000,2000000-2000099"
    with plane.connect() as client:
        answer = client.get(target, f"Range: bytes={spans}")
        assert_spans(answer, select_ranges(f"bytes={spans}", len(content)), content)
        assert client.get(target, "Range: bytes=0-0").body == content[:1]
    expected = sum(len(part) for _, part in parts_of(answer)) + 1
    assert plane.charged(target) == expected


NUMBER = st.one_of(st.integers(0, 200), st.sampled_from([134, 135, 136, 2**31, 2**63, 10**30]))


ONE = st.one_of(
    st.builds("{}-{}".format, NUMBER, NUMBER),
    st.builds("{}-".format, NUMBER),
    st.builds("-{}".format, NUMBER),
)


RANGE = st.one_of(
    st.builds(
        lambda unit, ones: f"{unit}={','.join(ones)}",
        st.sampled_from(["bytes", "Bytes", "items"]),
        st.lists(ONE, max_size=20),
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)


TAG = st.sampled_from(
    ["ETAG", "W/ETAG", '"x"', "*", "DATE", "BEFORE", "AFTER", "", 'ETAG, "x"', '"', "garbage"]
)


FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("Range"), RANGE),
        st.tuples(
            st.sampled_from(
                ["If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]
            ),
            TAG,
        ),
    ),
    max_size=4,
)


@pytest.mark.hypothesis
def test_any_range_and_condition(plane: Plane) -> None:
    """Whatever the fields say: a status of the table, a body of its length, and never another byte."""
    published = dated(plane, CONTENT)
    target = plane.link(published)

    @settings(max_examples=examples(300 if on_local(plane) else 30), deadline=None)
    @given(method=st.sampled_from(["GET", "GET", "HEAD"]), fields=FIELDS)
    def check(method: str, fields: list[tuple[str, str]]) -> None:
        hold_to_the_rules(plane, published, target, method, fields)

    check()


def hold_to_the_rules(
    plane: Plane, published: Published, target: str, method: str, fields: list[tuple[str, str]]
) -> None:
    words = {
        "ETAG": published.etag,
        "DATE": condition_rules.DATE,
        "BEFORE": condition_rules.BEFORE,
        "AFTER": condition_rules.AFTER,
    }
    lines = [
        f"{name}: {re.sub('|'.join(words), lambda word: words[word[0]], value)}" for name, value in fields
    ]
    with plane.connect() as client:
        client.send(request(target, *lines, method=method) + request("/healthz"))
        answer = client.read(method)
        assert client.read().status == 200  # in step still
    assert answer.status in (200, 206, 304, 412, 416)
    if method == "HEAD":
        assert answer.status in (200, 304, 412)
    elif answer.status == 200:
        assert answer.body == CONTENT
    elif answer.status == 206:
        found = (
            parts_of(answer) if "Content-Range" not in answer else [(answer["Content-Range"], answer.body)]
        )
        for place, body in found:
            match = re.fullmatch(rf"bytes (\d+)-(\d+)/{len(CONTENT)}", place)
            assert match
            assert body == CONTENT[int(match[1]) : int(match[2]) + 1]
