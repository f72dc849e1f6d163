"""What a publisher should know about files that can be published: dates that tell nothing, and unlucky names.

Pure. Each warning is one line with the number of files and one example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from gateway.http.file_names import shown, turns_text

NANOSECONDS: Final = 1_000_000_000
OLDEST_REAL: Final = 318_297_600
"""1980-02-01 and a day. Nix and OSTree date files 1970-01-01, zip and reproducible builds 1980-01-01, Gradle
1980-02-01, in some time zone."""
CLOCK_SECONDS: Final = 60
"""By how much the clocks of machines may differ."""
_TOLD: Final = "so every change of such a file is found by its inode and change time and its SHA-256"


class Scanned(Protocol):
    """The part of a scanned file or object that is looked at. modified: nanoseconds since 1970."""

    @property
    def name(self) -> str:
        """The name for the customer."""

    @property
    def modified(self) -> int:
        """In nanoseconds since 1970."""

    @property
    def in_bucket(self) -> bool:
        """Whether it is an object: its ETag or version shows a change, whatever its date."""


def publication_warnings(files: Sequence[Scanned], now: float) -> list[str]:
    """Every warning about these files. now: seconds since 1970."""
    return [*_dates(files, now), *_names([file.name for file in files])]


def _dates(scanned: Sequence[Scanned], now: float) -> Iterator[str]:
    files = [file for file in scanned if not file.in_bucket]
    old = [file for file in files if file.modified < OLDEST_REAL * NANOSECONDS]
    late = [file for file in scanned if file.modified > (now + CLOCK_SECONDS) * NANOSECONDS]
    if old:
        yield f"{_count(old)} dated 1970 or 1980, which a build or an archive sets: {_example(old)}; {_TOLD}"
    if late:
        yield (
            f"{_count(late)} dated in the future: {_example(late)}; customers are told that such a file "
            "was modified now. Correct the clock or the files' times"
        )
    times = {file.modified for file in files}
    if len(files) > 1 and len(times) == 1 and not old and not late and not times.pop() % NANOSECONDS:
        yield f"all {len(files)} files have one modification time, which a build has set; {_TOLD}"


def _names(names: Sequence[str]) -> Iterator[str]:
    by_folded: dict[str, list[str]] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), []).append(name)
    alike = [group for group in by_folded.values() if len(group) > 1]
    if alike:
        yield (
            f"{alike[0][0]!r} and {alike[0][1]!r} differ by case only{_more(len(alike))}: on Windows and "
            "macOS one replaces the other. Rename one of them"
        )
    turning = [name for name in names if turns_text(name)]
    if turning:
        yield (
            f"{shown(turning[0])!r} has a mark that changes the direction of text{_more(len(turning))}: "
            "programs show such a name differently from what it is. Rename it, unless you need the mark"
        )
    slashed = [name for name in names if "\\" in name]
    if slashed:
        yield (
            f"{slashed[0]!r} has a backslash{_more(len(slashed))}: customers get only what is behind it as "
            "the name. Rename it, or unpack the archive again with a program that makes folders"
        )


def _count(files: Sequence[Scanned]) -> str:
    return "1 file is" if len(files) == 1 else f"{len(files)} files are"


def _example(files: Sequence[Scanned]) -> str:
    return f"{files[0].name!r}{_more(len(files))}"


def _more(number: int) -> str:
    return f" (and {number - 1} more)" if number > 1 else ""
