"""Making an OpenAPI 3.1 document from a table of routes (`gateway.web.routes`) and pydantic models.

The tests hold each document to the running service both ways: what the document says happens, and nothing
else happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.web.models import ProblemDocument
from gateway.web.problems import CONTENT_TYPE, TABLE
from gateway.web.routes import Route

_REFERENCE: Final = "#/components/schemas/{model}"
_EVERY: Final = (400, 405, 417, 431, 500)
"""Refusals that every URL has."""
_WITH_KEY: Final = (401, 403, 429, 503)
_WITH_BODY: Final = (408, 413, 415)
_REQUIRED_FIELDS: Final = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
"""The header field that a refusal of that status always has."""


def describe(
    routes: Iterable[Route[Any]],
    *,
    title: str,
    description: str,
    patterns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make the document of a table. patterns: the regular expression of each name in braces in a path."""
    rows = tuple(routes)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": description},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": _paths(rows, patterns or {}),
        "components": {
            "schemas": _schemas(rows),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, gk_…, made by `download-gateway key create`.",
                }
            },
        },
    }


def _paths(rows: Iterable[Route[Any]], patterns: Mapping[str, str]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        names = re.findall(r"\{(\w+)\}", row.path)
        start = {"parameters": [_path_parameter(name, patterns[name]) for name in names]} if names else {}
        paths.setdefault(row.path, start)[row.method.lower()] = _operation(row)
    return paths


def _operation(row: Route[Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": row.operation, "summary": row.summary}
    if row.roles is None:
        operation["security"] = []
    operation["responses"] = _responses(row)
    if row.body is not None:
        schema = _reference(row.body)
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": row.needs_body, "content": content}
    parameters = [*row.headers, *(_query_parameters(row.query) if row.query is not None else ())]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _responses(row: Route[Any]) -> dict[str, Any]:
    schema = {"type": "object"} if row.response is None else _reference(row.response)
    if row.media != "application/json":
        schema = {"type": "string"}
    done: dict[str, Any] = {"description": "Done."}
    if row.status != 204:
        done["content"] = {row.media: {"schema": schema}}
        if row.page:
            done["content"]["text/html"] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {str(row.status): done}
    if row.creates:
        responses["201"] = {**done, "description": "Made."}
    statuses = {*_EVERY, *row.refusals}
    statuses.update(_WITH_KEY if row.roles is not None else ())
    statuses.update(_WITH_BODY if row.body is not None else ())
    for status in sorted(statuses):
        codes = ", ".join(f"`{code}`" for code, entry in TABLE.items() if entry.status == status)
        responses[str(status)] = {
            "description": f"Refused: {codes}.",
            "content": {CONTENT_TYPE: {"schema": _reference(ProblemDocument)}},
            **_headers(status),
        }
    return responses


def _headers(status: int) -> dict[str, Any]:
    name = _REQUIRED_FIELDS.get(status)
    return {"headers": {name: {"required": True, "schema": {"type": "string"}}}} if name else {}


def _path_parameter(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema(ref_template=_REFERENCE)["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Take away the alternative null, and a default that is null: a parameter in a URL is never null."""
    kept = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    plain = kept[0] if kept else {name: value for name, value in schema.items() if name != "title"}
    return {**plain, "default": schema["default"]} if schema.get("default") is not None else plain


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas(rows: Iterable[Route[Any]]) -> dict[str, Any]:
    models: dict[type[BaseModel], None] = {ProblemDocument: None}  # a dictionary keeps the order of the table
    for row in rows:
        models |= dict.fromkeys(model for model in (row.body, row.response) if model is not None)
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    return dict(_without_null_defaults(schema["$defs"]))


def _without_null_defaults(schema: Any) -> Any:
    """Take away every `"default": null`: it means the same as leaving the field out.

    Generators of clients send it, or refuse it beside a type that has no null.
    """
    if isinstance(schema, list):
        return [_without_null_defaults(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_null_defaults(part)
        for name, part in schema.items()
        if name != "default" or part is not None
    }
