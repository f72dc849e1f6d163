"""Mails in tests: the parts of the web process that send them, on a database of the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select, update

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import OUTBOX_MAIL
from gateway.mail.desk import MailDesk
from gateway.runtime.metrics import MAILS, Counters

PUBLIC_URL = "https://shop.example"


@dataclass
class Post:
    """A mail desk without its own loop: a test says when it sends.

    options: settings. announced: links for signing in that a trial prints.
    """

    database: Database
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        values = {"public_url": PUBLIC_URL, "data": self.folder, "seller_name": "Ann's Drums", **self.options}
        self.settings = Settings(**values)
        self.counters = Counters()
        self.desk = MailDesk.of(self.settings, self.database, self.counters, self.announced.append)
        self.mailer = self.desk.mailer

    async def send(self) -> None:
        """Send what is due now, all of it."""
        while await self.desk.sender.send_due():
            pass

    async def rows(self) -> list[Row[Any]]:
        async with self.database.reading() as sql:
            return list(await sql.execute(select(OUTBOX_MAIL).order_by(OUTBOX_MAIL.c.id)))

    async def states(self) -> list[tuple[str, str, int | None]]:
        """Kind, state and the server's last code of each mail."""
        return [(row.kind, row.state, row.code) for row in await self.rows()]

    async def hurry(self, **values: Any) -> None:
        """Make every mail due now that waits, as if time had passed."""
        async with self.database.writing() as sql:
            await sql.execute(
                update(OUTBOX_MAIL).where(OUTBOX_MAIL.c.state == "waiting").values(**{"due": 1, **values})
            )
        self.desk.sender.forget_pause()

    def counted(self, kind: str, outcome: str) -> int:
        return self.counters.values()[MAILS[kind, outcome]]

    def files(self) -> list[Path]:
        return sorted((self.folder / "mail").glob("*.eml"))
