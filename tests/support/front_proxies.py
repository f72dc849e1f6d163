"""A front proxy on a real port, with every mistake that `check` knows."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONTENT = bytes(range(256)) * 20
ETAG = '"strong"'


class Front:
    """A gateway behind a front proxy, in as few lines as show what `check` looks at. `fault` breaks it."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.first_token = ""

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        token = path.partition("token=")[2]
        self.first_token = self.first_token or token
        if token != self.first_token:
            return self.refuse()
        body, status, extra = CONTENT, 200, {"ETag": ETAG}
        span = headers.get("Range")
        if span and self.fault == "slices":
            span = "bytes=0-2047"
        if span and (headers.get("If-Range", ETAG) == ETAG or self.fault == "ignores If-Range"):
            last = int(span.rpartition("-")[2])
            status, body = 206, body[: last + 1]
            extra["Content-Range"] = f"bytes 0-{last}/{len(CONTENT)}"
        if self.fault == "no ranges" and status == 206:
            status, body, extra = 200, CONTENT, {"ETag": ETAG}
        if span and span.count(",") >= 255 and self.fault in ("few ranges", "firewall"):
            status = 200 if self.fault == "few ranges" else 403
        if self.fault == "compresses":
            body = gzip.compress(body)
            extra |= {"Content-Encoding": "gzip", "ETag": f"W/{ETAG}"}
        if self.fault == "drops ETag":
            extra.pop("ETag")
        if self.fault == "caches":
            extra["Age"] = "3"
        if self.fault == "no HEAD" and method == "HEAD":
            status, body = 405, b""
        if self.fault == "wrong path":
            status, body, extra = 404, b"<html>", {}
        return status, extra, body

    def refuse(self) -> tuple[int, dict[str, str], bytes]:
        if self.fault == "500":
            return 500, {}, b"<html>"
        if self.fault == "own page":
            return 403, {}, b"<html>"
        return 403, {}, json.dumps({"code": "token_invalid"}).encode()


@contextmanager
def serve(front: Front) -> Iterator[str]:
    """Run a front on a real port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = front.answer(self.command, self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
