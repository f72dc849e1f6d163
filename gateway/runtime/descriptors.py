"""How many descriptors a process may have, and what they are for. A connection must never lack one.

A process that runs out of descriptors fails wherever it needs the next one: in the middle of a download, or
at the store. So they are shared out when it starts (`share_descriptors`): some are reserved for what every
process has, some for files that are kept open, and the rest is for connections, each with all that it may
need later. Connections beyond that are refused, as those beyond `max_connections` are.
"""

from __future__ import annotations

import errno
import resource
from typing import Final, NamedTuple

RESERVED: Final = 96
"""For listeners (16 each), the event loop, the store, the log, threads that open files, and connections that
are being refused."""
FILES_SHARE: Final = 4
"""Files that are kept open take at most this part of the rest: one quarter."""
FOR_FILES: Final = 3
"""A connection that is sent a file: its socket, the duplicate of it, and the file."""
FOR_OBJECTS: Final = 7
"""A connection that is sent an object: its socket and the duplicate, a pipe (two), the storage's connection,
and two parts of the object in the cache."""
FOR_REQUESTS: Final = 2
"""A connection of a service that sends no files: its socket, and a file that is looked at."""


class Shares(NamedTuple):
    """How many connections may be open, and how many files may be kept open between requests."""

    connections: int
    files: int


def raise_limit() -> int:
    """Raise the soft limit of descriptors to the hard one, and return it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def descriptor_limit() -> int:
    """The present soft limit of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def hard_limit() -> int:
    """What the soft limit can be raised to."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def share_descriptors(limit: int, max_connections: int, open_files: int, each: int) -> Shares:
    """Share a limit out. max_connections, open_files: the settings. each: descriptors of one connection."""
    if limit == resource.RLIM_INFINITY:
        return Shares(max_connections, open_files)
    left = max(0, limit - RESERVED)
    files = max(1, min(open_files, left // FILES_SHARE))
    return Shares(max(1, min(max_connections, (left - files) // each)), files)


def needed_limit(max_connections: int, open_files: int, each: int) -> int:
    """The least limit at which both settings hold in full."""
    rest = max(open_files + each * max_connections, open_files * FILES_SHARE)
    return RESERVED + rest


def is_out_of_descriptors(error: BaseException) -> bool:
    """Whether the error, or the one that caused it, says that there is no descriptor left."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}
