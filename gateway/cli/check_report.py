"""`check` for the page *Health*: settings as JSON on standard input, findings as JSON on standard output.

    python -m gateway.cli.check_report < settings.json

The web process runs it as a program of its own, because checks block, and because it imports no commands.
"""

from __future__ import annotations

import json
import sys

from gateway.cli.check import documents, find_all
from gateway.cli.options import Invocation
from gateway.config.settings import Settings


def report(settings: Settings) -> list[dict[str, str | None]]:
    """Everything that `check --quick` finds, without trying a front proxy."""
    invocation = Invocation("check", {}, None, True)
    vars(invocation)["settings"] = settings.model_copy(update={"public_url": None})
    found = documents(list(find_all(invocation, None, True)))
    return [each for each in found if each["result"] != "skip"]


if __name__ == "__main__":
    json.dump(report(Settings.model_validate_json(sys.stdin.read())), sys.stdout)
