"""What can go wrong with a database, told in one line, from the exceptions of SQLAlchemy and its drivers.

The text of those exceptions has the statement and its parameters, and so customers' addresses; ours never do.
"""

from __future__ import annotations

import errno
import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.database.types import InvalidValue
from gateway.errors import DatabaseError, GatewayError
from gateway.runtime.system_errors import describe

__all__ = ("DatabaseError", "Duplicate", "explain", "is_foreign", "locked")


class Duplicate(GatewayError):
    """A row would break a rule of the table, such as a unique key. The caller knows what it means."""


_ADVICE: Final = {
    "unreachable": "cannot be reached: {reason}. See that it runs and that database_url is right",
    "locked": "is locked: another process writes to it for too long. Try again, or end that process",
    "full": "cannot be written to, because its disk is full. Make room there",
    "refused": "refuses us: {reason}. See user, password and permissions",
    "damaged": "is damaged or no database: {reason}. Put back a backup with `download-gateway restore FILE`",
    "outdated": "has not the tables of this version: {reason}. They are made once it can be reached, or by "
    "`download-gateway database migrate`",
    "failed": "failed: {reason}",
}

_SQLITE_KINDS: Final = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "refused",
    sqlite3.SQLITE_PERM: "refused",
    sqlite3.SQLITE_AUTH: "refused",
    sqlite3.SQLITE_CANTOPEN: "unreachable",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
"""By the primary result code (https://www.sqlite.org/rescode.html)."""

_POSTGRES_KINDS: Final = (
    ("53100", "full"),
    ("53", "unreachable"),  # too many connections, out of memory
    ("08", "unreachable"),
    ("57", "unreachable"),  # shut down, starting up, cancelled
    ("3D", "unreachable"),  # no such database
    ("28", "refused"),
    ("42501", "refused"),
    ("25006", "refused"),  # a read-only transaction, as on a standby
    ("55P03", "locked"),
    ("40", "locked"),  # deadlock and serialisation
    ("XX", "damaged"),
    ("42P01", "outdated"),  # no such table: it was away when they were to be made
    ("42703", "outdated"),  # no such column
)
"""By the beginning of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

_SQLITE_REASONS: Final = {
    sqlite3.SQLITE_ERROR: "a table or a column is missing, or a statement is wrong",
    sqlite3.SQLITE_PERM: "the file may not be opened",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
    sqlite3.SQLITE_CORRUPT: "the file has content that does not fit together",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_AUTH: "the operation is not allowed",
    sqlite3.SQLITE_NOTADB: "the file is not one of SQLite",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_INTERRUPT: "the operation was interrupted",
}

_POSTGRES_REASONS: Final = (
    ("53300", "it has too many connections"),
    ("53200", "it has not enough memory"),
    ("53", "it lacks resources"),
    ("57P03", "it is starting up or shutting down"),
    ("57P01", "it is shutting down"),
    ("57014", "the statement was cancelled"),
    ("57", "an operator intervened"),
    ("3D000", "there is no database of this name"),
    ("28P01", "the password is wrong"),
    ("28000", "the user is unknown, or may not connect from here"),
    ("28", "the user is not accepted"),
    ("42501", "the user lacks a permission"),
    ("42P01", "a table is missing"),
    ("42", "a table or a column is missing, or a statement is wrong"),
    ("25006", "it is read-only, as a standby is"),
    ("08", "the connection was lost"),
    ("22", "a value does not fit its column"),
    ("XX", "its files are damaged"),
)
"""By the beginning of SQLSTATE, the longest first."""


def explain(error: BaseException, label: str) -> GatewayError:
    """Translate an exception of SQLAlchemy, a driver or the operating system. label: names the database."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if not isinstance(cause, TimeoutError):  # its cause is only that the wait was cancelled
        cause = getattr(cause, "__cause__", None) or cause
    if isinstance(error, IntegrityError):
        return Duplicate(f"the database {label} has this already, or not what it refers to")
    kind = _kind(error, cause)
    reason = _reason(cause)
    return DatabaseError(kind, f"the database {label} {_ADVICE[kind].format(reason=reason)}")


def locked(label: str) -> DatabaseError:
    """That other transactions of this process have waited too long for SQLite's lock."""
    return DatabaseError("locked", f"the database {label} {_ADVICE['locked']}")


def is_foreign(error: BaseException) -> bool:
    """Whether an exception is one of the database's that `explain` translates.

    Other errors of the operating system may be the caller's own, such as of a file that it reads meanwhile.
    """
    known = SQLAlchemyError | sqlite3.Error | TimeoutError | ConnectionError
    return isinstance(error, known) or hasattr(error, "sqlstate")


def _kind(error: BaseException, cause: BaseException) -> str:
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return next((kind for start, kind in _POSTGRES_KINDS if state.startswith(start)), "failed")
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        if str(cause).startswith(("no such table", "no such column")):
            return "outdated"
        return _SQLITE_KINDS.get(code & 0xFF, "failed")
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "full"
    if isinstance(cause, PermissionError):
        return "refused"
    if isinstance(error, PoolTimeout) or isinstance(cause, OSError | TimeoutError):
        return "unreachable"
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return "unreachable"
    return "unreachable" if type(cause).__module__.startswith("asyncpg") else "failed"


def _reason(cause: BaseException) -> str:
    """Why, in our own words: a driver's text may have values, and is not written for the reader."""
    if isinstance(cause, InvalidValue):
        return str(cause)
    if isinstance(cause, TimeoutError | PoolTimeout):
        return "it did not answer in time"
    if isinstance(cause, OSError):
        return describe(cause)
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        words = next(
            (text for start, text in _POSTGRES_REASONS if state.startswith(start)), "it gives no reason"
        )
        return f"{words} (SQLSTATE {state})"
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        words = _SQLITE_REASONS.get(code & 0xFF, "it gives no reason")
        return f"{words} ({getattr(cause, 'sqlite_errorname', code)})"
    return f"its driver gives no reason ({type(cause).__name__})"
