"""The audit lines of the services: every change, every 401 and 403, bounded, and without secrets."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.runtime.line_budget import BURST
from gateway.runtime.log import JSONFormatter
from gateway.tokens import audit
from gateway.tokens.audit import RefusalLog
from gateway.tokens.repositories import Repositories
from gateway.web.service import serve
from tests.support.control_plane import Api, make_settings, run_api
from tests.support.store_server import StoreServer

FILE = {"name": "a", "size": 100, "storage": "main", "key": "a.bin"}


@pytest.fixture
def settings(store: StoreServer, tmp_path: Any) -> Settings:
    return make_settings(store.url, tmp_path)


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(each) for each in caplog.records if each.name == "gateway.audit" and each.msg == event]


@pytest.mark.slow
async def test_every_change_of_the_admin_api_has_a_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_api(serve, settings) as api:
        token = (await api.store.tokens.create("drums")).record.id
        caller = (await api.store.keys.list_all())[0].id
        changes: list[tuple[str, str, Any, str, dict[str, str]]] = [
            ("POST", "/api/products", {"productId": "bass"}, "product.create", {"product": "bass"}),
            (
                "PUT",
                "/api/products/bass",
                {"name": "Bass"},
                "product.update",
                {"product": "bass", "name": "Bass"},
            ),
            (
                "POST",
                "/api/products/bass/versions",
                {"version": "1", "files": [FILE]},
                "version.register",
                {"product": "bass", "version": "1", "digests": "computed"},
            ),
            (
                "PATCH",
                f"/api/downloads/tokens/{token}",
                {"maxDownloads": 3},
                "token.update",
                {"token": token, "maxDownloads": "3"},
            ),
            ("DELETE", f"/api/downloads/tokens/{token}", None, "token.revoke", {"token": token}),
        ]
        for method, path, body, _, _ in changes:
            status, answer, _ = await api.ask(method, path, body)
            assert status in (200, 201), answer
        assert (await api.ask("GET", "/api/products"))[0] == 200
        assert (await api.ask("PUT", "/api/products/none", {"name": "x"}))[0] == 404
        found = lines(caplog, "change")
        assert [(each["action"], each["by"], each["what"]) for each in found] == [
            (action, caller, what) for _, _, _, action, what in changes
        ]
        kept = await api.store.audit.latest(10)
        assert [(each.action, each.by, each.what) for each in reversed(kept)] == [
            (action, caller, what) for _, _, _, action, what in changes
        ]


async def test_each_refusal_has_a_line_without_the_key(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.auditing._refusals", RefusalLog())
    async with run_api(serve, settings) as api:
        shop = await api.store.keys.create("shop", "mint")
        unknown = "gk_" + "a" * 43
        for key in ("", "hunter2", unknown, shop.key):
            await api.ask("GET", "/api/products", key=key)
        await api.ask("GET", "/api/nothing", key="")
        await api.store.keys.revoke("shop")
        await api.ask("GET", "/api/products", key=shop.key)
    found = lines(caplog, "refused")
    facts = [(each["status"], each["code"], each["by"]) for each in found]
    assert facts[:2] == [(401, "key_missing", None), (401, "key_invalid", None)]
    assert facts[2][:2] == (401, "key_invalid")
    assert facts[3:] == [(403, "forbidden", shop.record.id), (401, "key_invalid", shop.record.id)]
    assert {(each["client"], each["method"], each["path"]) for each in found} == {
        ("127.0.0.1", "GET", "/api/products")
    }
    text = "\n".join(JSONFormatter().format(each) for each in caplog.records)
    assert not any(secret in text for secret in (unknown, shop.key, "hunter2", api.key))


def test_refusals_are_bounded_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(audit, "monotonic", lambda: clock[0])
    refusals = RefusalLog()
    for _ in range(10_000):
        refusals.write(401, "key_invalid", None)
    assert len(lines(caplog, "refused")) == BURST
    clock[0] += 0.1
    refusals.write(403, "forbidden", None)
    refusals.write(403, "forbidden", None)
    assert [each["unreported"] for each in lines(caplog, "refused")] == [0] * BURST + [10_000 - BURST]


def test_audit_lines_are_written_whatever_the_log_level(caplog: pytest.LogCaptureFixture) -> None:
    assert logging.getLogger("gateway.audit").isEnabledFor(logging.INFO)
    assert logging.getLogger("gateway.audit").propagate


async def test_a_store_that_refuses_the_trail_does_not_undo_the_change(
    repos: Repositories, caplog: pytest.LogCaptureFixture
) -> None:
    await repos.client.call("SET", "dg:audit", "not a stream")
    await repos.audit.record("cli", "product.create", {"product": "p"})
    assert "not in the store's audit trail" in caplog.text


async def test_a_key_that_has_expired_is_refused_with_its_time(settings: Settings) -> None:
    async with run_api(serve, settings) as api:
        minted = await api.store.keys.create("temp", "admin", 100)
        assert (await api.ask("GET", "/api/products", key=minted.key))[0] == 200
        await _expire(api, minted.record.hash)
        status, body, response = await api.ask("GET", "/api/products", key=minted.key)
        assert (status, body["code"]) == (401, "key_expired")
        assert "expired at 20" in body["error"]
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert minted.record not in await api.store.keys.list_all()


async def _expire(api: Api, digest: str) -> None:
    """Let the store delete the key, as it does at its expiry."""
    key = f"dg:key:{{{digest}}}"
    assert await api.store.client.call("PEXPIRETIME", key) > 0
    await api.store.client.call("PEXPIREAT", key, 1)
