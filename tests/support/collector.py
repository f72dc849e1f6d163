"""A collector of traces on this machine: OTLP over HTTP, read as the protocol says."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.waiting import wait_until


@dataclass
class Span:
    """One span as it came. times: of its beginning and end, in ns."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    times: tuple[int, int]
    attributes: dict[str, Any]
    failed: bool


@dataclass
class Collector:
    """What came. status: of its answers. bodies: the requests, unpacked."""

    port: int = 0
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trace_of(self, name: str, count: int = 1) -> list[Span]:
        """The spans of this name that have no parent here, once there are so many."""

        def found() -> list[Span]:
            known = {span.id for span in self.spans}
            return [span for span in self.spans if span.name == name and span.parent not in known]

        wait_until(lambda: len(found()) >= count, f"{count} spans {name} came", 30)
        return found()

    def below(self, span: Span) -> list[Span]:
        """The spans of its steps, in their order."""
        return sorted((each for each in self.spans if each.parent == span.id), key=lambda each: each.times)


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Serve on a port of this machine."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if collector.status == 200:
                collector.bodies.append(body)
                collector.spans += read_spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def read_spans(request: Any) -> Iterator[Span]:
    for each in request.resource_spans:
        resource = {one.key: one.value.string_value for one in each.resource.attributes}
        for scope in each.scope_spans:
            for span in scope.spans:
                values = {one.key: one.value.int_value or one.value.string_value for one in span.attributes}
                yield Span(
                    resource["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    (span.start_time_unix_nano, span.end_time_unix_nano),
                    values,
                    span.status.code == 2,
                )
