"""Where a gateway listens whose settings say port 0: it logs each address on which it listens.

A log that is read while it is written may end within a line: `whole_lines` leaves that one out.
"""

from __future__ import annotations

import json


def whole_lines(log: str) -> list[str]:
    """The lines of a log that are written to their ends."""
    return log[: log.rfind("\n") + 1].splitlines()


def found_addresses(log: str) -> dict[str, str]:
    """The addresses in the text of a log, by setting (`listen`, `mint_listen`, …). The last run wins."""
    lines = [json.loads(line) for line in whole_lines(log) if '"listening"' in line]
    return {line["setting"]: line["address"] for line in lines if line["event"] == "listening"}


def found_port(log: str, setting: str) -> int:
    """The port in the address of a setting; 0 before there is one."""
    return int(found_addresses(log).get(setting, ":0").rpartition(":")[2])
