"""The suite in one command: `python -m tests`, which is what `make test` runs.

First come the tests that may run in parallel; then, one after another, those marked `alone`, which count
memory, descriptors or processor time of the whole machine. Tests marked `slow` are left out, also those that
get the marker by what they use (see tests/support/slowness.py). Properties are tried on a tenth of their
examples, and how long something takes is not asserted. `--slow` runs just those: in parallel the slow tests,
and the properties with all examples; then, one after another, those marked `timing`, with their limits of
time, and the slow ones that must be alone. `--all` runs everything.

    python -m tests [--all | --slow] [--coverage] [arguments of pytest, such as `tests/http -k range`]

`--coverage` also measures which branches the processes of pytest take, but not those of the processes that
tests start, which it would make several times slower. When the whole suite runs, it fails below the floor
that pyproject.toml names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTHING_COLLECTED = 5  # pytest's exit code


def main(arguments: list[str]) -> int:
    """Run the parts of the suite that are asked for. Returns the exit code: of the first part that failed."""
    options = {"--all", "--slow", "--coverage"}
    chosen = [each for each in arguments if each not in options]
    coverage = "--coverage" in arguments
    # Tests start hundreds of Python processes: without compiled files each would compile the gateway again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    together = ["-n", str(processes()), "--dist", "worksteal"]
    alone = chosen or modules_with("alone")
    timed = chosen or modules_with("alone", "timing")
    parts = []
    if "--slow" not in arguments:
        parts = [
            ("in parallel", [*together, "-m", "not slow and not alone", *chosen]),
            ("alone", ["-m", "alone and not slow", *alone]),
        ]
    if "--slow" in arguments or "--all" in arguments:
        slow = "(slow or hypothesis) and not (alone or timing)"
        parts += [
            ("slowly", [*together, "--thorough", "-m", slow, *chosen]),
            (
                "within limits of time, or slowly and alone",
                ["--timing", "-m", "timing or (slow and alone)", *timed],
            ),
        ]
    measured = ["coverage", "run", "-m"] if coverage else []
    if coverage:
        run("coverage", "erase")
    codes = []
    for name, selection in parts:
        print(f"Tests that run {name}:", flush=True)
        codes.append(run(*measured, "pytest", *selection))
        if codes[-1] not in {0, NOTHING_COLLECTED}:
            return codes[-1]
    if "--slow" not in arguments and "--all" not in arguments:
        print('Left out: tests marked "slow", and limits of time. "make test-slow" has them.')
    if all(code == NOTHING_COLLECTED for code in codes):
        return NOTHING_COLLECTED
    return hold_floor(whole=not chosen) if coverage else 0


def modules_with(*markers: str) -> list[str]:
    """The test modules that name one of these markers: only these need to be collected for it."""
    named = re.compile(rf"\bmark\.({'|'.join(markers)})\b")
    modules = sorted((ROOT / "tests").glob("**/test_*.py"))
    return [str(each.relative_to(ROOT)) for each in modules if named.search(each.read_text())]


def processes() -> int:
    """How many tests run at a time: twice as many as there are processors, since many of them wait."""
    return 2 * len(os.sched_getaffinity(0))


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
