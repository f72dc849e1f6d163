"""Which requests are traced, what arrives at a real collector, and what happens without one."""

from __future__ import annotations

import logging
import sys

import pytest

from gateway.errors import GatewayError
from gateway.runtime import tracing
from gateway.runtime.tracing import Parent, Tracing, read_traceparent
from tests.support.collector import run_collector
from tests.support.rows import each_row

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@each_row(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f" 00-{TRACE}-{SPAN}-03\t", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"00-{TRACE}-{SPAN}-٠١", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_the_field_of_the_caller(text: str, sampled: bool | None) -> None:
    wanted = None if sampled is None else Parent(int(TRACE, 16), int(SPAN, 16), sampled)
    assert read_traceparent(text) == wanted


def test_spans_arrive_as_they_were() -> None:
    with run_collector() as collector:
        traces = Tracing.of(1.0, collector.url, "service")
        assert traces is not None
        trace = traces.begin(f"00-{TRACE}-{SPAN}-01")
        assert trace is not None
        for step in ("claim", "send"):
            trace.step(step)
        traces.end(trace, "download", {"gateway.product": "drums", "gateway.bytes_sent": 5}, 200)
        own = traces.begin(None)
        assert own is not None
        traces.end(own, "other", {}, 503)
        traces.stop()
        [span] = collector.trace_of("download")
        assert (span.service, span.trace, span.parent, span.kind) == ("service", TRACE, SPAN, 2)
        assert span.attributes == {
            "gateway.product": "drums",
            "gateway.bytes_sent": 5,
            "http.response.status_code": 200,
        }
        steps = collector.below(span)
        assert [step.name for step in steps] == ["claim", "send"]
        assert span.times[0] <= steps[0].times[0] <= steps[0].times[1] == steps[1].times[0]
        assert steps[1].times[1] == span.times[1]
        [other] = collector.trace_of("other")
        assert (other.parent, other.failed, span.failed) == ("", True, False)
        assert other.trace != TRACE


def test_who_decides() -> None:
    traces = Tracing.of(0.5, "http://127.0.0.1:9", "service")
    assert traces is not None
    assert 0 < sum(traces.begin(None) is not None for _ in range(1000)) < 1000
    for flags, wanted in (("01", True), ("00", False)):
        said = f"00-{TRACE}-{SPAN}-{flags}"
        assert {traces.begin(said) is not None for _ in range(50)} == {wanted}
    traces.stop()


def test_a_collector_that_takes_nothing_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with run_collector() as collector, caplog.at_level(logging.WARNING):
        collector.status = 400
        traces = Tracing.of(1.0, collector.url, "service")
        assert traces is not None
        for _ in range(3):
            trace = traces.begin(None)
            assert trace is not None
            traces.end(trace, "download", {}, 200)
            traces._provider.force_flush()
        traces.stop()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("gateway")] == [
        f"traces are dropped: the collector at {collector.url} does not take them (traces_endpoint)"
    ]


def test_without_a_share_nothing_is_imported() -> None:
    assert Tracing.of(0.0, "http://127.0.0.1:9", "service") is None


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        GatewayError, match=r"^traces_share is set, but .*pip install 'download-gateway\[traces\]'"
    ):
        Tracing.of(0.1, "http://127.0.0.1:9", "service")
    assert tracing.NO_TRACE.marks == []
