"""*Settings, health*: every part, as `check` says it. An owner's page.

The checks run as a program of their own (gateway.cli.check_report), one at a time, and the page shows what
the last one found. Leaving the page stops nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import Any, Final

from aiohttp import web

from gateway.config.settings import Settings
from gateway.database.types import now
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show

_ = str

HEALTH: Final = "/settings/health"
PROGRAM: Final = (sys.executable, "-m", "gateway.cli.check_report")
MOST_SECONDS: Final = 60.0
"""For all checks: buckets, platforms and servers that do not answer have shorter time-outs of their own."""
WAIT_SECONDS: Final = 15.0
"""How long an answer waits for the checks; usually they take two or three seconds."""

_log = logging.getLogger("gateway.web")


class HealthReport:
    """What the last check found. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self.findings: list[dict[str, Any]] = []
        self.made: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether a check is under way."""
        return self._task is not None and not self._task.done()

    async def run(self) -> None:
        """Check now, or wait for the check under way; at most WAIT_SECONDS."""
        if not self.is_running:
            self._task = asyncio.create_task(self._check())
        assert self._task is not None
        await asyncio.wait([self._task], timeout=WAIT_SECONDS)

    async def stop(self) -> None:
        """End a check that is under way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _check(self) -> None:
        program = await asyncio.create_subprocess_exec(
            *PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(MOST_SECONDS):
                written, _faults = await program.communicate(self._settings.model_dump_json().encode())
            self.findings, self.made = json.loads(written), now()
        except (TimeoutError, ValueError, OSError, RuntimeError) as error:
            # uvloop raises RuntimeError where the program has ended before it was given the settings
            _log.error("the checks did not end as they should: %s", type(error).__name__)
            text = self._failed()
            self.findings, self.made = [text], now()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()

    @staticmethod
    def _failed() -> dict[str, Any]:
        return {
            "check": "check",
            "result": "fail",
            "text": "the checks did not come to an end",
            "mend": "run `download-gateway check` on the machine of the gateway",
        }


async def show_health(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what the last check found, the worst first."""
    order = {"fail": 0, "warn": 1, "ok": 2}
    report = context.health
    return await context.show(
        request,
        "dashboard/health.html",
        findings=sorted(report.findings, key=lambda each: order.get(each["result"], 3)),
        made=report.made,
        is_running=report.is_running,
    )


async def check_now(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Check everything."""
    await context.health.run()
    note_change(request, failed=sum(each["result"] == "fail" for each in context.health.findings))
    text = _("It is still being checked: reload this page in a moment.") if context.health.is_running else ""
    return await context.go(request, HEALTH, text, "warn")


HEALTH_SCREENS: Final = (
    show(HEALTH, show_health, OWNERS),
    change("/settings/health/check", check_now, OWNERS, audit="health.check"),
)
