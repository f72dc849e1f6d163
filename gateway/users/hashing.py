"""Passwords as Argon2id hashes (RFC 9106), made in a few threads, so that the event loop goes on.

A hash takes 64 MiB and some tenths of a second on purpose. THREADS of them at once and WAITING more are the
most that strangers can cause; beyond, whoever signs in is told to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import GatewayError
from gateway.users.password_rules import LONGEST, normalise_password

THREADS: Final = 2
"""Hashes at once: 128 MiB at most."""
WAITING: Final = 16
"""Hashes that may wait for a thread, some seconds of work."""
NOBODYS: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$Lito56+KmhioYWuptzx4tQ$UmJaDBa+/uxOmiFBhvDutk4KiCkEwKyRXChQokamj80"
)
"""What a password is compared with where there is no user: the same work, and nothing fits it."""

Result = TypeVar("Result")


class TooBusy(GatewayError):
    """So many passwords are being checked that this one would wait too long."""


class PasswordHashes:
    """Makes and checks hashes. For one event loop; `close` ends its threads."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._under_way = 0

    async def make(self, password: str) -> str:
        """The hash of a password, with a new salt. Raises TooBusy."""
        return await self._run(lambda: self._hasher.hash(normalise_password(password)))

    async def verify(self, password: str, known: str | None) -> bool:
        """Whether the password is the one of a hash. known: None takes as long and is never true.

        Raises TooBusy.
        """
        return await self._run(lambda: self._verify(password, known or NOBODYS)) and known is not None

    def is_outdated(self, known: str) -> bool:
        """Whether a hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(known)

    def close(self) -> None:
        """End the threads, once their work is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password: str, known: str) -> bool:
        # what is too long to be a password is cut, so that it takes as long as any other
        try:
            return self._hasher.verify(known, normalise_password(password[: 4 * LONGEST]))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= THREADS + WAITING:
            raise TooBusy("too many passwords are checked at this moment: try again in a few seconds")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1
