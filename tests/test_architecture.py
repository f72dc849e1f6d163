"""The rules of ARCHITECTURE.md about who may import whom, held on the source itself."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "gateway").rglob("*.py")
}

LAYERS = (
    ("cli", "reference", "__main__"),
    ("supervisor",),
    ("child",),
    ("worker", "mint.service"),
    ("assemble", "mint"),
    ("download", "other"),
    ("server",),
    ("protocol", "exchange", "delivery", "tokens", "storage", "publish", "embedded", "proxy"),
    ("rules",),
    ("errors", "manifest", "tokens.form"),
)
"""Imports run downwards or stay within a layer; what is not named is below those that use it."""

PURE = ("rules", "proxy", "errors", "manifest", "tokens.form")
IMPURE = (
    "asyncio",
    "os",
    "socket",
    "threading",
    "subprocess",
    "redis",
    "uvloop",
    "pathlib",
    "gateway.settings",
)

DATA_PLANE = (
    "download",
    "server",
    "protocol",
    "exchange",
    "delivery",
    "assemble",
    "worker",
    "other",
    "rules",
    "storage",
    "proxy",
)
"""What serves downloads; the mint service and it never import each other, the parts both use aside."""


@cache
def imports(module: str, *, typing: bool = False) -> frozenset[str]:
    """What a module imports, wherever in its text; what only the type checker sees if wished."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names & MODULES.keys() or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(MODULES[module].read_text()))
    return frozenset(found)


def belongs(module: str, part: str) -> bool:
    return module == f"gateway.{part}" or module.startswith(f"gateway.{part}.")


def layer(module: str) -> int | None:
    """The number of the layer whose part names the module most exactly."""
    found = [
        (len(part), number) for number, parts in enumerate(LAYERS) for part in parts if belongs(module, part)
    ]
    return max(found)[1] if found else None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module: str) -> None:
    own = layer(module)
    for imported in imports(module) & MODULES.keys():
        other = layer(imported)
        assert own is None or other is None or other >= own, f"{module} imports {imported}"


def test_imports_make_no_circle() -> None:
    done: set[str] = set()

    def follow(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above, module))
        if module in done:
            return
        for imported in imports(module) & MODULES.keys():
            if not module.startswith(f"{imported}."):  # a part may use the package it is in
                follow(imported, (*above, module))
        done.add(module)

    for module in MODULES:
        follow(module, ())


@pytest.mark.parametrize(
    "module", sorted(name for name in MODULES if any(belongs(name, part) for part in PURE))
)
def test_rules_are_pure(module: str) -> None:
    assert not [name for name in imports(module) if name in IMPURE or name.partition(".")[0] in IMPURE]
    source = MODULES[module].read_text()
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Await)]
    assert not re.search(r"\b(time\.(time|monotonic|perf_counter)|datetime\.now|open)\(", source)


def test_data_plane_and_mint_service_know_nothing_of_each_other() -> None:
    for module in MODULES:
        for imported in imports(module):
            if any(belongs(module, part) for part in DATA_PLANE):
                assert not belongs(imported, "mint"), f"{module} imports {imported}"
            if belongs(module, "mint"):
                served = ("download", "protocol", "exchange", "delivery", "assemble", "worker", "other")
                assert not any(belongs(imported, part) for part in served), f"{module} imports {imported}"


def test_the_aiohttp_that_is_not_public_is_used_in_four_places() -> None:
    users = {
        module
        for module in MODULES
        if any(name.startswith(("aiohttp.web_protocol", "aiohttp.http_parser")) for name in imports(module))
    }
    assert users <= {"gateway.protocol", "gateway.server", "gateway.worker", "gateway.mint.service"}
