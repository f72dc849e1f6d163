"""Checks the store: it answers, it can run the scripts, and it keeps what is written to it.

Of the embedded store, also which program it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.errors import GatewayError
from gateway.store.server_program import BUNDLED, SETTING, choose_server

if TYPE_CHECKING:
    from gateway.tokens.repositories import Repositories

OLDEST: Final = (5, 0)
"""From Redis 5 on, a script may read the clock and write afterwards, as our scripts do."""
NEARLY_FULL: Final = 0.9
CLOCK_SECONDS: Final = 5.0
"""With more difference, the logs of both are hard to compare. Nothing else depends on our clock."""

Facts = Mapping[str, str]


def check_server(choice: str) -> Finding:
    """Check which program the embedded store is. choice: the setting `embedded_server`."""
    try:
        program = choose_server(choice)
    except GatewayError as error:
        return failed(SETTING, str(error))
    if program.doubt:
        remedy = f"install valkey-server, or redis-server 7 or later, or set {SETTING} to {BUNDLED}"
        return warned(SETTING, f"{program.doubt}; {program} is used", remedy)
    return passed(SETTING, str(program))


async def check_store(store: Repositories, name: str) -> list[Finding]:
    """Check a store. name: what the report calls it. Raises StoreUnavailable when it does not answer."""
    from gateway.errors import StoreUnavailable  # noqa: PLC0415 - slow to import, as are all of the store

    began = time.perf_counter()
    try:
        await store.client.ping()
    except StoreUnavailable as error:
        if error.reason.startswith("READONLY"):
            return [_replica()]
        if not error.reason.startswith("NOPERM"):
            raise
    delay = time.perf_counter() - began
    findings = [passed("store", f"{name} answers in {delay * 1000:.1f} ms"), await _permissions(store)]
    try:
        # redis-py parses the reply to INFO into a dictionary
        servers = await store.client.call_every("INFO")
    except StoreUnavailable as error:
        if not error.reason.startswith("NOPERM"):
            raise
        text = "the Redis user may not send INFO: version, role, memory and persistence are not checked"
        findings.append(warned("store version", text, "allow it: ACL SETUSER NAME +info"))
        servers = []
    snapshots = await _snapshots(store) if servers else ""
    for number, info in enumerate(servers, 1):
        facts = {name: str(value) for name, value in info.items()} | {"save": snapshots}
        found = [finding for check in CHECKS for finding in check(facts)]
        if len(servers) > 1:
            found = [replace(finding, text=f"server {number}: {finding.text}") for finding in found]
        findings += found
    return [*findings, *await _clock(store)]


async def _permissions(store: Repositories) -> Finding:
    from gateway.store.permissions import Missing, missing, trials  # noqa: PLC0415

    found = [missing(replies) for replies in await store.client.try_each(*trials())]
    lacks = Missing(
        tuple(dict.fromkeys(name for each in found for name in each.commands)),
        tuple(dict.fromkeys(name for each in found for name in each.keys)),
    )
    parts = []
    if lacks.commands:
        parts.append(f"may not use {', '.join(name.upper().replace('|', ' ') for name in lacks.commands)}")
    if lacks.keys:
        parts.append(f"may not read and write the keys {', '.join(lacks.keys)}")
    if not parts:
        return passed("store permissions", "the Redis user may do all that is needed")
    return failed(
        "store permissions",
        f"the Redis user {' and '.join(parts)}",
        f"allow it: ACL SETUSER NAME {lacks.rules} (docs/redis.md has all rules)",
    )


def _replica() -> Finding:
    return failed("store role", "this is a read-only replica", "let redis_url name the primary")


async def _snapshots(store: Repositories) -> str:
    try:
        reply: Any = await store.client.call("CONFIG", "GET", "save")
    except GatewayError:  # hosted stores do not allow CONFIG
        return ""
    return str(dict(reply).get("save", "")) if isinstance(reply, dict) else str((reply or ["", ""])[1])


def _version(facts: Facts) -> Iterator[Finding]:
    name, version = "Valkey", facts.get("valkey_version")
    if version is None:
        name, version = "Redis", facts.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "Redis" and numbers < OLDEST:
        yield failed("store version", f"{name} {version} is too old", "use Valkey, or Redis 5 or later")
    else:
        yield passed("store version", f"{name} {version}")


def _role(facts: Facts) -> Iterator[Finding]:
    if facts.get("role", "master") != "master":
        yield _replica()
    if facts.get("cluster_enabled") == "1":
        yield failed("store role", "this is a node of a cluster", "let redis_url name a single store")


def _memory(facts: Facts) -> Iterator[Finding]:
    policy = facts.get("maxmemory_policy", "noeviction")
    limit, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    if policy != "noeviction":
        yield failed(
            "store memory",
            f"maxmemory-policy is {policy}: tokens disappear before they expire when memory is short",
            "set maxmemory-policy noeviction",
        )
    elif limit and used > NEARLY_FULL * limit:
        yield warned("store memory", f"{used * 100 // limit} % of maxmemory is used", "raise maxmemory")
    else:
        yield passed("store memory", "nothing is evicted (maxmemory-policy noeviction)")


def _persistence(facts: Facts) -> Iterator[Finding]:
    for name, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if facts.get(name, "ok") != "ok":
            yield failed(
                "store persistence",
                f"the last {what} could not be written",
                "make room on its disk, or repair the disk",
            )
    if facts.get("aof_enabled") == "1":
        yield passed("store persistence", "every write is kept (append-only file)")
    elif facts["save"]:
        yield warned(
            "store persistence",
            "only snapshots are kept: a crash loses the tokens made since the last one",
            "set appendonly yes",
        )
    else:
        yield warned(
            "store persistence",
            "nothing is kept: a restart loses every product and token",
            "set appendonly yes",
        )


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (_version, _role, _memory, _persistence)


async def _clock(store: Repositories) -> list[Finding]:
    from gateway.errors import StoreUnavailable  # noqa: PLC0415

    before = time.time()
    try:
        seconds, micros = await store.client.call("TIME")
    except StoreUnavailable as error:
        if error.reason.startswith("NOPERM"):
            return []  # named among the permissions
        raise
    ours = (before + time.time()) / 2
    difference = int(seconds) + int(micros) / 1e6 - ours
    if abs(difference) > CLOCK_SECONDS:
        direction = "ahead of" if difference > 0 else "behind"
        text = f"the store's clock is {abs(difference):.0f} s {direction} ours; tokens expire by the store's"
        return [warned("store clock", text, "let NTP set both clocks")]
    return [passed("store clock", f"{abs(difference) * 1000:.0f} ms from ours")]
