"""Plans: what is sent, segment by segment. Conditions and ranges have tests of their own."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import PRECONDITION_FAILED, RANGE_NOT_SATISFIABLE
from gateway.http.plans import Plan, Representation, Segment, plan_answer, plan_range, plan_redirect
from gateway.http.ranges import Span
from gateway.manifest import ManifestFile

SHA256 = "ab" * 32


def representation(size: int = 1000) -> Representation:
    return Representation(ManifestFile("a.wav", size, "audio/wav", SHA256, "0" * 8, "main", "a.wav", 10**18))


def plan(fields: dict[str, str], method: str = "GET", size: int = 1000) -> Plan:
    return plan_answer(method, CIMultiDictProxy(CIMultiDict(fields)), representation(size))


def segments(*spans: tuple[int, int]) -> tuple[Segment, ...]:
    return tuple(Segment(b"", 0, Span(*span)) for span in spans)


@pytest.mark.parametrize(
    ("fields", "status", "spans"),
    [
        ({}, 200, [(0, 1000)]),
        ({"Range": "bytes=5-9"}, 206, [(5, 10)]),
        ({"Range": "bytes=-5"}, 206, [(995, 1000)]),
        ({"Range": "items=5-9"}, 200, [(0, 1000)]),
        ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200, [(0, 1000)]),
        ({"Range": "bytes=5-9", "If-Range": f'"{SHA256}"'}, 206, [(5, 10)]),
    ],
)
def test_one_span_is_one_segment_without_framing(
    fields: dict[str, str], status: int, spans: list[tuple[int, int]]
) -> None:
    answer = plan(fields)
    assert answer.status == status
    assert answer.segments == segments(*spans)
    assert answer.closing == b""
    assert answer.amount == sum(stop - start for start, stop in spans)
    assert b"\r\nContent-Length: %d\r\n" % answer.amount in answer.head


def test_several_spans_are_segments_with_framing() -> None:
    answer = plan({"Range": "bytes=5-9,100-199"})
    assert answer.status == 206
    assert [(file, span) for _, file, span in answer.segments] == [(0, Span(5, 10)), (0, Span(100, 200))]
    assert all(
        b"Content-Type: audio/wav\r\nContent-Range: bytes" in segment.prefix for segment in answer.segments
    )
    assert answer.amount == 105
    length = sum(len(segment.prefix) for segment in answer.segments) + answer.amount + len(answer.closing)
    assert b"\r\nContent-Length: %d\r\n" % length in answer.head


def test_an_empty_file_has_no_segments() -> None:
    answer = plan({}, size=0)
    assert (answer.status, answer.segments, answer.amount) == (200, (), 0)


def test_head_has_the_fields_of_the_whole_file_and_no_segments() -> None:
    answer = plan({"Range": "bytes=5-9"}, "HEAD")
    assert answer.head == plan({}).head
    assert (answer.status, answer.segments, answer.amount) == (200, (), 0)


def test_what_is_not_sent() -> None:
    assert plan({"If-None-Match": f'"{SHA256}"'}).status == 304
    assert plan({"If-Match": '"other"'}).refusal is PRECONDITION_FAILED
    unsatisfiable = plan({"Range": "bytes=1000-"})
    assert unsatisfiable.refusal is RANGE_NOT_SATISFIABLE
    assert b"Content-Range: bytes */1000\r\n" in unsatisfiable.head


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_range_the_whole_file_is_planned(value: str | None) -> None:
    file = representation()
    assert plan_range(value, file) is file.whole()


def test_a_redirect_grants_bytes_and_sends_none() -> None:
    answer = plan_redirect("https://bucket.example/x?signature=1", 500)
    assert (answer.status, answer.segments, answer.amount) == (302, (), 500)
    assert b"Location: https://bucket.example/x?signature=1\r\n" in answer.head
    assert b"Cache-Control: no-store\r\n" in answer.head
