"""Changes to the valid requests that schemathesis makes: rules that the OpenAPI document cannot express.

Loaded by the `st` command (SCHEMATHESIS_HOOKS). Requests that are meant to be wrong are left alone.
"""

from __future__ import annotations

import datetime
import os
import random
import uuid
from typing import Any

import schemathesis
from schemathesis import Case, HookContext
from schemathesis.generation import GenerationMode

FILE = {"size": 100, "storage": "main", "key": "a.bin", "modified": None}
KNOWN = {"productId": "drums", "tokenId": os.environ.get("KNOWN_TOKEN", "")}
choose = random.Random(1)
"""Which requests meet something that is there."""


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Mend a valid request."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    case.body = _whole(case.body)
    body: dict[str, Any] = case.body if isinstance(case.body, dict) else {}
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(
            uuid.UUID(int=choose.getrandbits(128))
        )  # or it meets another body
    _mend_times(case.query)
    _mend_times(body)
    _mend_sales(case, body)
    for name, known in KNOWN.items():
        if case.path_parameters and name in case.path_parameters and choose.random() < 0.5:
            case.path_parameters[name] = known
    if case.operation.label == "POST /api/generate-download-url" and choose.random() < 0.7:
        body["productId"] = KNOWN["productId"]
        body.pop("version", None)
    if "expiresAt" in body:  # "in the future, and not too far"
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=choose.randint(60, 9999))
        body["expiresAt"] = moment.isoformat()
    for index, file in enumerate(body.get("files", [])):  # the service looks at each, and names are unique
        file.update(FILE)
        file["name"] = f"{index} {file['name']}"[:200]
        for digest in ("sha256", "crc32"):  # the service compares them with the content
            file.pop(digest, None)
    body.pop("trust", None)  # needs both digests
    if case.operation.path.startswith("/api/webhooks") and "url" in body:
        body["url"] = "https://shop.example/hook"  # "an address of the internet" is more than a pattern


def _whole(value: Any) -> Any:
    """1.0 is an integer in JSON Schema, but not in this API."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return value


def _mend_times(values: Any) -> None:
    """Times lie between 1970 and 9999."""
    for name in {"from", "to", "placedAt", "publishedAt", "until"} & {*(values or {})}:
        if isinstance(values[name], str) and values[name]:
            values[name] = "2026-01-31T12:00:00Z"


def _mend_sales(case: Case[Any], body: dict[str, Any]) -> None:
    """Addresses are addresses, and fields that depend on others agree with them."""
    label = case.operation.label
    if case.query and "email" in case.query:
        case.query["email"] = "ann@example.com"
    if "email" in body and label.startswith(("POST /api/customers", "POST /api/entitlements")):
        body["email"] = "ann@example.com"
    if label.startswith(("POST /api/connections", "PATCH /api/connections")):
        for name in ("apiKey", "shopUrl"):
            body.pop(name, None)
    if label.startswith("PATCH /api/entitlements"):
        body["override"] = "grant"
    if label == "POST /api/entitlements":
        _mend_share(body)
    for mapping in body.get("mappings", ()) if label.startswith("PUT /api/connections") else ():
        mapping["products"] = mapping["products"][:1]
        for product in mapping["products"]:
            _mend_share(product)
    if label.startswith("PUT /api/connections"):
        body["mappings"] = body["mappings"][:1]
    if label.startswith("PUT /api/orders"):
        body["customer"]["email"] = "ann@example.com"
        body["lines"] = body["lines"][:1]
        for line in body["lines"]:
            line.pop("sku", None)
            line |= {"productId": "drums", "quantity": 2, "refunded": 1}


def _mend_share(share: dict[str, Any]) -> None:
    """Of all versions, so that neither a version nor an end is named."""
    share["scope"] = "all"
    for name in ("version", "until"):
        share.pop(name, None)
