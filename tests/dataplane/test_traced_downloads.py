"""Traces of downloads, as they arrive at a real collector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.secrets import new_token
from tests.support.collector import Collector, run_collector
from tests.support.plane import Plane, run_plane

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"traceparent: 00-{TRACE}-{SPAN}-01", f"TraceParent: 00-{TRACE}-{SPAN}-00"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with run_collector() as running:
        yield running


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Plane]:
    """Nothing is sampled by chance, but what the proxy says is."""
    options: dict[str, Any] = {
        "traces_share": 1e-12,
        "traces_endpoint": collector.url,
        "trusted_proxies": "127.0.0.1",
    }
    with run_plane(tmp_path_factory.mktemp("traces"), **options) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(collector: Collector) -> None:
    collector.spans.clear()
    collector.bodies.clear()


@pytest.mark.parametrize(
    ("size", "maximum", "fields", "status", "steps"),
    [
        (50, None, (), 200, ["claim", "resolve", "plan", "send"]),
        (50, 3, (), 200, ["claim", "resolve", "plan", "reserve", "send", "settle"]),
        (3_000_000, 3, (), 200, ["claim", "resolve", "plan", "reserve", "send", "settle"]),
        (3_000_000, 3, ("Range: bytes=5-9",), 206, ["claim", "resolve", "plan", "reserve", "send", "settle"]),
        (50, None, ("Range: bytes=99-",), 416, ["claim", "resolve", "plan"]),
    ],
)
def test_the_steps_of_a_download(
    plane: Plane,
    collector: Collector,
    size: int,
    maximum: int | None,
    fields: tuple[str, ...],
    status: int,
    steps: list[str],
) -> None:
    published = plane.publish(bytes(size))
    link = plane.link(published, maximum)
    answer = plane.get(link, SAMPLED, "X-Forwarded-For: 203.0.113.77", *fields)
    assert answer.status == status
    [span] = collector.trace_of("download")
    assert (span.service, span.trace, span.parent) == ("download-gateway-worker", TRACE, SPAN)
    assert [step.name for step in collector.below(span)] == steps
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["gateway.bytes_sent"] == (len(answer.body) if status < 300 else 0 or "")
    if status < 300:
        assert span.attributes["gateway.product"] == published.manifest.product
    if maximum is not None:
        assert plane.charged(link) == len(answer.body)
    body = b"".join(collector.bodies)
    for secret in (link.partition("=")[2], "203.0.113.77", "127.0.0.1:"):
        assert secret.encode() not in body


@pytest.mark.slow
def test_a_refusal(plane: Plane, collector: Collector) -> None:
    token = new_token()
    assert plane.get(f"/download?token={token}", SAMPLED).status == 403
    [span] = collector.trace_of("download")
    assert span.attributes["gateway.refusal"] == "token_invalid"
    assert token.encode() not in b"".join(collector.bodies)


@pytest.mark.parametrize(
    ("maximum", "valid", "steps"),
    [
        (None, True, ["claim", "resolve"]),
        (3, True, ["claim", "resolve", "reserve"]),
        (None, False, ["claim"]),
    ],
)
def test_the_steps_of_a_question_of_a_proxy(
    plane: Plane, collector: Collector, maximum: int | None, valid: bool, steps: list[str]
) -> None:
    link = plane.link(plane.publish(b"abc"), maximum) if valid else f"/download?token={new_token()}"
    for _ in range(2):  # the second answer would be the quick one, were it not traced
        collector.spans.clear()
        assert plane.get("/auth", f"X-Original-URI: {link}", SAMPLED).status == (200 if valid else 403)
        [span] = collector.trace_of("download")
        assert [step.name for step in collector.below(span)] == steps
    assert link.partition("=")[2].encode() not in b"".join(collector.bodies)


@pytest.mark.slow
def test_who_is_not_traced(plane: Plane, collector: Collector) -> None:
    link = plane.link(plane.publish(b"abc"))
    for fields in ((), (NOT_SAMPLED,), (SAMPLED, SAMPLED), ("traceparent: x",)):
        assert plane.get(link, *fields).status == 200
    assert plane.get("/healthz", SAMPLED).status == 200
    assert plane.get(link, SAMPLED).status == 200
    assert len(collector.trace_of("download")) == 1


def test_strangers_decide_nothing(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> None:
    """Every request is traced here, in a trace of its own; a collector that is away stops nothing."""
    options: dict[str, Any] = {"traces_share": 1.0, "traces_endpoint": collector.url}
    with run_plane(tmp_path_factory.mktemp("all"), **options) as plane:
        link = plane.link(plane.publish(b"abc"))
        for fields in ((SAMPLED,), (NOT_SAMPLED,), ()):
            assert plane.get(link, *fields).body == b"abc"
        assert TRACE not in {span.trace for span in collector.trace_of("download", 3)}
        collector.status = 503
        assert plane.get(link).body == b"abc"
    collector.status = 200
