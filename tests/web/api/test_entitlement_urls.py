"""POST /api/entitlements/{id}/download-url: the mint service's optional fields and its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.secrets import token_id
from tests.support.control_plane import MAX_TTL, PUBLIC_URL
from tests.support.sales import Sales


async def entitle(sales: Sales, order_id: str = "A-1") -> str:
    """The URL of an entitlement of the product drums."""
    _, told = await sales.put(order_id)
    [entitlement] = told["order"]["lines"][0]["entitlementIds"]
    return f"/entitlements/{entitlement}/download-url"


async def ask(sales: Sales, path: str, body: Any, name: str) -> tuple[int, Any]:
    status, found, _ = await sales.api.ask("POST", f"/api{path}", body, headers={"Idempotency-Key": name})
    return status, found


async def token(sales: Sales, url: dict[str, Any]) -> dict[str, Any]:
    _, found = await sales.ask("GET", f"/downloads/tokens/{token_id(url['downloadToken'])}")
    document: dict[str, Any] = found["token"]
    return document


async def test_all_fields_of_the_mint_service_are_taken(sales: Sales) -> None:
    path = await entitle(sales)
    body = {
        "expiresIn": 60,
        "maxDownloads": 2,
        "customer": {"email": "bob@example.com", "name": "Bob"},
        "metadata": {"seat": 3},
    }
    status, url = await sales.ask("POST", path, body)
    assert status == 200
    assert set(url) == {
        *("success", "productId", "version", "downloadToken", "downloadUrl", "directUrl", "expiresAt"),
    }
    secret = url["downloadToken"]
    assert url["downloadUrl"] == f"{PUBLIC_URL}/download?token={secret}"
    assert url["directUrl"] == f"{PUBLIC_URL}/download/{secret}/file%200.bin"
    made = await token(sales, url)
    assert (made["maxDownloads"], made["customer"]) == (2, body["customer"])
    assert (made["metadata"], made["expiresAt"]) == (body["metadata"], url["expiresAt"])


async def test_several_files_have_no_direct_url_and_the_customer_is_the_entitlements(sales: Sales) -> None:
    _, url = await sales.ask("POST", await entitle(sales), {"version": "2.0.0", "customer": {"name": "Ann"}})
    assert "directUrl" not in url
    assert (await token(sales, url))["customer"] == {"email": "ann@example.com", "name": "Ann"}


@pytest.mark.parametrize(
    "body",
    [
        {"expiresIn": MAX_TTL + 1},
        {"expiresIn": 0},
        {"maxDownloads": 0},
        {"customer": {"email": "no address"}},
        {"customer": {"phone": "1"}},
        {"metadata": {"a": {}}},
        {"productId": "drums"},
    ],
)
async def test_wrong_fields_are_refused(sales: Sales, body: dict[str, Any]) -> None:
    status, refused = await sales.ask("POST", await entitle(sales), body)
    assert (status, refused["code"]) == (400, "invalid_request")
    assert next(iter(body)) in refused["errors"][0]["field"]


async def test_the_longest_lifetime_is_in_openapi(sales: Sales) -> None:
    _, document = await sales.ask("GET", "/openapi.json")
    operation = document["paths"]["/api/entitlements/{entitlementId}/download-url"]["post"]
    assert "Idempotency-Key" in {each["name"] for each in operation["parameters"]}
    schema = document["components"]["schemas"]["EntitlementUrl"]["properties"]["expiresIn"]
    assert MAX_TTL in {each.get("maximum") for each in schema["anyOf"]}


async def test_the_same_request_again_gets_the_same_answer(sales: Sales) -> None:
    path = await entitle(sales)
    first = await ask(sales, path, {"expiresIn": 60}, "k-1")
    assert first[0] == 200
    again = await asyncio.gather(*(ask(sales, path, {"expiresIn": 60}, "k-1") for _ in range(5)))
    assert again == [first] * 5
    assert (await ask(sales, path, {"expiresIn": 60}, "k-2"))[1] != first[1]
    assert (await ask(sales, path, {"expiresIn": 61}, "k-1"))[1]["code"] == "idempotency_key_reused"
    other = await entitle(sales, "A-2")
    assert (await ask(sales, other, {"expiresIn": 60}, "k-1"))[0] == 422, "another entitlement"
    assert (await ask(sales, path, {}, ""))[0] == 400
    _, tokens = await sales.ask("GET", "/downloads/tokens")
    assert len(tokens["tokens"]) == 2


async def test_several_requests_at_once_make_one_token(sales: Sales) -> None:
    path = await entitle(sales)
    found = await asyncio.gather(*(ask(sales, path, {}, "k") for _ in range(8)))
    assert {status for status, _ in found} == {200}
    assert len({url["downloadToken"] for _, url in found}) == 1


async def test_what_is_not_active_gets_no_url_not_even_the_same_one_again(sales: Sales) -> None:
    path = await entitle(sales)
    assert (await ask(sales, path, {}, "k"))[0] == 200
    await sales.put(status="refunded")
    assert (await ask(sales, path, {}, "k"))[1]["code"] == "entitlement_not_active"


async def test_a_removed_token_is_not_made_again(sales: Sales) -> None:
    path = await entitle(sales)
    _, url = await ask(sales, path, {}, "k")
    identifier = token_id(url["downloadToken"])
    await sales.api.store.tokens.revoke(identifier)
    assert await ask(sales, path, {}, "k") == (200, url)
    assert (await token(sales, url))["status"] == "revoked"
