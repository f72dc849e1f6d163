"""The setting `database_url`: which database it names, and what of it may be shown.

Two forms are taken:

    sqlite:///PATH                                a file; PATH is relative, or absolute with a fourth slash
    postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?OPTION=VALUE&…]

HOST may be left out where the option `host` has it, which may be the folder of a unix socket. The options are
those of libpq that asyncpg knows (`sslmode`, `sslrootcert`, `passfile`, …).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

DATABASE_FILE: Final = "gateway.sqlite"
"""The database below `data` that is used when no URL is given."""

_SQLITE: Final = "sqlite:///"
_FORMS: Final = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


@dataclass(frozen=True)
class DatabaseLocation:
    """Where the database is.

    path: the file of SQLite, absolute; None for PostgreSQL. dsn: the whole URL of PostgreSQL, with the
    password. label: names the database to people, without user, password and options.
    """

    path: Path | None
    label: str
    dsn: str = field(default="", repr=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite."""
        return self.path is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the database, which must never be served."""
        if self.path is None:
            return ()
        return (self.path, self.path.with_name(self.path.name + "-journal"))


def check_database_url(value: object) -> str | None:
    """Read the setting; a relative path is made absolute. Raises ValueError, which quotes nothing of it."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith(_SQLITE):
        path = text[len(_SQLITE) :]
        if not path or path.startswith(":") or "?" in path or "\0" in path:
            raise ValueError("names no file: write sqlite:///PATH (a database in memory would be lost)")
        if path.endswith("/"):
            raise ValueError("names a folder: write sqlite:///PATH with the name of a file")
        return _SQLITE + str(Path(path).absolute())
    try:
        parts = urlsplit(text)
        port = parts.port
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"is not a URL with a valid host, port and options: {_FORMS}") from None
    if parts.scheme != "postgresql":
        raise ValueError(f"is neither SQLite nor PostgreSQL: {_FORMS}")
    if port == 0 or not (parts.hostname or "host" in options):
        raise ValueError(f"names no host: {_FORMS}")
    if not parts.path.strip("/") and "dbname" not in options and "database" not in options:
        raise ValueError(f"names no database: {_FORMS}")
    return text


def locate_database(url: str | None, data: Path) -> DatabaseLocation:
    """The database of a checked `database_url`, or the usual file below the data folder without one."""
    if url is None or url.startswith(_SQLITE):
        path = data / DATABASE_FILE if url is None else Path(url[len(_SQLITE) :])
        return DatabaseLocation(path.absolute(), str(path.absolute()))
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    host = parts.netloc.rpartition("@")[2] or options.get("host", [""])[0]
    name = unquote(parts.path.strip("/")) or (options.get("dbname") or options.get("database") or [""])[0]
    return DatabaseLocation(None, f"postgresql://{host}/{name}", url)
