"""Start an nginx. All share nginx.conf, which is written as people write it who tune nginx for speed."""

from __future__ import annotations

import getpass
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final

from bench.testbed.machine import tool_path
from bench.testbed.processes import ProcessGroup, Program, unused_port

INSTALL: Final = "apt-get install nginx"
MODULES: Final = Path("/usr/lib/nginx/modules")
_CONFIG: Final = Template(Path(__file__).with_name("nginx.conf").read_text())


@dataclass(frozen=True)
class Config:
    """What differs from one nginx to another.

    locations, http: templates, filled in with `values` and with `$folder`, the folder of this nginx.
    """

    locations: str
    http: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    modules: Sequence[str] = ()
    workers: int = 1
    tls: tuple[Path, Path] | None = None
    """Certificate and key."""

    bulk: bool = False
    """Whether its responses are large."""


def missing_nginx() -> str | None:
    """Say that nginx is missing and how to install it; None where it is installed."""
    return None if tool_path("nginx") else f"nginx is missing: {INSTALL}"


def start_nginx(
    name: str, config: Config, *, folder: Path, processes: ProcessGroup, cpus: Sequence[int]
) -> tuple[Program, int]:
    """Start an nginx with a folder of its own below `folder`, and wait until it listens.

    Returns the program and its port. Raises BenchError.
    """
    port = unused_port()
    own = folder / f"{name}-{port}"
    own.mkdir()
    values = {**config.values, "folder": own}
    certificate, key = config.tls or ("", "")
    path = own / "nginx.conf"
    path.write_text(
        _CONFIG.substitute(
            user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
            modules="".join(f"load_module {MODULES / each};\n" for each in config.modules),
            folder=own,
            port=port,
            workers=config.workers,
            nopush="off" if config.bulk else "on",
            connections=min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            ssl=" ssl" if config.tls else "",
            tls=f"ssl_certificate {certificate};\n        ssl_certificate_key {key};" if config.tls else "",
            http=Template(config.http).substitute(values),
            locations=Template(config.locations).substitute(values),
        )
    )
    program = processes.start(name, [tool_path("nginx") or "nginx", "-p", own, "-c", path], cpus=cpus)
    program.wait_for("127.0.0.1", port)
    return program, port
