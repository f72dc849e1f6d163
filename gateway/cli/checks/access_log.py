"""Checks that the file of the access log can be written. Nothing is made or written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.cli.checks import Finding, failed, passed
from gateway.config.settings import Settings
from gateway.runtime.log_file import STANDARD_OUTPUT, find_fault

SUBJECT: Final = "access_log"


def check_access_log(settings: Settings, makes_data: bool = False) -> Finding:
    """Check the target of the access log.

    makes_data: whether the data folder will be made, if it is not there. With an embedded store it always is.
    """
    target = settings.access_log
    if target == "off":
        return passed(SUBJECT, "off")
    if target == STANDARD_OUTPUT:
        return passed(SUBJECT, "standard output")
    path = Path(target)
    makes_data = makes_data or settings.redis_url is None
    if makes_data and path.parent == settings.data and not settings.data.exists():
        return passed(SUBJECT, f"{path} can be written once the gateway has made its data folder")
    fault = find_fault(path)
    return passed(SUBJECT, f"{path} can be written") if fault is None else failed(SUBJECT, fault)
