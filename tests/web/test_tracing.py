"""Traces of the mint service and the web process, as they arrive at a real collector."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.mint import service as mint_service
from gateway.web import service as web_service
from tests.support.collector import run_collector
from tests.support.control_plane import Serve, run_api
from tests.support.waiting import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@dataclass(frozen=True)
class Case:
    """One service. path, body: of a request that succeeds. route: the template that its span has."""

    name: str
    serve: Serve
    method: str
    path: str
    body: Any
    route: str | None


CASES = [
    Case(
        "mint",
        mint_service.serve,
        "POST",
        "/api/generate-download-url",
        {"productId": "drums", "version": "1.0.0", "customer": {"email": "jo@mail.example"}},
        None,
    ),
    Case("web", web_service.serve, "GET", "/api/products/drums", None, "/api/products/{"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_request_is_one_span(case: Case, trusted: bool, settings: Settings) -> None:
    with run_collector() as collector:
        update = {
            "traces_share": 1.0,
            "traces_endpoint": collector.url,
            "trusted_proxies": (ip_network("127.0.0.1"),) if trusted else (),
        }
        async with run_api(case.serve, settings.model_copy(update=update)) as api:
            status, _, _ = await api.ask(case.method, case.path, case.body, headers=SAMPLED)
            assert status == 200
            secret = "ct_" + "a" * 43
            assert (await api.ask("GET", f"/nowhere/{secret}?x={secret}"))[0] == 404
            key = api.key
        wait_until(lambda: len(collector.spans) >= 2, "both spans came")
        assert sorted(span.attributes["http.response.status_code"] for span in collector.spans) == [200, 404]
        [span] = [one for one in collector.spans if one.attributes["http.response.status_code"] == 200]
        assert (span.service, span.name, span.kind) == (f"download-gateway-{case.name}", case.name, 2)
        assert ((span.trace, span.parent) == (TRACE, SPAN)) is trusted
        assert span.attributes["http.request.method"] == case.method
        if case.route:
            assert span.attributes["http.route"].startswith(case.route)
        body = b"".join(collector.bodies)
        for hidden in (secret, key, "ct_", "jo@mail.example", "127.0.0.1"):
            assert hidden.encode() not in body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_nothing_is_traced_by_default(case: Case, settings: Settings) -> None:
    with run_collector() as collector:
        update = {"traces_endpoint": collector.url, "trusted_proxies": (ip_network("127.0.0.1"),)}
        async with run_api(case.serve, settings.model_copy(update=update)) as api:
            assert (await api.ask(case.method, case.path, case.body, headers=SAMPLED))[0] == 200
        assert collector.spans == []
