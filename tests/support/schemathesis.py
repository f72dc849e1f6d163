"""Runs schemathesis against a service, from the service's own OpenAPI document."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SECONDS = 300
CONFIGURATION = """
[checks.negative_data_rejection]
# Also 413: a text that is longer than its field allows may be longer than a body may be.
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
"""


def run_schemathesis(
    url: str, key: str, token: str, folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """token: the id of a token that exists. folder: where schemathesis may write."""
    command = shutil.which("st", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert command is not None
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
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
