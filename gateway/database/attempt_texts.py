"""The form in which a download keeps its attempts, and how clients are taken out of it. Pure.

    {"texts": [text, …], "rows": [[started, worker, number, ended, token, sent, spans, client, agent, …], …],
     "completed": microseconds}

`token`, `client` and `agent` are places in `texts`, so that a text which many attempts have is written once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

FULL: Final = 0
CUT: Final = 1
GONE: Final = 2
"""What `download.privacy` says of the clients: addresses as they were, networks only, or nothing."""

TOKEN: Final = 4
CLIENT: Final = 7
AGENT: Final = 8


def with_clients(
    attempts: dict[str, Any],
    client: Callable[[str], str],
    agent: Callable[[str], str] = lambda text: text,
) -> dict[str, Any]:
    """The attempts with other texts in the place of those about clients: addresses, and programs."""
    old = attempts.get("texts", ())
    texts: dict[str, int] = {}
    rows = []
    for row in attempts.get("rows", ()):
        changed = list(row)
        for place, change in ((TOKEN, str), (CLIENT, client), (AGENT, agent)):
            changed[place] = texts.setdefault(change(old[row[place]]), len(texts))
        rows.append(changed)
    return {**attempts, "texts": list(texts), "rows": rows}


def program_class(name: str) -> str:
    """What stands in the place of a User-Agent of which only the class of the program is left."""
    return f"({name})"


def without_clients(attempts: dict[str, Any], program: str) -> dict[str, Any]:
    """The attempts without the texts that tell of clients.

    program: the class of the download, which stays, because it was counted by it.
    """
    return with_clients(attempts, lambda _: "", lambda _: program_class(program))
