"""Paths before they are looked at: dot segments, origins, fragments and encoded queries."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.paths import normal_path, remove_dot_segments, split_encoded_query, split_target
from tests.support.rows import each_row


@each_row(
    ("path", "expected"),
    [
        ("/a/b/c/./../../g", "/a/g"),  # RFC 3986 section 5.2.4
        ("/", "/"),
        ("/a", "/a"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/./b", "/a/b"),
        ("/../../../a", "/a"),
        ("/a//../b", "/a/b"),
        ("/a/...", "/a/..."),
        ("/a/.b/..c", "/a/.b/..c"),
        ("/%2e/a", "/a"),
        ("/%2E%2e/a", "/a"),
        ("/a/.%2E/b", "/b"),
        ("/a/%2e./b", "/b"),
        ("/a/%2e%2e%2e/b", "/a/%2e%2e%2e/b"),
        ("/a/%252e%252e/b", "/a/%252e%252e/b"),
        ("/a%2F..%2Fb", "/a%2F..%2Fb"),
    ],
)
def test_dot_segments_are_removed(path: str, expected: str) -> None:
    assert remove_dot_segments(path) == expected


SEGMENTS = st.lists(st.sampled_from([".", "..", "a", "b.", ".c", "%2E", "x%2e"]), min_size=1, max_size=8)


@given(SEGMENTS)
def test_dot_segments_as_a_client_removes_them(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    plain = path.replace("/%2E", "/.")
    assert remove_dot_segments(path) == urljoin("http://h/", plain).removeprefix("http://h")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("//a", "/a"), ("/.//a", "/a"), ("/a//b", "/a//b"), ("//", "/"), ("*", "*"), ("", "")],
)
def test_a_path_begins_with_one_slash(path: str, expected: str) -> None:
    assert normal_path(path) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a?b?c#d", ("/a", "b?c")),
        ("/a#b?c", ("/a", "")),
        ("http://h:1/a?b", ("/a", "b")),
        ("HTTPS://h?b", ("/", "b")),
        ("/a?b&#38;c#d", ("/a", "b&c")),
        ("/a?b&#x26;c", ("/a", "b&c")),
        ("/a?b&#39;c", ("/a", "b&")),
        ("*", ("*", "")),
        ("ftp://h/a", ("ftp://h/a", "")),
    ],
)
def test_targets_are_split(target: str, expected: tuple[str, str]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/a%3Ftoken=x%26file=y", "z", ("/a", "token=x&file=y&z")),
        ("/a%3ftoken%3Dx", "", ("/a", "token=x&")),
        ("/a%3Fb", "z", ("/a%3Fb", "z")),
        ("/a", "token=x", ("/a", "token=x")),
    ],
)
def test_a_query_in_the_path_is_taken_out(path: str, query: str, expected: tuple[str, str]) -> None:
    assert split_encoded_query(path, query) == expected
