"""/api/downloads/tokens over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.store.key_names import token_key
from gateway.web.times import format_time, parse_time
from tests.support.control_plane import MAX_TTL, Api
from tests.support.rows import each_row

PATH = "/api/downloads/tokens"


async def create(api: Api, **terms: Any) -> str:
    return (await api.store.tokens.create("drums", "1.0.0", **terms)).record.id


async def test_show(api: Api) -> None:
    identifier = await create(api, max_downloads=2, email="a@b.example", name="Ada", metadata={"n": 1})
    await api.store.client.call("HSET", token_key(identifier), "charged:0", 150)
    record = await api.store.tokens.get(identifier)
    assert record is not None
    status, body, response = await api.ask("GET", f"{PATH}/{identifier}")
    assert (status, response.content_type) == (200, "application/json")
    assert body == {
        "success": True,
        "token": {
            "tokenId": identifier,
            "productId": "drums",
            "version": "1.0.0",
            "status": "active",
            "createdAt": format_time(record.created),
            "expiresAt": format_time(record.expires),
            "revokedAt": None,
            "maxDownloads": 2,
            "maxConnections": None,
            "maxRate": None,
            "maxConnectionRate": None,
            "bindTo": None,
            "keyId": None,
            "bytesCharged": 150,
            "customer": {"email": "a@b.example", "name": "Ada"},
            "metadata": {"n": 1},
            "usage": {"bytes": 0, "files": []},
        },
    }


@each_row("identifier", ["0" * 32, "x", "0" * 31, "A" * 32, "%00", "%ff", "*", "ct_" + "a" * 43])
@each_row(("method", "json"), [("GET", None), ("DELETE", None), ("PATCH", {"maxDownloads": 1})])
@pytest.mark.asyncio(loop_scope="session")
async def test_unknown(refusing: Api, identifier: str, method: str, json: Any) -> None:
    status, body, _ = await refusing.ask(method, f"{PATH}/{identifier}", json)
    assert (status, body["code"]) == (404, "token_unknown")
    assert "ct_" not in str(body)


async def test_revoke(api: Api) -> None:
    identifier = await create(api)
    _, first, _ = await api.ask("DELETE", f"{PATH}/{identifier}")
    assert first["token"]["status"] == "revoked"
    parse_time(first["token"]["revokedAt"])
    status, again, _ = await api.ask("DELETE", f"{PATH}/{identifier}")
    assert (status, again) == (200, first)
    status, body, _ = await api.ask("PATCH", f"{PATH}/{identifier}", {"maxDownloads": 1})
    assert (status, body["code"]) == (409, "token_revoked")


async def test_change(api: Api) -> None:
    identifier = await create(api, max_downloads=5)
    record = await api.store.tokens.get(identifier)
    assert record is not None
    moment = record.created + 60_500
    for text in (format_time(moment), format_time(moment).replace("Z", "9999+00:00")):
        status, body, _ = await api.ask("PATCH", f"{PATH}/{identifier}", {"expiresAt": text})
        assert (status, body["token"]["expiresAt"]) == (200, format_time(moment))
        assert await api.store.client.call("PEXPIRETIME", token_key(identifier)) == moment
    _, body, _ = await api.ask("PATCH", f"{PATH}/{identifier}", {"maxDownloads": 7})
    assert (body["token"]["maxDownloads"], body["token"]["expiresAt"]) == (7, format_time(moment))
    _, body, _ = await api.ask("PATCH", f"{PATH}/{identifier}", {"maxDownloads": None})
    assert body["token"]["maxDownloads"] is None


async def test_limits_are_changed(api: Api) -> None:
    identifier = await create(api)
    names = ("maxConnections", "maxRate", "maxConnectionRate", "bindTo")
    for change, wanted in (
        ({"maxConnections": 4, "bindTo": "network"}, [4, None, None, "network"]),
        ({"maxRate": 5000, "maxConnectionRate": 10**12}, [4, 5000, 10**12, "network"]),
        ({"maxRate": None, "maxConnections": 1}, [1, None, 10**12, "network"]),
        ({"maxDownloads": 3}, [1, None, 10**12, "network"]),
        ({"bindTo": None, "maxConnections": None, "maxConnectionRate": None}, [None] * 4),
    ):
        status, body, _ = await api.ask("PATCH", f"{PATH}/{identifier}", change)
        assert (status, [body["token"][name] for name in names]) == (200, wanted)
        _, body, _ = await api.ask("GET", f"{PATH}/{identifier}")
        assert [body["token"][name] for name in names] == wanted
    assert await api.store.client.call("HEXISTS", token_key(identifier), "caps") == 0


@each_row(
    ("change", "field"),
    [
        ({"maxConnections": 0}, "maxConnections"),
        ({"maxConnections": 10_001}, "maxConnections"),
        ({"maxConnections": "4"}, "maxConnections"),
        ({"maxRate": 0, "maxDownloads": 2}, "maxRate"),
        ({"maxConnectionRate": 1.5}, "maxConnectionRate"),
        ({"bindTo": "none"}, "bindTo"),
        ({}, "body"),
        ({"expiresAt": None}, "expiresAt"),
        ({"expiresAt": 5}, "expiresAt"),
        ({"expiresAt": ""}, "expiresAt"),
        ({"expiresAt": "2099-01-01"}, "expiresAt"),
        ({"expiresAt": "2099-01-01T00:00:00"}, "expiresAt"),
        ({"expiresAt": "2099-02-30T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "٢099-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2000-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "0001-01-01T00:00:00+23:59"}, "expiresAt"),
        ({"expiresAt": "9999-12-31T23:59:59.999-23:59"}, "expiresAt"),
        ({"maxDownloads": True}, "maxDownloads"),
        ({"maxDownloads": 0}, "maxDownloads"),
        ({"status": "active"}, "status"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_wrong_changes(refusing: Api, change: dict[str, Any], field: str) -> None:
    identifier = await create(refusing, max_downloads=5)
    before = await refusing.store.tokens.get(identifier)
    status, body, _ = await refusing.ask("PATCH", f"{PATH}/{identifier}", change)
    assert (status, body["errors"][0]["field"]) == (400, field)
    assert await refusing.store.tokens.get(identifier) == before


async def test_how_far_an_expiry_may_be_moved(api: Api) -> None:
    identifier = await create(api)
    record = await api.store.tokens.get(identifier)
    assert record is not None
    for seconds, status in ((MAX_TTL - 5, 200), (MAX_TTL + 60, 400)):
        wanted = {"expiresAt": format_time(record.created + 1000 * seconds)}
        assert (await api.ask("PATCH", f"{PATH}/{identifier}", wanted))[0] == status


async def test_list(api: Api) -> None:
    made = {await create(api) for _ in range(30)}
    mine = await create(api, email="a@b.example")
    found: list[str] = []
    query = "?limit=8"
    while query:
        status, body, _ = await api.ask("GET", PATH + query)
        assert status == 200
        assert len(body["tokens"]) <= 8
        found += [token["tokenId"] for token in body["tokens"]]
        query = f"?limit=8&cursor={body['nextCursor']}" if body["nextCursor"] else ""
    assert sorted(found) == sorted([*made, mine])
    _, body, _ = await api.ask("GET", PATH + "?customerEmail=A%40b.example&productId=drums&status=active")
    assert [token["tokenId"] for token in body["tokens"]] == [mine]
    assert (await api.ask("GET", PATH + "?status=revoked"))[1]["tokens"] == []


async def test_tokens_of_a_key(api: Api) -> None:
    await create(api)
    theirs = await create(api, key="0123456789abcdef")
    _, body, _ = await api.ask("GET", PATH + "?keyId=0123456789abcdef")
    assert [(token["tokenId"], token["keyId"]) for token in body["tokens"]] == [(theirs, "0123456789abcdef")]
    assert (await api.ask("GET", PATH + "?keyId=gk_"))[0] == 400


@each_row(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=1.0", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=01", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=zz", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=%ff", "cursor"),
        ("status=expired", "status"),
        ("productId=..", "productId"),
        ("productId=%0a", "productId"),
        ("customerEmail=x", "customerEmail"),
        ("token=ct_" + "a" * 43, "token"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_wrong_parameters(refusing: Api, query: str, field: str) -> None:
    status, body, _ = await refusing.ask("GET", f"{PATH}?{query}")
    assert (status, [fault["field"] for fault in body["errors"]]) == (400, [field])
    assert "ct_a" not in str(body)


async def test_a_forged_cursor_is_harmless(api: Api) -> None:
    await create(api)
    for cursor in ("0" * 44, "f" * 44, "8" * 44, "0" * 12 + "ab" * 16):
        status, _, _ = await api.ask("GET", f"{PATH}?cursor={cursor}")
        assert status == 200
