"""POST /api/generate-download-url: what it creates, what it refuses, and what is then in the store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.secrets import key_id, token_id
from gateway.store.key_names import token_key
from gateway.web.times import parse_time
from tests.support.control_plane import MAX_TTL, PUBLIC_URL, Api
from tests.support.rows import each_row

PATH = "/api/generate-download-url"
MINIMAL = {"productId": "drums", "version": "1.0.0"}


async def test_minimal_body(api: Api) -> None:
    status, body, response = await api.ask("POST", PATH, MINIMAL)
    assert status == 200
    token = body["downloadToken"]
    assert body == {
        "success": True,
        "productId": "drums",
        "version": "1.0.0",
        "downloadToken": token,
        "downloadUrl": f"{PUBLIC_URL}/download?token={token}",
        "directUrl": f"{PUBLIC_URL}/download/{token}/file%200.bin",
        "expiresAt": body["expiresAt"],
    }
    assert token.startswith("ct_")
    assert len(token) == 46
    assert response.headers["Cache-Control"] == "no-store"
    key = token_key(token_id(token))
    expires = await api.store.client.call("PEXPIRETIME", key)
    fields = await api.store.client.call("HGETALL", key)
    assert parse_time(body["expiresAt"]) == expires == int(fields["expires"])
    assert int(fields["expires"]) - int(fields["created"]) == 86_400_000
    assert set(fields) == {"manifest", "product", "version", "created", "expires", "key"}
    assert fields["key"] == key_id(api.key)


async def test_everything_given_is_kept(api: Api) -> None:
    wanted = {
        **MINIMAL,
        "expiresIn": 60,
        "maxDownloads": 3,
        "customer": {"email": "a@example.com", "name": "Ada 🎹"},
        "metadata": {"order": "A-1", "price": 9.5, "count": 2, "gift": True},
    }
    status, body, _ = await api.ask("POST", PATH, wanted)
    assert status == 200
    fields = await api.store.client.call("HGETALL", token_key(token_id(body["downloadToken"])))
    assert (fields["max"], fields["size"]) == ("3", "100")
    record = await api.store.tokens.get(token_id(body["downloadToken"]))
    assert record is not None
    assert (record.email, record.name, record.metadata) == (
        "a@example.com",
        "Ada 🎹",
        wanted["metadata"],
    )
    assert record.expires - record.created == 60_000


async def test_the_active_version_and_null_as_absent(api: Api) -> None:
    status, body, _ = await api.ask(
        "POST", PATH, {"productId": "drums", "version": None, "maxDownloads": None}
    )
    assert (status, body["version"]) == (200, "1.0.0")
    await api.store.products.update("drums", active="2.0.0")
    status, body, _ = await api.ask("POST", PATH, {"productId": "drums", "maxDownloads": 2})
    assert (status, body["version"]) == (200, "2.0.0")
    fields = await api.store.client.call("HGETALL", token_key(token_id(body["downloadToken"])))
    assert "size" not in fields  # two files
    assert "directUrl" not in body


@pytest.mark.parametrize(
    "empty",
    [
        {"metadata": []},
        {"metadata": {}},
        {"metadata": ""},
        {"customer": []},
        {"customer": {}},
        {"customer": ""},
        {"customer": {"email": "", "name": ""}},
        {"customer": {"email": None, "name": ""}},
        {"version": ""},
        {"version": "", "customer": [], "metadata": [], "expiresIn": None, "maxDownloads": None},
    ],
)
async def test_what_php_and_forms_send_for_nothing_is_nothing(api: Api, empty: dict[str, Any]) -> None:
    """PHP encodes an empty array as `[]`, whatever it would hold."""
    status, body, _ = await api.ask("POST", PATH, {"productId": "drums", **empty})
    assert (status, body["version"]) == (200, "1.0.0")
    fields = await api.store.client.call("HGETALL", token_key(token_id(body["downloadToken"])))
    assert set(fields) == {"manifest", "product", "version", "created", "expires", "key"}


@each_row(
    ("change", "field"),
    [
        ({"productId": None}, "productId"),
        ({"productId": 1}, "productId"),
        ({"productId": ""}, "productId"),
        ({"productId": "../x"}, "productId"),
        ({"productId": "drums\n"}, "productId"),
        ({"productId": "a" * 129}, "productId"),
        ({"version": 1.0}, "version"),
        ({"version": []}, "version"),
        ({"version": " "}, "version"),
        ({"expiresIn": ""}, "expiresIn"),
        ({"expiresIn": []}, "expiresIn"),
        ({"maxDownloads": ""}, "maxDownloads"),
        ({"expiresIn": 0}, "expiresIn"),
        ({"expiresIn": MAX_TTL + 1}, "expiresIn"),
        ({"expiresIn": "60"}, "expiresIn"),
        ({"expiresIn": 1.5}, "expiresIn"),
        ({"expiresIn": 10**100}, "expiresIn"),
        ({"maxDownloads": True}, "maxDownloads"),
        ({"maxDownloads": 1.0}, "maxDownloads"),
        ({"maxDownloads": 0}, "maxDownloads"),
        ({"maxDownloads": -1}, "maxDownloads"),
        ({"maxDownloads": 1_000_001}, "maxDownloads"),
        ({"maxDownloads": "1"}, "maxDownloads"),
        ({"customer": "a@b"}, "customer"),
        ({"customer": {"email": "nobody"}}, "customer.email"),
        ({"customer": {"email": "a@b c"}}, "customer.email"),
        ({"customer": {"email": "a@" + "b" * 253}}, "customer.email"),
        ({"customer": ["a@b.example"]}, "customer"),
        ({"customer": {"email": []}}, "customer.email"),
        ({"customer": {"email": " "}}, "customer.email"),
        ({"customer": {"name": "a\0"}}, "customer.name"),
        ({"customer": {"name": "a" * 201}}, "customer.name"),
        ({"customer": {"phone": "1"}}, "customer.phone"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": [[]]}, "metadata"),
        ({"metadata": " "}, "metadata"),
        ({"unknown": ""}, "unknown"),
        ({"metadata": {"a": None}}, "metadata"),
        ({"metadata": {"a": {}}}, "metadata"),
        ({"metadata": {"a": []}}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"\0": "a"}}, "metadata"),
        ({"metadata": {"a": 10**400}}, "metadata"),
        ({"metadata": {"a": 2**53}}, "metadata"),
        ({"metadata": {"a": "x" * 4096}}, "metadata"),
        ({"unknown": 1}, "unknown"),
        ({"ct_" + "a" * 43: 1}, "[secret]"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    status, body, response = await api.ask("POST", PATH, {**MINIMAL, **change})
    assert (status, response.content_type) == (400, "application/problem+json")
    assert [fault["field"] for fault in body["errors"]] == [field]
    assert body["error"] == body["detail"]
    assert field in body["error"]
    assert (
        await api.store.client.call("DBSIZE") == 6
    )  # product, its versions, two manifests, the set, the key


async def test_all_wrong_fields_are_named_together(api: Api) -> None:
    _, body, _ = await api.ask("POST", PATH, {"productId": 1, "version": 2, "customer": {"email": 3}, "x": 4})
    assert {fault["field"] for fault in body["errors"]} == {"productId", "version", "customer.email", "x"}


async def test_metadata_limit_is_of_bytes(api: Api) -> None:
    room = 4096 - len('{"a":""}')
    assert (await api.ask("POST", PATH, {**MINIMAL, "metadata": {"a": "x" * room}}))[0] == 200
    assert (await api.ask("POST", PATH, {**MINIMAL, "metadata": {"a": "x" * (room + 1)}}))[0] == 400
    assert (await api.ask("POST", PATH, {**MINIMAL, "metadata": {"a": "é" * (room // 2)}}))[0] == 200
    assert (await api.ask("POST", PATH, {**MINIMAL, "metadata": {"a": "é" * (room // 2 + 1)}}))[0] == 400


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"productId": "nothing"}, 404, "product_unknown"),
        ({"productId": "drums", "version": "9"}, 404, "version_unknown"),
        ({"productId": "empty"}, 404, "version_missing"),
        ({"productId": "old"}, 409, "product_archived"),
    ],
)
async def test_what_cannot_be_sold(api: Api, wanted: dict[str, str], status: int, code: str) -> None:
    for product in ("empty", "old"):
        await api.store.products.create(product)
    await api.store.products.update("old", status="archived")
    got, body, _ = await api.ask("POST", PATH, wanted)
    assert (got, body["code"]) == (status, code)


# Idempotency-Key


async def ask_again(
    api: Api, name: str = "order-1", body: Any = None, key: str | None = None
) -> tuple[int, bytes]:
    async with api.session.post(
        api.url + PATH,
        json=body or MINIMAL,
        headers={"Authorization": f"Bearer {key or api.key}", "Idempotency-Key": name},
    ) as response:
        return response.status, await response.read()


async def test_same_key_and_body_same_answer(api: Api) -> None:
    first = await ask_again(api, body={"productId": "drums", "expiresIn": 5})
    assert first[0] == 200
    await api.store.products.update("drums", active="2.0.0", status="archived")
    assert await ask_again(api, body={"expiresIn": 5, "productId": "drums"}) == first
    # gone, as if it had expired: it is not made again
    assert b"ct_" in first[1]
    token = first[1].split(b'"downloadToken": "')[1][:46].decode()
    await api.store.client.call("DEL", token_key(token_id(token)))
    assert await ask_again(api, body={"expiresIn": 5, "productId": "drums"}) == first
    assert await api.store.tokens.get(token_id(token)) is None


async def test_same_key_another_body(api: Api) -> None:
    first = await ask_again(api)
    status, body = await ask_again(api, body={**MINIMAL, "maxDownloads": 1})
    assert status == 422
    assert b"idempotency_key_reused" in body
    assert await ask_again(api) == first


async def test_keys_are_scoped_and_hidden(api: Api) -> None:
    other = await api.store.keys.create("other", "mint")
    first, second = await ask_again(api), await ask_again(api, key=other.key)
    third = await ask_again(api, "order-2")
    assert len({first, second, third}) == 3
    records = await api.store.client.call("KEYS", "dg:idem:*")
    assert len(records) == 3
    for key in records:
        assert 86_390_000 < await api.store.client.call("PTTL", key) <= 86_400_000


async def test_many_at_once_make_one_token(api: Api) -> None:
    answers = await asyncio.gather(*(ask_again(api) for _ in range(40)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 200
    assert len(await api.store.client.call("KEYS", "dg:token:*")) == 1


@pytest.mark.parametrize("token_there", [False, True])
async def test_a_crash_between_the_steps_is_repaired(api: Api, token_there: bool) -> None:
    first = await ask_again(api)
    [record] = await api.store.client.call("KEYS", "dg:idem:*")
    await api.store.client.call("SETRANGE", record, 0, "open")  # as a crash before step 3 leaves it
    [token] = await api.store.client.call("KEYS", "dg:token:*")
    before = await api.store.client.call("HGETALL", token)
    if not token_there:  # or before step 2
        await api.store.client.call("DEL", token)
    assert await ask_again(api) == first
    after = await api.store.client.call("HGETALL", token)
    assert {**after, "created": ""} == {**before, "created": ""}
    assert await api.store.client.call("PEXPIRETIME", token) == int(before["expires"])
    assert (await api.store.client.call("GET", record)).startswith("done ")


async def test_a_repeated_order_after_the_expiry_makes_no_token(api: Api) -> None:
    first = await ask_again(api, body={**MINIMAL, "expiresIn": 1})
    [record] = await api.store.client.call("KEYS", "dg:idem:*")
    await api.store.client.call("SETRANGE", record, 0, "open")
    await asyncio.sleep(1.1)
    assert await ask_again(api, body={**MINIMAL, "expiresIn": 1}) == first
    assert not await api.store.client.call("KEYS", "dg:token:*")


@pytest.mark.parametrize("name", ["", "a\tb", "é", "x" * 256])
async def test_wrong_idempotency_keys(api: Api, name: str) -> None:
    status, body = await ask_again(api, name)
    assert status == 400
    assert b"Idempotency-Key" in body
    assert (await ask_again(api, "!" * 255))[0] == 200
