"""The rules of ARCHITECTURE.md about who may import whom, checked on the source itself."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.rows import each_row

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "gateway").rglob("*.py")
}

LAYERS = (
    ("__main__",),
    ("cli",),
    ("supervisor",),
    ("dataplane", "mint", "web.service"),
    ("web.dashboard",),
    ("web.portal",),
    ("web.api", "web.hooks"),
    ("web",),
    ("webhooks",),
    ("mail",),
    ("connections",),
    ("platforms.clients",),
    ("platforms",),
    ("backup", "orders", "usage", "users"),
    ("catalogue",),
    ("webhooks.outbox",),
    ("tokens",),
    ("products",),
    ("storage",),
    ("store", "database"),
    ("pages",),
    ("http",),
    ("config",),
    ("runtime",),
    ("errors", "manifest", "secrets"),
)
"""Rooms from the top down: a module imports only from its own room or from those of the rows below.

A module belongs to the longest name that it begins with: `web.service` and `web.api` stand above the rest of
`web`, which they share with the mint service.
"""

FRONT_ENDS = ("dataplane", "mint", "web.service", "web.dashboard", "web.portal", "web.api", "web.hooks")
"""What answers requests from outside. They share the rows below, and never import each other: PARTS has
the exceptions."""
PARTS = {
    "web.service": ("web.dashboard", "web.portal", "web.api", "web.hooks"),
    "web.dashboard": ("web.portal", "web.api"),
    "web.portal": ("web.api",),
}
"""The parts of which a process is made, and what pages show the work of."""

TOP = "gateway"
"""The package itself holds the version and nothing else; every module may import it."""

PURE = ("http", "platforms", "errors", "manifest", "secrets")
PURE_MODULES = (
    "gateway.config.mail_url",
    "gateway.config.units",
    "gateway.mail.kinds",
    "gateway.mail.languages",
    "gateway.mail.verdicts",
    "gateway.orders.email_addresses",
    "gateway.orders.entitlement_rules",
    "gateway.orders.fact_text",
    "gateway.orders.facts",
    "gateway.orders.knowledge",
    "gateway.orders.mappings",
    "gateway.orders.order_rules",
    "gateway.orders.states",
    "gateway.usage.client_classes",
    "gateway.usage.coverage",
    "gateway.usage.downloads",
    "gateway.usage.events",
    "gateway.webhooks.networks",
    "gateway.webhooks.outbox.announcements",
    "gateway.webhooks.outcomes",
    "gateway.webhooks.signing",
    "gateway.webhooks.urls",
    "gateway.users.common_words",
    "gateway.users.password_rules",
    "gateway.users.relying_party",
    "gateway.users.roles",
    "gateway.web.dashboard.hosts",
)
"""Pure modules in rooms that are not; the pure rooms may import them."""

IMPURE = (
    "asyncio",
    "os",
    "socket",
    "threading",
    "subprocess",
    "redis",
    "uvloop",
    "pathlib",
    "gateway.config",
    "gateway.runtime",
)
MOST_LINES = 400


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, wherever in its text, also what only the type checker sees."""
    found: set[str] = set()
    for node in ast.walk(parse(MODULES[module])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import: write the whole name"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module or "")
    return frozenset(found)


@cache
def room(module: str) -> str:
    """The room of the layers a module is in: the longest of their names that its own begins with.

    A module of no layer is given its first name below `gateway`, which then is an unknown one.
    """
    parts = module.split(".")[1:]
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if any(name in rooms for rooms in LAYERS)), parts[0])


@cache
def layer(module: str) -> int:
    """The number of the row that names the module's room."""
    [number] = [number for number, rooms in enumerate(LAYERS) if room(module) in rooms]
    return number


@cache
def own_imports(module: str) -> frozenset[str]:
    return imports(module) & MODULES.keys() - {TOP}


def test_every_module_has_one_layer() -> None:
    known = [name for rooms in LAYERS for name in rooms]
    assert len(known) == len(set(known))
    assert {room(module) for module in MODULES if module != TOP} == set(known)


@each_row("module", sorted(MODULES.keys() - {TOP}))
def test_imports_run_downwards(module: str) -> None:
    for imported in own_imports(module):
        same = room(imported) == room(module)
        assert same or layer(imported) > layer(module), f"{module} imports {imported}"


