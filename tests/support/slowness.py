"""Which tests are marked `slow` by what they use: `make test` leaves them out, `make test-slow` has them.

- A module that starts `download-gateway up` (it imports tests/support/up.py), and a test with a service as a
  process of its own: a start takes seconds.
- Tests on the second database engine, except those of the database itself; tests of the contract between
  data plane and storage on any backend but a folder and a bucket, and with two workers on any but a folder;
  tests of the contract of a storage on the emulator of Azure, which takes five times as long as the others:
  the answers do not depend on these.
- The further cases of a table of which each case starts a store, a worker or a web service of its own, or
  commands in a process.
  `make test` runs the first one. A long table is better written with what runs already, such as `refusing`
  of tests/web/api.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support import up
from tests.support.backends import QUICK_BACKENDS

CASES = 1
"""How many cases of a table, of which each starts something, `make test` runs."""
PROCESSES = {"service_process"}
"""Fixtures that start a service as a process of its own."""
STARTS = {"make_plane", "own_postgres", "own_store"}
"""Fixtures that start a worker or a store for one test."""
SERVICES = {"api", "sales"}
"""Fixtures of tests/web that start a web service for one test."""
COMMANDS = {"gateway"}
"""Fixtures of tests/cli that run commands, each in a process of its own."""


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Add the marker to the tests that need it."""
    cases: Counter[str] = Counter()
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("slow"):
            continue
        if uses_much(item) or is_repetition(item):
            item.add_marker(pytest.mark.slow)
        elif starts_something(item):
            table = item.nodeid.partition("[")[0]
            cases[table] += 1
            if cases[table] > CASES:
                item.add_marker(pytest.mark.slow)


def uses_much(item: pytest.Function) -> bool:
    """Whether a test starts `up`, or a service as a process of its own."""
    starts_up = any(value is up or value is up.Up for value in vars(item.module).values())
    return starts_up or bool(PROCESSES & set(item.fixturenames))


def is_repetition(item: pytest.Function) -> bool:
    """Whether a test runs on a quicker engine or backend, too."""
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    if parameters.get("databases") == "postgresql":
        return not item.nodeid.startswith("tests/database/")
    if parameters.get("case") == "azure" or parameters.get("pair", "local") != "local":
        return True
    backend = parameters.get("plane")
    return isinstance(backend, str) and backend not in QUICK_BACKENDS


def starts_something(item: pytest.Function) -> bool:
    """Whether a test starts a store, a worker or a web service of its own, or a process for each command."""
    fixtures = set(item.fixturenames)
    if item.nodeid.startswith("tests/web/"):
        return bool((STARTS | SERVICES) & fixtures)
    if item.nodeid.startswith("tests/cli/"):
        return bool((STARTS | COMMANDS) & fixtures)
    return bool(STARTS & fixtures)
