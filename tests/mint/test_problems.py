"""Who may use the mint service, which requests it refuses, and that every refusal has the same form."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from gateway.mint.models import GenerateDownloadUrl
from gateway.mint.routes import make_routes
from gateway.store.key_names import manifest_key
from tests.support.control_plane import Api, check_problem, manifest
from tests.support.rows import each_row

MINT = "/api/generate-download-url"
MINIMAL = {"productId": "drums"}
ROUTES = make_routes(GenerateDownloadUrl)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_url_needs_a_key_but_the_public_ones(api: Api, route: Any) -> None:
    public = route.path in ("/api/openapi.json", "/healthz", "/readyz")
    for key in ("", "gk_" + "a" * 43, "x" * 5000):
        status, body, response = await api.ask(route.method, route.path, key=key)
        if public:
            assert status == 200
            continue
        check_problem(status, body, response.content_type)
        assert status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    status, _, _ = await api.ask(route.method, route.path)
    assert status in (200, 404, 415)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_mint_key_may_only_mint(api: Api, route: Any) -> None:
    key = (await api.store.keys.create("shop", "mint")).key
    status, body, response = await api.ask(route.method, route.path, MINIMAL, key=key)
    if route.path in ("/api/openapi.json", "/healthz", "/readyz", MINT):
        assert status == 200
    else:
        check_problem(status, body, response.content_type)
        assert (status, body["code"]) == (403, "forbidden")


async def test_a_revoked_key_is_unknown_at_once(api: Api) -> None:
    minted = await api.store.keys.create("shop", "mint")
    assert (await api.ask("POST", MINT, MINIMAL, key=minted.key))[0] == 200
    await api.store.keys.revoke(minted.record.id)
    assert (await api.ask("POST", MINT, MINIMAL, key=minted.key))[0] == 401


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {} x", "Bearer é"])
async def test_only_a_bearer_key_is_accepted(api: Api, value: str) -> None:
    headers = {"Authorization": value.format(api.key)}
    status, body, response = await api.ask("POST", MINT, MINIMAL, key="", headers=headers)
    check_problem(status, body, response.content_type)
    assert status == 401
    assert api.key not in str(body)


async def test_the_scheme_bearer_is_not_case_sensitive(api: Api) -> None:
    headers = {"Authorization": f"bEARER  {api.key}"}
    assert (await api.ask("POST", MINT, MINIMAL, key="", headers=headers))[0] == 200


@each_row(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"x"', "object"),
        (b'{"productId": "drums"} x', "not JSON"),
        (b'{"productId": "drums", "productId": "drums"}', "twice"),
        (b'{"productId": "drums", "customer": {"name": "a", "name": "b"}}', "twice"),
        (b'{"productId": "drums", "expiresIn": NaN}', "NaN"),
        (b'{"productId": "drums", "metadata": {"a": -Infinity}}', "Infinity"),
        (b'{"productId": "drums", "metadata": {"a": 1e999}}', "metadata"),
        (b'{"productId": "drums", "expiresIn": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"productId": "\\ud800"}', "productId"),
        (b'{"productId": "drums", "\\ud800": 1}', "surrogate"),
        (b'{"productId": "drums", "metadata": {"\\udfff": 1}}', "metadata"),
        (b'{"productId": "drums", "customer": {"name": "\\ud83c"}}', "customer.name"),
        (b'{"productId": "drums\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"productId": "drums"}', "BOM"),
        ('{"productId": "drums"}'.encode("utf-16"), "UTF-8"),
        (b"[" * 30_000, "deeply"),
        (b'{"a":' * 10_000, "deeply"),
        (b'{"productId": "drums", "x": "gk_' + b"a" * 43 + b'"}', "x"),
        (b'{"gk_' + b"a" * 43 + b'": 1, "gk_' + b"a" * 43 + b'": 2}', "[secret]"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes, reason: str) -> None:
    status, answer, response = await api.ask(
        "POST", MINT, data=body, headers={"Content-Type": "application/json"}
    )
    check_problem(status, answer, response.content_type)
    assert status == 400
    assert reason in answer["error"]
    assert "gk_a" not in str(answer)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/json", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
async def test_only_json_in_utf_8_is_accepted(api: Api, content_type: str, status: int) -> None:
    got, body, response = await api.ask(
        "POST", MINT, data=json.dumps(MINIMAL).encode(), headers={"Content-Type": content_type}
    )
    assert got == status
    if status != 200:
        check_problem(status, body, response.content_type)


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    limit = 64 * 1024
    for size, status in ((limit, 400), (limit + 1, 413), (2**20 + 1, 413)):

        async def chunks(size: int = size) -> Any:
            yield b" " * size

        for data in (io.BytesIO(b" " * size), chunks()):
            got, body, response = await api.ask(
                "POST", MINT, data=data, headers={"Content-Type": "application/json"}
            )
            check_problem(status, body, response.content_type)
            assert got == status


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/products", "/api/products/drums", "/api/downloads/tokens"]
)
async def test_unknown_urls_and_those_of_the_admin_api(api: Api, path: str) -> None:
    for key in (api.key, ""):
        status, body, response = await api.ask("GET", path, key=key)
        check_problem(status, body, response.content_type)
        assert (status, body["code"]) == (404, "not_found")
        assert "the admin API, on `dashboard.listen`" in body["error"]


async def test_a_request_that_reaches_no_handler_is_a_problem(api: Api) -> None:
    status, body, response = await api.ask("PUT", MINT, MINIMAL)
    check_problem(status, body, response.content_type)
    assert (status, response.headers["Allow"]) == (405, "POST")
    status, body, response = await api.ask("POST", MINT, MINIMAL, headers={"Expect": "miracles"})
    check_problem(status, body, response.content_type)
    assert status == 417
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, body, response = await api.ask("POST", MINT, data=b"not gzip", headers=headers, compress=None)
    check_problem(status, body, response.content_type)
    assert status == 415


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization Bearer gk_" + b"a" * 43 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_bytes_that_are_no_http_are_a_problem(api: Api, head: bytes) -> None:
    answer = await api.talk(head)
    headers, _, body = answer.partition(b"\r\n\r\n")
    status = 400 if len(head) < 20_000 else 414 if head.startswith(b"GET /x") else 431
    assert headers[8:].startswith(b" %d " % status)
    check_problem(status, json.loads(body), "application/problem+json")
    assert b"application/problem+json" in headers
    assert b"gk_a" not in answer


async def test_unknown_parameters_are_refused(api: Api) -> None:
    status, body, _ = await api.ask("POST", f"{MINT}?x=1", MINIMAL)
    assert (status, body["errors"][0]["field"]) == (400, "x")
    assert (await api.ask("GET", "/healthz?utm=1", key=""))[0] == 200


async def test_a_defect_is_answered_without_secrets(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await api.store.client.call("SET", manifest_key(manifest("drums", "1.0.0").digest), "no JSON")
    status, body, response = await api.ask("POST", MINT, {**MINIMAL, "maxDownloads": 1})
    check_problem(status, body, response.content_type)
    assert status == 500
    assert "no JSON" not in str(body)
    assert "a request failed" in caplog.text
    assert api.key not in caplog.text


async def test_the_document_names_every_route(api: Api) -> None:
    _, document, _ = await api.ask("GET", "/api/openapi.json", key="")
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    assert len(described) == 4
    used = json.dumps(document["paths"]) + json.dumps(document["components"]["schemas"])
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in used
    body = document["components"]["schemas"]["GenerateDownloadUrl"]["properties"]
    assert body["expiresIn"]["anyOf"][0]["maximum"] == 100_000
