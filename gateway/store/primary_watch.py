"""Asks a server twice a second whether it is the primary and can serve what the ledger needs.

After a failover the old primary may keep its connections and go on answering reads, which are out of date.
Requests that only read would never notice. So the role is asked for each time, and a script is run that
changes nothing but fails where a claim would fail. The questions also keep the connection from being idle,
which servers and firewalls close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, NotExecuted, ScriptCall, pack
from gateway.store.faults import REPLICA, Fault, Faults, fault_of_reply
from gateway.store.key_names import PROBE_KEY
from gateway.store.pipeline_connection import PipelineConnection
from gateway.store.replies import ROLE_QUESTIONS, Consequence, is_primary
from gateway.store.scripts import PROBE

ASK_SECONDS: Final = 0.5
"""For so long at most a replica's reads are believed. With a pause of less than a second, no `timeout` of
Redis (whole seconds) finds the connection idle."""

GiveUp = Callable[[PipelineConnection, Fault], None]


class RoleQuestion(Command):
    """One of ROLE_QUESTIONS. Its error reply says nothing about the store."""


class Probe(ScriptCall):
    """The script that shows whether a claim would work. Its error reply is judged by `PrimaryWatch.judge`."""

    def __init__(self) -> None:
        super().__init__(PROBE, PROBE_KEY)


OWN_QUESTIONS: Final = (RoleQuestion, Probe)


class PrimaryWatch:
    """The questions on one connection. pending: how many of them are not answered yet."""

    def __init__(
        self, connection: PipelineConnection, question: int, timeout: float, faults: Faults, give_up: GiveUp
    ) -> None:
        """give_up: called when the server is the wrong one. timeout: seconds that an answer may take.

        question: the index of the first of ROLE_QUESTIONS that may be answered.
        """
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._question = question
        self._timeout = timeout
        self._faults = faults
        self._give_up = give_up
        self._due = 0.0
        self.pending = 0

    def hurry(self) -> None:
        """Let the next questions be due now: a request has met a fault."""
        self._due = 0.0

    def ask_if_due(self, now: float) -> None:
        """Ask, if it is time and the last questions have been answered. now: by the event loop's clock."""
        if now < self._due or self.pending:
            return
        self._due = now + ASK_SECONDS
        if self._question < len(ROLE_QUESTIONS):
            role = RoleQuestion()
            self._send(role, pack(ROLE_QUESTIONS[self._question]), self._take_role)
        probe = Probe()
        self._send(probe, probe.packed(), self._take_probe)

    def _send(
        self, command: Command, packed: bytes, take: Callable[[Command, PipelineConnection], None]
    ) -> None:
        self.pending += 1
        command.deadline = self._loop.time() + self._timeout
        command.add_done_callback(take, self._connection)
        self._connection.send(command, packed)

    def _take_role(self, command: Command, connection: PipelineConnection) -> None:
        self.pending -= 1
        try:
            reply = command.result()
        except StoreUnavailable as error:
            if isinstance(error, NotExecuted) and error.reply is not None:
                self._question += 1  # it is not allowed, or the server does not know it
            return
        if is_primary(reply) is False:
            self._give_up(connection, REPLICA)

    def _take_probe(self, command: Command, connection: PipelineConnection) -> None:  # noqa: ARG002
        self.pending -= 1
        try:
            command.result()
        except StoreUnavailable as error:
            self.judge(error)
        else:
            self._faults.is_well(self._loop.time())

    def judge(self, error: StoreUnavailable) -> None:
        """Take in why a Probe has failed."""
        reply = error.reply if isinstance(error, NotExecuted) else None
        if reply is None:
            return  # it was not answered at all, which the pipeline notices
        if reply.meaning.consequence is Consequence.RECONNECT:
            self._give_up(self._connection, fault_of_reply(reply))
        else:
            self._faults.begin(fault_of_reply(reply), self._loop.time())
