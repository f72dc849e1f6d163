"""Requests without a connection."""

from __future__ import annotations

from types import SimpleNamespace

from aiohttp import web
from aiohttp.test_utils import make_mocked_request


def request_from(address: str) -> web.Request:
    """A request of a client's address."""
    request = make_mocked_request("GET", "/")
    request._protocol = SimpleNamespace(peer=(address, 1))  # type: ignore[assignment]
    return request
