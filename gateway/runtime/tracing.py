"""OpenTelemetry traces of some requests, sent to a collector by OTLP over HTTP: the extra `traces`.

1. Only requests that are sampled cost anything. While one is answered, its `Trace` gets a mark for each step;
   spans are made of the marks when it has ended, and a thread of the library sends them.
2. Whether a request is sampled is decided by its `traceparent` (W3C Trace Context) where a trusted proxy has
   sent one, and else by chance.
3. Attributes hold no token, key, address or URL: callers give only what is known to be none of these.
4. A collector that is away is logged once a minute, and stops nothing: spans are dropped then.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway import __version__
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

TRACEPARENT: Final = "traceparent"
SEND_SECONDS: Final = 5
"""How long one request to the collector may take, with its repetitions."""
STOP_MS: Final = 2_000
"""How long the end of a process may wait for the collector."""
WAITING_SPANS: Final = 4_096
"""Spans that wait to be sent; more are dropped. Each is some 2 KiB."""
REPORT_SECONDS: Final = 60.0
SERVER_ERROR: Final = 500

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_log = logging.getLogger("gateway")


class Parent(NamedTuple):
    """The span of the caller, by its numbers. sampled: whether the caller is traced."""

    trace: int
    span: int
    sampled: bool


def read_traceparent(text: str) -> Parent | None:
    """Read the field (W3C Trace Context, section 3.2); None where it is not valid: it does not count then."""
    match = _TRACEPARENT.fullmatch(text.strip(" \t"))
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace, span = int(match[2], 16), int(match[3], 16)
    return Parent(trace, span, bool(int(match[4], 16) & 1)) if trace and span else None


class Trace:
    """The marks of one request. parent: of the caller, if it is known."""

    __slots__ = ("marks", "parent", "started")

    def __init__(self, parent: Parent | None) -> None:
        self.parent = parent
        self.started = time.time_ns()
        self.marks: list[tuple[str, int]] = []

    def step(self, name: str) -> None:
        """A step begins, and the one before ends."""
        self.marks.append((name, time.time_ns()))


class _NoTrace(Trace):
    """Stands for the trace of a request that is not sampled: so a step costs one call, and no question."""

    def step(self, name: str) -> None:
        pass


NO_TRACE: Final = _NoTrace(None)


class Tracing:
    """The traces of one process."""

    def __init__(self, provider: TracerProvider, share: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("gateway", __version__)
        self._share = share

    @classmethod
    def of(cls, share: float, endpoint: str | None, service: str) -> Tracing | None:
        """The traces by the settings; None where no request is traced. service: its name in the traces.

        Raises GatewayError where the extra is not installed.
        """
        if not share or endpoint is None:
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415
        except ImportError:
            raise GatewayError(
                "traces_share is set, but OpenTelemetry is not installed: "
                "pip install 'download-gateway[traces]', or set traces_share to 0"
            ) from None
        library = logging.getLogger("opentelemetry")  # it would log each failure with a traceback
        library.propagate = False
        library.addHandler(logging.NullHandler())
        resource = Resource.create({"service.name": service, "service.version": __version__})
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        exporter: Any = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=SEND_SECONDS)
        provider.add_span_processor(
            BatchSpanProcessor(_Reporting(exporter, endpoint), max_queue_size=WAITING_SPANS)  # type: ignore[arg-type]
        )
        return cls(provider, share)

    def begin(self, traceparent: str | None) -> Trace | None:
        """The trace of a request, if it is sampled. traceparent: the field of a trusted proxy, if any."""
        parent = None if traceparent is None else read_traceparent(traceparent)
        sampled = random.random() < self._share if parent is None else parent.sampled  # noqa: S311
        return Trace(parent) if sampled else None

    def end(self, trace: Trace, name: str, attributes: Mapping[str, str | int], status: int) -> None:
        """Make the spans of a request that has ended: one for the request, and one below it for each step."""
        from opentelemetry import trace as api  # noqa: PLC0415

        ended = time.time_ns()
        context = api.set_span_in_context(api.INVALID_SPAN)
        if trace.parent is not None:
            flags = api.TraceFlags(api.TraceFlags.SAMPLED)
            parent = api.SpanContext(trace.parent.trace, trace.parent.span, is_remote=True, trace_flags=flags)
            context = api.set_span_in_context(api.NonRecordingSpan(parent))
        span = self._tracer.start_span(
            name,
            context,
            api.SpanKind.SERVER,
            {**attributes, "http.response.status_code": status},
            start_time=trace.started,
        )
        below = api.set_span_in_context(span)
        ends = [moment for _, moment in trace.marks[1:]] + [ended]
        for (step, began), end in zip(trace.marks, ends, strict=False):
            self._tracer.start_span(step, below, start_time=began).end(end)
        if status >= SERVER_ERROR:
            span.set_status(api.StatusCode.ERROR)
        span.end(ended)

    def stop(self) -> None:
        """Send what waits, for a while. Blocks."""
        self._provider.force_flush(STOP_MS)
        self._provider.shutdown()


class _Reporting:
    """A `SpanExporter` that logs failures in our words, once in REPORT_SECONDS."""

    def __init__(self, exporter: Any, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._reported = -REPORT_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        """Send some spans."""
        result = self._exporter.export(spans)
        if result.value:  # SpanExportResult.FAILURE
            now = time.monotonic()
            if now - self._reported >= REPORT_SECONDS:
                self._reported = now
                _log.warning(
                    "traces are dropped: the collector at %s does not take them (traces_endpoint)",
                    self._endpoint,
                )
        return result

    def shutdown(self) -> None:
        """Stop: a request that is repeated is given up."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = STOP_MS) -> bool:
        """Nothing waits here."""
        return bool(self._exporter.force_flush(timeout_millis))
