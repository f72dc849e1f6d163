"""Runs schemathesis against a service, from the service's own OpenAPI document."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SECONDS = 300


def run_schemathesis(
    url: str, key: str, token: str, folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """token: the id of a token that exists. folder: where schemathesis may write."""
    command = shutil.which("st", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert command is not None
    return subprocess.run(
        [
            *(command, "run", f"{url}/api/openapi.json", "--header", f"Authorization: Bearer {key}"),
            *("--checks", "all", "--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "25")),
            *("--seed", os.environ.get("SCHEMATHESIS_SEED", "1"), "--generation-database", "none"),
            *("--continue-on-failure", "--warnings", "off", *options),
        ],
        cwd=folder,
        env=os.environ
        | {
            "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "KNOWN_TOKEN": token,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
