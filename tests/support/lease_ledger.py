"""A limited token in a real store, and the scripts that keep leases of it, called one by one."""

from __future__ import annotations

import socket
from typing import Any

import hiredis
import redis

from gateway.store.commands import ScriptCall, pack
from gateway.store.key_names import token_key
from gateway.store.scripts import CLAIM, SETTLE
from gateway.tokens.leases import Checkpoint, Lease
from tests.support.store_server import StoreServer

TOKEN = "0123456789abcdef" * 2
KEY = token_key(TOKEN)
SIZE, LIMIT = 100, 3
ALLOWANCE = SIZE * LIMIT + SIZE // 2
LONG = 1000.0


class Wire:
    """A connection to the store, for commands as they are packed."""

    def __init__(self, store: StoreServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(store.socket))
        self._reader = hiredis.Reader()
        self.client = redis.Redis.from_url(store.url, decode_responses=True)

    def ask(self, run: ScriptCall) -> Any:
        """Run a script; its reply."""
        self._socket.sendall(run.with_script_text())
        return self._read()

    def _read(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        assert not isinstance(reply, Exception), reply
        return reply

    def close(self) -> None:
        self._socket.close()
        self.client.close()

    @property
    def token(self) -> dict[str, str]:
        fields: Any = self.client.hgetall(KEY)
        return dict(fields)

    @property
    def charged(self) -> int:
        return int(self.token.get("charged:0", 0))

    def lease(self, lease: Lease) -> str | None:
        return self.token.get(f"lease:0:{lease.name}")

    def reset(self, **fields: str | int) -> None:
        values: dict[Any, str | int] = {"manifest": "d" * 64, "max": LIMIT, "size": SIZE}
        self.client.delete(KEY)
        self.client.hset(KEY, mapping=values | fields)

    def expire(self) -> None:
        """Let the time of every lease run out that is not renewed."""
        if fields := self._expired():
            self.client.hset(KEY, mapping=fields)

    def _expired(self) -> dict[Any, str | int]:
        token = self.token
        fields: dict[Any, str | int] = {"leased": 1} if "leased" in token else {}
        for name, value in token.items():
            unsent, _, deadline = value.partition(":")
            if name.startswith("lease:") and deadline.isdigit():
                fields[name] = f"{unsent}:1"
        return fields

    def expire_and_claim(self, amount: int) -> bool:
        """Do both in one transaction, so that no worker renews a lease in between."""
        changes = [part for pair in self._expired().items() for part in pair]
        for packed in (
            pack(("MULTI",)),
            pack(("HSET", KEY, *changes)),
            ScriptCall(CLAIM, KEY, 0, amount, SIZE).with_script_text(),
            pack(("EXEC",)),
        ):
            self._socket.sendall(packed)
        _, _, _, [_, claimed] = [self._read() for _ in range(4)]
        assert claimed in (0, 1)
        return bool(claimed)

    def claim(self, amount: int) -> bool:
        reply = self.ask(ScriptCall(CLAIM, KEY, 0, amount, SIZE))
        assert reply in (0, 1)
        return bool(reply)

    def fill(self) -> None:
        """Use the allowance up."""
        assert self.claim(ALLOWANCE)

    def settle(self, refund: int, *ending: str | int) -> None:
        self.ask(ScriptCall(SETTLE, KEY, 0, refund, *ending))


def lease_of(amount: int, name: str = "a") -> Lease:
    return Lease(TOKEN, 0, amount, SIZE, name)


def answer(checkpoint: Checkpoint, reply: Any) -> None:
    """A reply, or the exception in its place."""
    if isinstance(reply, Exception):
        checkpoint.set_exception(reply)
    else:
        checkpoint.set_result(reply)
    checkpoint.record()


def ask(wire: Wire, lease: Lease, unsent: int) -> int:
    """A checkpoint that goes well."""
    checkpoint = lease.checkpoint(unsent, LONG)
    reply: int = wire.ask(checkpoint)
    answer(checkpoint, reply)
    return reply
