"""The OpenAPI document that is made from a table of routes. Against running services, see test_service.py."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp import web

from gateway.mint.models import mint_model
from gateway.mint.routes import make_routes
from gateway.web.api.application import ROUTES as ROUTES_OF_ADMIN
from gateway.web.models import Name, Parameters, RequestModel, ResponseModel
from gateway.web.openapi import describe
from gateway.web.routes import Route, below


class Things(Parameters):
    """Parameters."""

    name: Name | None = None


class NewThing(RequestModel):
    """A body."""

    name: Name


class Thing(ResponseModel):
    """A response."""

    name: str


async def handle(_request: web.Request, _context: Any) -> web.Response:
    return web.Response()


ROUTES: tuple[Route[Any], ...] = (
    Route("GET", "/things", handle, "listThings", "List", Thing, query=Things),
    Route("PUT", "/things/{thingId}", handle, "putThing", "Put", Thing, 201, body=NewThing, refusals=(409,)),
    Route("GET", "/open", handle, "open", "Open", None, roles=None),
)


def make() -> dict[str, Any]:
    return describe(below("/x", ROUTES), title="T", description="D", patterns={"thingId": "^[a-z]$"})


def test_each_row_is_an_operation_below_the_prefix() -> None:
    paths = make()["paths"]
    assert {path: set(item) for path, item in paths.items()} == {
        "/x/things": {"get"},
        "/x/things/{thingId}": {"parameters", "put"},
        "/x/open": {"get"},
    }
    [parameter] = paths["/x/things/{thingId}"]["parameters"]
    assert (parameter["name"], parameter["schema"]["pattern"]) == ("thingId", "^[a-z]$")
    [parameter] = paths["/x/things"]["get"]["parameters"]
    assert (parameter["in"], parameter["name"], parameter["schema"]["type"]) == ("query", "name", "string")


@pytest.mark.parametrize("routes", [make_routes(mint_model(86_400)), ROUTES_OF_ADMIN], ids=["mint", "admin"])
def test_no_default_is_null(routes: tuple[Route[Any], ...]) -> None:
    """A field that may be left out has no default; one that has another default keeps it."""
    names = (name for route in routes for name in re.findall(r"\{(\w+)\}", route.path))
    patterns = dict.fromkeys(names, "x")
    text = json.dumps(describe(routes, title="T", description="D", patterns=patterns))
    assert '"default": null' not in text
    assert '"type": "null"' in text


def test_refusals_follow_from_the_row() -> None:
    paths = make()["paths"]
    every, with_key = {"400", "405", "417", "431", "500"}, {"401", "403", "429", "503"}
    assert set(paths["/x/open"]["get"]["responses"]) == {"200", *every}
    assert set(paths["/x/things"]["get"]["responses"]) == {"200", *every, *with_key}
    put = paths["/x/things/{thingId}"]["put"]["responses"]
    assert set(put) == {"201", "408", "409", "413", "415", *every, *with_key}
    assert put["401"]["headers"]["WWW-Authenticate"]["required"]
    assert "`key_missing`" in put["401"]["description"]


def test_an_open_url_needs_no_key_and_schemas_are_those_in_use() -> None:
    document = make()
    assert document["paths"]["/x/open"]["get"]["security"] == []
    assert "security" not in document["paths"]["/x/things"]["get"]
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"Thing", "NewThing", "ProblemDocument", "FaultDocument"}
