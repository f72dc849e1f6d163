"""The permissions that the gateway needs: a user who has exactly these, and users who lack one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gateway.cli.checks import Level
from gateway.cli.checks.store import check_store
from gateway.http.ranges import Span
from gateway.mint.service import serve as serve_mint
from gateway.runtime.deferred import stepped
from gateway.secrets import token_id
from gateway.store.client import StoreClient
from gateway.store.key_names import rate_key, running_key, token_key
from gateway.store.permissions import COMMANDS, KEY_TRIALS, OPTIONAL, UNTRIED, acl_rules
from gateway.store.scripts import BIND_TOKEN, HOLD_PLACE, SCRIPTS, TAKE_RATE
from gateway.store.topology import Topology
from gateway.tokens.claims import Claims
from gateway.tokens.leases import Leases
from gateway.tokens.repositories import Repositories
from gateway.tokens.takeovers import EVERY_WORKER, Demand, Question, Takeovers
from gateway.web.service import serve as serve_web
from tests.support.control_plane import make_settings, run_api
from tests.support.repositories import manifest
from tests.support.store_server import StoreServer
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def admin(own_store: StoreServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_store.url, decode_responses=True) as client:
        yield client


def make_user(admin: redis.Redis, store: StoreServer, rules: str, name: str = "gateway") -> str:
    """A user with these rules, and nobody else; the URL to connect as it."""
    admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *rules.split())  # type: ignore[no-untyped-call]
    return store.url.replace("unix://", f"unix://{name}:secret@")


def test_the_document_has_the_rules() -> None:
    text = (ROOT / "docs/redis.md").read_text()
    assert f"ACL SETUSER gateway on >PASSWORD {acl_rules()}" in re.sub(r" \\\n +", " ", text)
    assert [name for name in OPTIONAL if f"`+{name}`" not in text] == []


@pytest.mark.slow
async def test_the_whole_gateway_runs_with_exactly_these_permissions(
    admin: redis.Redis, own_store: StoreServer, tmp_path: Path
) -> None:
    url = make_user(admin, own_store, acl_rules())
    admin.execute_command("ACL", "SETUSER", "default", "off")  # type: ignore[no-untyped-call]
    settings = make_settings(url, tmp_path)
    async with run_api(serve_mint, settings) as mint:
        for key in (None, "again"):
            headers = {"Idempotency-Key": key} if key else {}
            body = {"productId": "drums", "version": "1.0.0", "maxDownloads": 2}
            status, answer, _ = await mint.ask("POST", "/api/generate-download-url", body, headers=headers)
            assert status == 200, answer
        assert (await mint.ask("GET", "/readyz"))[0] == 200
    identifier = token_id(answer["downloadToken"])
    async with run_api(serve_web, settings) as web:
        assert (await web.ask("GET", "/readyz"))[0] == 200
        requests: tuple[tuple[str, str, object], ...] = (
            ("GET", "/api/downloads/tokens", None),
            ("PATCH", f"/api/downloads/tokens/{identifier}", {"maxDownloads": 3}),
            ("GET", f"/api/downloads/tokens/{identifier}", None),
            ("GET", "/api/products", None),
            ("GET", "/api/products/drums", None),
            ("PUT", "/api/products/drums", {"name": "Drums"}),
        )
        for method, path, document in requests:
            status, answer, _ = await web.ask(method, path, document)
            assert status == 200, (path, answer)
    topology = Topology.connect([url], timeout=5, queue=100, scripts=SCRIPTS)
    topology.start()
    await until(lambda: topology.is_ready)
    claims = Claims(topology)
    await stepped(claims.check()).as_future()
    reply = await claims.read_and_claim(identifier).as_future()
    assert reply[4] == 100
    await stepped(claims.claim(identifier, 0, 10, 100)).as_future()
    claims.settle(identifier, 0, 100)
    await until(lambda: claims.owed == 0)
    assert await stepped(claims.manifest(reply[0])).as_future()
    await run_limits(topology, identifier)
    takeovers = Takeovers(topology, Leases(topology), [url])
    takeovers.start()
    await until(lambda: dict(admin.pubsub_numsub(EVERY_WORKER)) == {EVERY_WORKER: 1})
    question = Question(identifier, 0, Demand.STALLED, (Span(0, 100),))
    assert await takeovers.make_room(question) == 0
    await takeovers.stop()
    await topology.stop()
    async with Repositories.connect(url, 5) as repos:
        await repos.products.create("new", "New")
        await repos.products.register(manifest("new", "1"))
        minted = await repos.tokens.create("new")
        assert (await repos.tokens.list_page(limit=5)).tokens
        await repos.tokens.revoke(minted.record.id)
        await repos.keys.create("one")
        assert await repos.keys.list_all()
        await repos.keys.revoke("one")
        found = await check_store(repos, "it")
    assert [each for each in found if each.level is Level.FAIL] == []


async def run_limits(topology: Topology, identifier: str) -> None:
    """Run what keeps the other limits of a token."""
    key = running_key(identifier)
    assert await topology.run(HOLD_PLACE, key, "one", 1, 1000).as_future() == 1
    assert await topology.pipeline(key).call(b"ZREM", key, "one").as_future() == 1
    assert await topology.run(TAKE_RATE, rate_key(identifier), "200.0").as_future() == 0
    assert await topology.run(BIND_TOKEN, token_key(identifier), "a" * 32, 1).as_future() == 1
    assert await topology.run(BIND_TOKEN, token_key(identifier), "b" * 32, 1).as_future() == 0


@pytest.mark.slow
async def test_check_names_each_permission_that_is_missing(
    admin: redis.Redis, own_store: StoreServer
) -> None:
    """For each command a user who lacks it. The trials leave nothing behind."""
    before = set(admin.scan_iter())
    for name in sorted(set(COMMANDS) - set(UNTRIED)):
        lacking = tuple(each for each in COMMANDS if each != name)
        url = make_user(admin, own_store, acl_rules(lacking))
        async with Repositories.connect(url, 5) as repos:
            found = {each.subject: each for each in await check_store(repos, "it")}
        finding = found["store permissions"]
        shown = name.upper().replace("|", " ")
        assert finding.level is Level.FAIL, name
        assert finding.text == f"the Redis user may not use {shown}"
        assert f"+{name}" in finding.remedy
    assert set(admin.scan_iter()) == before


@pytest.mark.parametrize("pattern", KEY_TRIALS)
async def test_check_names_the_keys_that_are_missing(
    admin: redis.Redis, own_store: StoreServer, pattern: str
) -> None:
    others = " ".join(f"~{each}" for each in KEY_TRIALS if each != pattern)
    url = make_user(admin, own_store, acl_rules().replace("~dg:*", others))
    async with Repositories.connect(url, 5) as repos:
        found = {each.subject: each for each in await check_store(repos, "it")}
    assert found["store permissions"].level is Level.FAIL
    assert pattern in found["store permissions"].text
    assert "~dg:*" in found["store permissions"].remedy


async def test_check_says_what_info_would_tell(admin: redis.Redis, own_store: StoreServer) -> None:
    url = make_user(admin, own_store, acl_rules())
    async with Repositories.connect(url, 5) as repos:
        found = {each.subject: each for each in await check_store(repos, "it")}
    assert (found["store version"].level, "INFO" in found["store version"].text) == (Level.WARN, True)
    url = make_user(admin, own_store, f"{acl_rules()} +info")
    async with Repositories.connect(url, 5) as repos:
        found = {each.subject: each for each in await check_store(repos, "it")}
    assert found["store version"].level is Level.OK


async def test_check_looks_at_every_server(own_store: StoreServer, store: StoreServer) -> None:
    with redis.Redis.from_url(own_store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    async with Repositories(StoreClient([store.url, own_store.url], 5)) as repos:
        found = [each for each in await check_store(repos, "both") if each.subject == "store memory"]
    assert [each.level for each in found] == [Level.OK, Level.FAIL]
    assert found[1].text.startswith("server 2: ")


def test_the_table_has_every_command_of_a_script_and_every_kind_of_key() -> None:
    scripts = "".join(file.read_text() for file in (ROOT / "gateway/store/scripts").glob("*.lua"))
    names = {name.partition("|")[0] for name in COMMANDS}
    assert {name.lower() for name in re.findall(r"call\('([A-Z]+)'", scripts)} <= names
    kinds = re.findall(r"^    (dg:\w+)", (ROOT / "gateway/store/key_names.py").read_text(), re.MULTILINE)
    assert sorted(kinds) == sorted(pattern.removesuffix(":*") for pattern in KEY_TRIALS)
