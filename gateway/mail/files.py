"""Mails as files below `data`/mail, where there is no mail server: for trials, and for other programs.

Each is an `.eml` file, which mail programs open, with the mail's id as its name. Only this user may read it.
It appears whole or not at all. What is beyond the settings' number and age is removed, the oldest first;
other files in the folder are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from gateway.mail.faults import MailFault
from gateway.mail.smtp import Outgoing
from gateway.mail.verdicts import Step
from gateway.runtime.system_errors import describe

FOLDER: Final = "mail"
"""Below `data`; `gateway.orders.erasing` looks there for an erased customer's mails."""
_NAME: Final = re.compile(r"[0-9a-z]{26}\.eml")
_UNFINISHED: Final = re.compile(r"\.[0-9a-z]{26}\.[0-9a-f]{16}")
_UNFINISHED_SECONDS: Final = 3600.0
"""After which a file that was never completed was left by a process that died."""


def path_of(data: Path, identifier: str) -> Path:
    """The file of a mail."""
    return data / FOLDER / f"{identifier}.eml"


class FileTransport:
    """Writes mails into a folder."""

    def __init__(
        self, data: Path, *, most: int, days: int, announce: Callable[[str], None] | None = None
    ) -> None:
        """data: the folder of the setting. most, days: how many files are kept, and how long.

        announce: is told of each link for signing in, in a line; only for trials on one machine.
        """
        self.folder: Final = data / FOLDER
        self._most: Final = most
        self._days: Final = days
        self._announce: Final = announce

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[FileTransport]:
        """Write some mails; remove old ones afterwards."""
        yield self
        await asyncio.to_thread(remove_old, self.folder, self._most, self._days, time.time())

    async def send(self, mail: Outgoing) -> None:
        """Write a mail. Raises MailFault."""
        try:
            await asyncio.to_thread(write_mail, self.folder, mail)
        except OSError as error:
            text = f"the folder {self.folder} cannot be written to: {describe(error)}"
            raise MailFault(Step.CONNECT, text, remedy="make room, or give this user the right") from None
        if self._announce is not None and mail.link is not None:
            self._announce(f"A mail to sign in is in {self.folder / mail.id}.eml; its link: {mail.link}")

    async def withdraw(self, mail: Outgoing) -> None:
        """Remove the file of a mail whose recipient was erased meanwhile."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(os.unlink, self.folder / f"{mail.id}.eml")


def write_mail(folder: Path, mail: Outgoing) -> Path:
    """Write a mail as a file, in one step. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{mail.id}.eml"
    unfinished = folder / f".{mail.id}.{secrets.token_hex(8)}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(mail.content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    return path


def remove_old(folder: Path, most: int, days: int, moment: float) -> int:
    """Remove mails beyond the limits. moment: now, seconds since 1970. Returns how many there were."""
    found: list[tuple[float, str]] = []
    gone: list[str] = []
    try:
        for file in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                if not file.is_file(follow_symlinks=False):
                    continue
                written = file.stat(follow_symlinks=False).st_mtime
                if _NAME.fullmatch(file.name):
                    found.append((written, file.path))
                elif _UNFINISHED.fullmatch(file.name) and written < moment - _UNFINISHED_SECONDS:
                    gone.append(file.path)
    except OSError:
        return 0
    found.sort()
    late = len(found) - most
    gone += [
        path
        for place, (written, path) in enumerate(found)
        if place < late or written < moment - days * 86_400
    ]
    removed = 0
    for path in gone:
        with contextlib.suppress(OSError):
            os.unlink(path)
            removed += 1
    return removed
