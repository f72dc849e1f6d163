"""JSON responses of an ordinary aiohttp application."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from gateway.web.problems import CONTENT_TYPE, Problem

_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def encode_json(document: dict[str, Any]) -> bytes:
    """Encode a document as JSON in UTF-8."""
    return _encode(document).encode()


def json_response(document: dict[str, Any], status: int = 200) -> web.Response:
    """Make a response of a JSON document. No cache may store it: some documents hold secrets."""
    return _response(document, status, "application/json", {})


def problem_response(problem: Problem) -> web.Response:
    """Make the response that reports a problem."""
    return _response(problem.document(), problem.status, CONTENT_TYPE, problem.headers)


def _response(
    document: dict[str, Any], status: int, content_type: str, headers: Mapping[str, str]
) -> web.Response:
    # the type is given as a header: with the argument, aiohttp would send a charset, which JSON does not have
    fields = {"Content-Type": content_type, "Cache-Control": "no-store", **headers}
    return web.Response(body=encode_json(document), status=status, headers=fields)
