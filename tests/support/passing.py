"""What tests of passed requests share: how they are asked, and how a web process takes them."""

from __future__ import annotations

from typing import Any

from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.waiting import wait_until
from tests.support.web_stand_in import Taken

SHORT = {"header_timeout": 2.0, "stall_timeout": 4.0}
"""Seconds: the time-outs of a worker whose clients are too slow."""
OK = b"HTTP/1.1 200 OK\r\n"


def entry_of(plane: Plane, path: str) -> dict[str, Any]:
    """The line that the log has of a path that was asked for once."""

    def lines() -> list[dict[str, Any]]:
        return [each for each in plane.entries() if each.get("path") == path] if plane.log.exists() else []

    wait_until(lambda: bool(lines()), "the request is logged")
    [entry] = lines()
    return entry


def post(path: str, body: bytes, *fields: str) -> bytes:
    return request(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


def take_and_wait(taken: Taken) -> None:
    """Read the request's head, and then until the worker ends the connection."""
    taken.read_head()
    taken.read_end()
