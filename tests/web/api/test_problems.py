"""Who may use the admin API, which requests it refuses, and that every refusal has the same form."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from gateway.catalogue.catalogue import Catalogue
from gateway.web.api.application import ROUTES
from tests.support.control_plane import Api, check_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRODUCTS = "/api/products"
PUBLIC = ("/api/openapi.json", "/healthz", "/readyz", "/.well-known/jwks.json")


@pytest.fixture
def api(refusing: Api) -> Api:
    """One service for all tests here."""
    return refusing


def fill(path: str) -> str:
    names = {"tokenId": "0" * 32, "productId": "drums", "source": "zapier", "orderId": "A-1"}
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], "0" * 26), path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_url_needs_a_key_but_the_public_ones(api: Api, route: Any) -> None:
    for key in ("", "gk_" + "a" * 43, "x" * 5000):
        status, body, response = await api.ask(route.method, fill(route.path), key=key)
        if route.path in PUBLIC:
            assert status == 200
            continue
        check_problem(status, body, response.content_type)
        assert status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    status, _, _ = await api.ask(route.method, fill(route.path))
    assert status in (200, 404, 415)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_mint_key_may_only_mint(api: Api, route: Any) -> None:
    key = (await api.store.keys.create("shop", "mint")).key
    status, body, response = await api.ask(route.method, fill(route.path), {"name": "x"}, key=key)
    if route.path in PUBLIC:
        assert status == 200
    else:
        check_problem(status, body, response.content_type)
        assert (status, body["code"]) == (403, "forbidden")


async def test_a_revoked_key_is_unknown_at_once(api: Api) -> None:
    minted = await api.store.keys.create("operator")
    assert (await api.ask("GET", PRODUCTS, key=minted.key))[0] == 200
    await api.store.keys.revoke(minted.record.id)
    assert (await api.ask("GET", PRODUCTS, key=minted.key))[0] == 401


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {} x", "Bearer é"])
async def test_only_a_bearer_key_is_accepted(api: Api, value: str) -> None:
    headers = {"Authorization": value.format(api.key)}
    status, body, response = await api.ask("GET", PRODUCTS, key="", headers=headers)
    check_problem(status, body, response.content_type)
    assert status == 401
    assert api.key not in str(body)


async def test_the_scheme_bearer_is_not_case_sensitive(api: Api) -> None:
    headers = {"Authorization": f"bEARER  {api.key}"}
    assert (await api.ask("GET", PRODUCTS, key="", headers=headers))[0] == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "object"),
        (b'{"productId": "bass", "productId": "bass"}', "twice"),
        (b'{"productId": "bass", "name": NaN}', "NaN"),
        (b'{"productId": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"productId": "bass", "\\ud800": 1}', "surrogate"),
        (b'{"productId": "bass\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"productId": "bass"}', "BOM"),
        (b"[" * 30_000, "deeply"),
        (b'{"productId": "bass", "x": "gk_' + b"a" * 43 + b'"}', "x"),
        (b'{"gk_' + b"a" * 43 + b'": 1, "gk_' + b"a" * 43 + b'": 2}', "[secret]"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes, reason: str) -> None:
    status, answer, response = await api.ask(
        "POST", PRODUCTS, data=body, headers={"Content-Type": "application/json"}
    )
    check_problem(status, answer, response.content_type)
    assert status == 400
    assert reason in answer["error"]
    assert "gk_a" not in str(answer)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=UTF-8", 201),
        ('application/json;charset="utf-8"', 201),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/json", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
async def test_only_json_in_utf_8_is_accepted(api: Api, content_type: str, status: int) -> None:
    new = json.dumps({"productId": f"bass-{len(content_type)}"})
    got, body, response = await api.ask(
        "POST", PRODUCTS, data=new.encode(), headers={"Content-Type": content_type}
    )
    assert got == status
    if status != 201:
        check_problem(status, body, response.content_type)


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    for path, limit in ((PRODUCTS, 64 * 1024), ("/api/products/drums/versions", 4 * 1024 * 1024)):
        for size, status in ((limit, 400), (limit + 1, 413)):

            async def chunks(size: int = size) -> Any:
                yield b" " * size

            for data in (io.BytesIO(b" " * size), chunks()):
                got, body, response = await api.ask(
                    "POST", path, data=data, headers={"Content-Type": "application/json"}
                )
                check_problem(status, body, response.content_type)
                assert got == status


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/api", 404, None),
        ("GET", "/api/", 404, None),
        ("GET", "/api/nothing", 404, None),
        ("POST", "/api/generate-download-url", 404, None),
        ("DELETE", PRODUCTS, 405, "GET,POST"),
        ("HEAD", PRODUCTS, 405, "GET,POST"),
        ("OPTIONS", PRODUCTS, 405, "GET,POST"),
        ("PROPFIND", PRODUCTS, 405, "GET,POST"),
        ("POST", "/api/products/drums", 405, "GET,PUT"),
        ("POST", "/api/downloads/tokens/" + "0" * 32, 405, "DELETE,GET,PATCH"),
        ("GET", "/api/products/drums/versions", 405, "POST"),
        ("HEAD", "/healthz", 405, "GET"),
    ],
)
@pytest.mark.parametrize("with_key", [True, False])
async def test_unknown_urls_and_methods_are_refused(
    api: Api, method: str, path: str, status: int, allow: str | None, with_key: bool
) -> None:
    got, body, response = await api.ask(method, path, key=None if with_key else "")
    assert (got, response.headers.get("Allow")) == (status, allow)
    if method == "HEAD":
        assert body is None
        assert response.content_type == "application/problem+json"
        assert int(response.headers["Content-Length"]) > 0
    else:
        check_problem(got, body, response.content_type)


async def test_a_request_that_reaches_no_handler_is_a_problem(api: Api) -> None:
    new = {"productId": "bass"}
    for path, status in ((PRODUCTS, 417), ("/nothing", 404), ("/api/nothing", 404), ("/healthz", 405)):
        got, body, response = await api.ask("POST", path, new, headers={"Expect": "miracles"})
        check_problem(got, body, response.content_type)
        assert got == status
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, body, response = await api.ask("POST", PRODUCTS, data=b"not gzip", headers=headers, compress=None)
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
    for path in (PRODUCTS, "/api/downloads/tokens/" + "0" * 32, "/api/openapi.json"):
        status, body, _ = await api.ask("GET", f"{path}?x=1")
        assert (status, body["errors"][0]["field"]) == (400, "x")
    assert (await api.ask("GET", "/healthz?utm=1", key=""))[0] == 200


async def test_a_defect_is_answered_without_secrets(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_catalogue: Catalogue) -> None:
        raise ValueError("no number")

    monkeypatch.setattr(Catalogue, "list_all", fail)
    status, body, response = await api.ask("GET", PRODUCTS)
    check_problem(status, body, response.content_type)
    assert status == 500
    assert "no number" not in str(body)
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
    assert len(described) == len(ROUTES)
    used = json.dumps(document["paths"]) + json.dumps(document["components"]["schemas"])
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in used