@each_row("module", sorted(name for name in MODULES if name != TOP and room(name) in FRONT_ENDS))
def test_front_ends_never_import_each_other(module: str) -> None:
    allowed = (room(module), *PARTS.get(room(module), ()))
    others = {name for name in own_imports(module) if room(name) in FRONT_ENDS and room(name) not in allowed}
    assert not others


@each_row("module", sorted(name for name in MODULES if name.startswith("gateway.dataplane")))
def test_the_data_plane_imports_neither_database_nor_web(module: str) -> None:
    """Nor does anything that it imports."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        assert name.split(".")[1:2] not in (["database"], ["web"]), f"{module} reaches {name}"
        waiting += own_imports(name) - seen
        seen |= own_imports(name)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("gateway.mint")))
def test_the_mint_service_imports_no_database(module: str) -> None:
    """Nor does anything that it imports: downloads and minting go on without the database."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        assert name.split(".")[1] != "database", f"{module} reaches {name}"
        waiting += own_imports(name) - seen
        seen |= own_imports(name)


def test_imports_make_no_circle() -> None:
    done: set[str] = set()

    def follow(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above, module))
        if module in done:
            return
        for imported in own_imports(module):
            if not module.startswith(f"{imported}."):  # a module may use the package it is in
                follow(imported, (*above, module))
        done.add(module)

    for module in sorted(MODULES):
        follow(module, ())


@each_row(
    "module",
    sorted(name for name in MODULES if name in PURE_MODULES or (name != TOP and room(name) in PURE)),
)
def test_rules_are_pure(module: str) -> None:
    assert not [name for name in imports(module) - {*PURE_MODULES} if name.startswith(IMPURE)]
    source = MODULES[module].read_text()
    assert not [node for node in ast.walk(parse(MODULES[module])) if isinstance(node, ast.Await)]
    assert not re.search(r"\b(time\.(time|monotonic|perf_counter)|datetime\.now|open)\(", source)


@each_row("module", sorted(MODULES))
def test_no_module_is_too_long_to_read(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES


def test_private_parts_of_aiohttp_are_used_in_two_modules() -> None:
    users = {
        module
        for module in MODULES
        if any(name.startswith(("aiohttp.web_protocol", "aiohttp.http_parser")) for name in imports(module))
    }
    assert users <= {
        "gateway.dataplane.worker",
        "gateway.web.connection",
    }


TEST_FILES = sorted(file for file in (ROOT / "tests").rglob("*.py") if "node_modules" not in file.parts)


def test_nothing_imports_a_test_module_or_a_conftest() -> None:
    """What several test modules need is in `tests/support/`."""
    found = []
    for file in TEST_FILES:
        if not re.search(r"^ *(from|import) .*(test_|conftest)", file.read_text(), re.MULTILINE):
            continue  # parsing takes long
        for node in ast.walk(parse(file)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [
                f"{file.relative_to(ROOT)}: {name}"
                for name in names
                if re.search(r"^tests\..*\b(test_\w+|conftest)$|^(conftest|tests\.conftest)\b", name)
            ]
    assert found == [], "move it to tests/support/"


CLOCKS = {"monotonic", "perf_counter", "process_time", "time_ns", "monotonic_ns", "thread_time"}


def test_how_long_something_takes_is_asserted_under_a_marker_only() -> None:
    """Who uses `lasts` of tests/support/timing.py has the marker; no other assertion has a clock."""
    found = []
    for file in TEST_FILES:
        if not {*CLOCKS, "lasts", "timing"} & {*re.findall(r"\w+", file.read_text())}:
            continue  # parsing takes long
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                called = {
                    each.func.id
                    for each in ast.walk(node)
                    if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
                }
                marks = {ast.unparse(each) for each in node.decorator_list}
                if ("lasts" in called) != ("pytest.mark.timing" in marks):
                    found.append(f"{file.relative_to(ROOT)}: {node.name}")
            if isinstance(node, ast.Assert) and file.parent.name != "support":
                read = {each.attr for each in ast.walk(node.test) if isinstance(each, ast.Attribute)}
                if read & CLOCKS and "deadline" not in ast.unparse(node.test):
                    found.append(f"{file.relative_to(ROOT)}, line {node.lineno}: use `lasts`")
    assert found == []
