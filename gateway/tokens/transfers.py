"""The running transfers of one worker, and the end of those whose token is revoked.

Who revokes a token tells all workers at once (`store/scripts/revoke_token.lua`). That message may be lost,
and a transfer may begin just then. So the tokens of running transfers are looked up as well: about CHECKED of
them each second, one after the other. A token that has expired, or that the store does not know any more,
ends no transfer.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, pack
from gateway.store.key_names import token_key
from gateway.store.topology import Topology
from gateway.tokens.deliveries import Delivery

CHECKED: Final = 500
"""Tokens that are looked up each second: some 2 ms of a worker's time. Of more, each has its turn."""

_log = logging.getLogger("gateway")


class Request(Protocol):
    """What is needed of the request that a transfer answers. token_id: of its token."""

    token_id: str


class _Check(Command):
    identifier = ""


class Transfers:
    """One worker's running transfers."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.running: Final[dict[Delivery, Request]] = {}
        """What runs, in the order in which it began."""
        self._unchecked: list[str] = []

    def begin(self, request: Request, delivery: Delivery) -> None:
        """Add a transfer. The caller ends it."""
        self.running[delivery] = request

    def end(self, delivery: Delivery) -> None:
        """Remove a transfer that has ended."""
        del self.running[delivery]

    def break_off(self, identifier: str) -> None:
        """Break all transfers of a token: it was revoked."""
        for delivery in [each for each, of in self.running.items() if of.token_id == identifier]:
            _log.info("a download was broken off: its link was revoked", extra={"token": identifier})
            delivery.break_off()

    def tick(self) -> None:
        """Look tokens up. To be called about once a second."""
        if not self.running or not self._topology.is_any_ready:
            return
        if not self._unchecked:
            self._unchecked = list(dict.fromkeys(each.token_id for each in self.running.values()))
        for identifier in self._unchecked[-CHECKED:]:
            command = _Check()
            command.identifier = identifier
            self._topology.post(command, pack((b"HGET", token_key(identifier), b"revoked")), identifier)
            command.add_done_callback(self._on_checked, None)
        del self._unchecked[-CHECKED:]

    def _on_checked(self, command: _Check, _: None) -> None:
        try:
            is_revoked = command.result() is not None
        except StoreUnavailable:
            return
        if is_revoked:
            self.break_off(command.identifier)
