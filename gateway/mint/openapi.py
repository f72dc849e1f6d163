"""The OpenAPI 3.1 document of the mint service: schemas from the models, paths from the table below.

The tests hold it to the running service both ways: what it says is so, and nothing else happens.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.mint import answers, idempotency, models
from gateway.mint.problems import CONTENT_TYPE, TABLE
from gateway.products.validation import NAME_PATTERN

_REFERENCE: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = (
    "Makes and manages download tokens. Private: for shops and operators, not for customers. "
    "Times are RFC 3339, UTC, with milliseconds."
)
_BODY: Final = (400, 413, 415)
_OPEN: Final = (400, 500)
_KEYED: Final = (400, 401, 403, 500, 503)


def describe(mint_model: type[models.GenerateDownloadUrl]) -> dict[str, Any]:
    """Make the document. mint_model: with the limits of this service's settings."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Download gateway: mint service",
            "version": __version__,
            "description": _DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": _paths(mint_model),
        "components": {
            "schemas": _schemas(mint_model),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, gk_…, of `download-gateway key create`.",
                }
            },
        },
    }


def _paths(mint_model: type[models.GenerateDownloadUrl]) -> dict[str, Any]:
    product = _path_parameter("productId", NAME_PATTERN)
    token = _path_parameter("tokenId", models.TOKEN_ID_PATTERN)
    return {
        "/api/generate-download-url": {
            "post": _operation(
                "generateDownloadUrl",
                "Make a download URL",
                answer=answers.DownloadUrl,
                statuses=(*_KEYED, *_BODY, 404, 409, 422),
                body=mint_model,
                parameters=[_IDEMPOTENCY_KEY],
            )
        },
        "/api/downloads/tokens": {
            "get": _operation(
                "listTokens",
                "List tokens",
                answer=answers.TokensAnswer,
                statuses=_KEYED,
                parameters=_query_parameters(models.ListTokens),
            )
        },
        "/api/downloads/tokens/{tokenId}": {
            "parameters": [token],
            "get": _operation(
                "getToken", "Show a token", answer=answers.TokenAnswer, statuses=(*_KEYED, 404)
            ),
            "delete": _operation(
                "revokeToken", "Revoke a token", answer=answers.TokenAnswer, statuses=(*_KEYED, 404)
            ),
            "patch": _operation(
                "updateToken",
                "Change a token's expiry or limit",
                answer=answers.TokenAnswer,
                statuses=(*_KEYED, *_BODY, 404, 409),
                body=models.UpdateToken,
            ),
        },
        "/api/products": {
            "get": _operation(
                "listProducts", "List products", answer=answers.ProductsAnswer, statuses=_KEYED
            ),
            "post": _operation(
                "createProduct",
                "Make a product",
                answer=answers.ProductAnswer,
                status=201,
                statuses=(*_KEYED, *_BODY, 409),
                body=models.CreateProduct,
            ),
        },
        "/api/products/{productId}": {
            "parameters": [product],
            "get": _operation(
                "getProduct", "Show a product", answer=answers.ProductAnswer, statuses=(*_KEYED, 404)
            ),
            "put": _operation(
                "updateProduct",
                "Rename or archive a product, or choose its active version",
                answer=answers.ProductAnswer,
                statuses=(*_KEYED, *_BODY, 404, 409),
                body=models.UpdateProduct,
            ),
        },
        "/api/products/{productId}/versions": {
            "parameters": [product],
            "post": _operation(
                "registerVersion",
                "Register a version's files",
                answer=answers.ProductAnswer,
                statuses=(*_KEYED, *_BODY, 404, 409),
                body=models.RegisterVersion,
            ),
        },
        "/api/openapi.json": {"get": _open_operation("describe", "This document", {"type": "object"})},
        "/healthz": {"get": _open_operation("health", "Alive", _reference(answers.HealthAnswer))},
        "/readyz": {"get": _open_operation("readiness", "Ready", _reference(answers.HealthAnswer), 503)},
    }


_IDEMPOTENCY_KEY: Final = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and body within 24 hours get the same answer.",
    "schema": {"type": "string", "pattern": idempotency.KEY_PATTERN},
}


def _operation(
    name: str,
    summary: str,
    *,
    answer: type[BaseModel],
    statuses: tuple[int, ...],
    status: int = 200,
    body: type[BaseModel] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": _responses(status, _reference(answer), statuses),
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(body)}},
        }
    if parameters:
        operation["parameters"] = parameters
    return operation


def _open_operation(name: str, summary: str, schema: dict[str, Any], *more: int) -> dict[str, Any]:
    responses = _responses(200, schema, (*_OPEN, *more))
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}


def _responses(status: int, schema: dict[str, Any], statuses: tuple[int, ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    }
    for refused in sorted(set(statuses) | {405, 417}):
        codes = ", ".join(f"`{code}`" for code, row in TABLE.items() if row.status == refused)
        responses[str(refused)] = {
            "description": f"Refused: {codes}.",
            "content": {CONTENT_TYPE: {"schema": _reference(answers.ProblemData)}},
            **_headers(refused),
        }
    return responses


def _headers(status: int) -> dict[str, Any]:
    name = {401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"}.get(status)
    if name is None:
        return {}
    return {"headers": {name: {"required": True, "schema": {"type": "string"}}}}


def _path_parameter(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema(ref_template=_REFERENCE)["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is there is never null: take that alternative and its default away."""
    kept = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    plain = kept[0] if kept else {name: value for name, value in schema.items() if name != "title"}
    return {**plain, "default": schema["default"]} if schema.get("default") is not None else plain


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas(mint_model: type[BaseModel]) -> dict[str, Any]:
    requests = (
        mint_model,
        models.UpdateToken,
        models.CreateProduct,
        models.UpdateProduct,
        models.RegisterVersion,
    )
    answered = (
        answers.DownloadUrl,
        answers.TokenAnswer,
        answers.TokensAnswer,
        answers.ProductAnswer,
        answers.ProductsAnswer,
        answers.HealthAnswer,
        answers.ProblemData,
    )
    _, document = models_json_schema(
        [(model, "validation") for model in (*requests, *answered)], ref_template=_REFERENCE
    )
    return dict(document["$defs"])
