"""`check` of connections: secrets, addresses, what came last, and items that nobody has mapped."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from functools import partial
from typing import Final

from sqlalchemy import Row, select

from gateway.cli.checks import Finding, Level, failed, passed, warned
from gateway.cli.checks.database import look_into_database
from gateway.config.settings import Settings
from gateway.connections.health import Result, examine
from gateway.connections.repository import ConnectionRepository
from gateway.connections.sealing import KEY_FILE, SecretBox
from gateway.database.engine import Database
from gateway.database.tables import CONNECTION
from gateway.platforms.clients.api import ApiRefused
from gateway.platforms.registry import PLATFORMS

SUBJECT: Final = "connections"


def check_connections(settings: Settings) -> Iterator[Finding]:
    """Look at all connections of the database. Nothing is changed, and no platform is asked."""
    yield from look_into_database(settings, partial(_look, settings))


async def _look(settings: Settings, database: Database) -> list[Finding]:
    async with database.reading() as sql:
        rows = list(await sql.execute(select(CONNECTION).order_by(CONNECTION.c.id)))
    if not rows:
        return [passed(SUBJECT, "there are none")]
    found = [*_address(settings), *_key_file(settings)]
    repository = ConnectionRepository(database, SecretBox.of(settings))
    for row in rows:
        found += await _look_at(settings, repository, row)
    return found


def _address(settings: Settings) -> Iterator[Finding]:
    if settings.public_url is None:
        text = "public_url is not set, so the addresses for platforms begin with this machine's own"
        yield warned(
            SUBJECT, text, "set public_url to https://HOST, and give the platforms the new addresses"
        )
    elif not settings.public_url.startswith("https://"):
        text = f"webhooks go to {settings.public_url}, without TLS: anybody on the way can read them"
        yield warned(SUBJECT, text, "set public_url to https://HOST")


def _key_file(settings: Settings) -> Iterator[Finding]:
    path = settings.data / KEY_FILE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # opening a secret says what is wrong with it
    if mode & 0o077:
        text = f"{path}, the key of the secrets, can be read by others (mode {mode:o})"
        yield failed(SUBJECT, text, f"chmod 600 {path}")


async def _look_at(
    settings: Settings, repository: ConnectionRepository, row: Row[tuple[object, ...]]
) -> list[Finding]:
    subject = f"connection {row.name}"
    if row.kind not in PLATFORMS:
        text = f"its platform, {row.kind}, is not known to this version"
        return [failed(subject, text, "install the version that made it, or remove it: connection remove")]
    connection = await repository.get(row.id)
    if connection is None:
        return []
    if connection.unreadable is not None:
        return [failed(subject, str(connection.unreadable).rstrip("."))]
    found: list[Finding] = []
    try:
        connection.access(allow_loopback=settings.loopback_shops)
    except ApiRefused as failure:
        found.append(failed(subject, str(failure).rstrip("."), f"connection change {row.id} --shop-url URL"))
    health = await examine(repository.database, connection, asks=False)
    wrong = [each for each in health.remarks if each.result in (Result.WARN, Result.FAIL)]
    found += [
        Finding(subject, Level(each.result.value), f"{each.check}: {each.text}", each.mend) for each in wrong
    ]
    if not found:
        found.append(passed(subject, "; ".join(f"{each.check}: {each.text}" for each in health.remarks[:2])))
    return found
