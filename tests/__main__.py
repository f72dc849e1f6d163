"""The whole suite in one command: `python -m tests`, which is what `make test` runs.

First come the tests that may run in parallel; then, one after another, those marked `alone`, which count
memory, descriptors or processor time of the whole machine. `slow` tests are left out, and how long something
takes is not asserted, unless `--all` is given, as CI does. Then tests marked `timing` run alone, too.

    python -m tests [--all] [--coverage] [arguments of pytest, such as `tests/http -k range`]

`--coverage` also measures which branches are taken, in child processes too. When the whole suite runs, it
fails below the floor that pyproject.toml names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTHING_COLLECTED = 5  # pytest's exit code

QUICK = ("not slow and not alone", "alone and not slow")
ALL = ("not alone and not timing", "alone or timing")
"""Which tests run in parallel, and which alone: expressions of markers."""


def main(arguments: list[str]) -> int:
    """Run both parts of the suite. Returns the exit code: of the first part that failed, else 0."""
    everything = "--all" in arguments
    coverage = "--coverage" in arguments
    chosen = [each for each in arguments if each not in {"--all", "--coverage"}]
    # Tests start hundreds of Python processes: without compiled files each would compile the gateway again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    together, alone = ALL if everything else QUICK
    parts = [
        ("in parallel", ["-n", str(processes()), "--dist", "worksteal", "-m", together]),
        ("alone", ["-m", alone, *(["--timing"] if everything else [])]),
    ]
    measured = ["coverage", "run", "-m"] if coverage else []
    if coverage:
        run("coverage", "erase")
    codes = []
    for name, options in parts:
        print(f"Tests that run {name}:", flush=True)
        codes.append(run(*measured, "pytest", *options, *chosen))
        if codes[-1] not in {0, NOTHING_COLLECTED}:
            return codes[-1]
    if not everything:
        print('Left out: tests marked "slow", and limits of time. "make test-all" has them, too.')
    if all(code == NOTHING_COLLECTED for code in codes):
        return NOTHING_COLLECTED
    return hold_floor(whole=not chosen) if coverage else 0


def processes() -> int:
    """How many tests run at a time: one for each processor, since more would not be quicker."""
    return len(os.sched_getaffinity(0))


def hold_floor(*, whole: bool) -> int:
    """Add up and print what all processes covered; the whole suite fails below pyproject's floor."""
    run("coverage", "combine", "--quiet")
    return run("coverage", "report", *([] if whole else ["--fail-under=0"]))


def run(*command: str) -> int:
    """Run a module of this Python in the repository's root, to its end."""
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
