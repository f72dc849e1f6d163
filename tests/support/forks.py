"""Runs tests in several processes that are forked when all tests are collected: `pytest --processes 6`.

To import and collect the tests takes 10 s of the processor's time, and twice as much in a fresh clone, where
pytest compiles them first. pytest-xdist does that in each of its processes; here it is done once. So more
processes than processors cost little, and many tests wait most of their time.

The main process hands out a few tests at a time (see shares.py), and passes what comes of them to pytest as
if it had run them itself. When a process crashes, the test that it ran has failed, and another one goes on.
"""

from __future__ import annotations

import atexit
import os
import signal
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import pytest
from coverage import Coverage

from gateway.runtime.parent_death import die_with_parent
from tests.support.shares import Group, Shares

END_SECONDS = 30
"""How long a process may take for the ends of its fixtures when the run is interrupted."""


class Fork:
    """A process that runs tests, as the main process sees it."""

    def __init__(self, session: pytest.Session, others: list[Fork]) -> None:
        self.link, link = Pipe()
        self.group: Group | None = None
        self.numbers: list[int] = []
        """What it was given and has not ended, in order."""
        parent = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            for each in (self, *others):
                each.link.close()
            Runner(session, link, parent).live()
        link.close()

    def give(self, shares: Shares) -> None:
        """Send the next tests; none: no test is left."""
        self.group, numbers = shares.take(self.group)
        self.numbers += numbers
        with suppress(ConnectionError):  # it has crashed, which is noticed elsewhere
            self.link.send(numbers)

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        self.link.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Forks:
    """A plugin of pytest: the main process."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._forks: list[Fork] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the tests that were collected."""
        if session.testsfailed or session.config.option.collectonly or not session.items:
            return None  # pytest's own loop has the words for that
        shares = Shares([item.path for item in session.items])
        capture = session.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.read_global_capture()  # else each process would write it again
        try:
            for _ in range(min(self._processes, len(session.items))):
                self._start(session, shares)
            while self._forks:
                for link in wait([fork.link for fork in self._forks]):
                    [fork] = [fork for fork in self._forks if fork.link is link]
                    self._receive(session, shares, fork)
                    if session.shouldfail:
                        raise session.Failed(session.shouldfail)
                    if session.shouldstop:
                        raise session.Interrupted(session.shouldstop)
        finally:
            self._interrupt()
        return True

    def _start(self, session: pytest.Session, shares: Shares) -> None:
        # A KeyboardInterrupt within the fork itself would be lost, because Python runs callbacks there.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            fork = Fork(session, self._forks)
            self._forks.append(fork)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        fork.give(shares)

    def _receive(self, session: pytest.Session, shares: Shares, fork: Fork) -> None:
        """Do what a message of a process asks for."""
        try:
            kind, content = fork.link.recv()
        except (EOFError, OSError):
            self._end(session, shares, fork)
            return
        if kind == "more":
            fork.give(shares)
        elif kind == "done":
            self._report(session, session.items[fork.numbers.pop(0)], content)
        else:
            raise AssertionError(content)

    def _report(self, session: pytest.Session, item: pytest.Item, reports: list[dict[str, Any]]) -> None:
        """Tell pytest what came of a test."""
        hook = session.config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in reports:
            report = hook.pytest_report_from_serializable(config=session.config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _end(self, session: pytest.Session, shares: Shares, fork: Fork) -> None:
        """A process has ended. If it has crashed, its test failed, and another process does the rest."""
        self._forks.remove(fork)
        code = fork.end()
        if code == 0 and not fork.numbers:
            return
        if not fork.numbers:
            raise AssertionError(f"a process that runs tests ended with code {code} after them")
        number, *rest = fork.numbers
        item = session.items[number]
        path = str(item.path)
        message = f"the process that ran this test ended with code {code}"
        report = pytest.TestReport(
            item.nodeid, (path, None, path), {}, "failed", message, "call", duration=0.0, start=0.0, stop=0.0
        )
        session.config.hook.pytest_runtest_logreport(report=report)
        if fork.group is not None:
            shares.put_back(fork.group, rest)
        self._start(session, shares)

    def _interrupt(self) -> None:
        """End what still runs, as Ctrl-C does."""
        for fork in self._forks:
            with suppress(ProcessLookupError):
                os.kill(fork.pid, signal.SIGINT)
        for fork in self._forks:
            with suppress(EOFError, OSError):
                while fork.link.poll(END_SECONDS):
                    fork.link.recv()
                os.kill(fork.pid, signal.SIGKILL)
            fork.end()
        self._forks.clear()


class Runner:
    """The process itself: a plugin of pytest that sends the reports of each test to the main process."""

    def __init__(self, session: pytest.Session, link: Connection, parent: int) -> None:
        self._session = session
        self._link = link
        self._parent = parent
        self._reports: list[dict[str, Any]] = []

    def live(self) -> NoReturn:
        """Run what the main process sends, to the end of this process."""
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            die_with_parent(signal.SIGKILL, self._parent)
            atexit._clear()  # the main process does what it has planned for its end
            self._prepare()
            try:
                self._run()
            finally:
                self._session._setupstate.teardown_exact(None)
                self._save_coverage()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            with suppress(OSError):
                self._link.send(("broken", traceback.format_exc()))
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            with suppress(Exception):
                atexit._run_exitfuncs()
            os._exit(code)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each part of a test."""
        config = self._session.config
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        self._reports.append(data)

    def _prepare(self) -> None:
        """Write nothing to the terminal, and capture output apart from other processes."""
        plugins = self._session.config.pluginmanager
        plugins.unregister(name="terminalreporter")
        capture = plugins.getplugin("capturemanager")
        if capture is not None and capture.is_globally_capturing():
            capture.stop_global_capturing()
            capture.start_global_capturing()
        plugins.register(self)

    def _run(self) -> None:
        items: list[pytest.Item] = self._session.items
        numbers: list[int] = self._link.recv()
        while numbers:
            number = numbers.pop(0)
            if not numbers:  # pytest must know the next test to keep the fixtures that it shares
                self._link.send(("more", None))
                numbers = self._link.recv()
            following = items[numbers[0]] if numbers else None
            item = items[number]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._link.send(("done", self._reports))
            self._reports.clear()

    def _save_coverage(self) -> None:
        measured = Coverage.current()
        if measured is not None:
            measured.stop()
            measured.save()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by tests/conftest.py, or by pytest where this module is a plugin (`-p tests.support.forks`)."""
    parser.addoption(
        "--processes", type=int, default=0, help="run tests in so many processes; see tests/support/forks.py"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run tests in several processes where that is asked for."""
    processes: int = config.getoption("--processes")
    if processes > 1:
        config.pluginmanager.register(Forks(processes))
