"""What attempts add up to: downloads. Pure.

An *attempt* is what one event tells: one request that sent bytes. A *series* is all attempts at one file by
one entitlement, or by one token that came from none. The rules, by which any order, any repetition and any
cut of the attempts into batches give the same downloads:

1. Attempts are looked at in the order in which they began.
2. A download is completed at the first moment at which what had ended until then covers the file.
3. An attempt that began after that moment begins the next download; so does one that began PERIOD after the
   first attempt of the download. Every other attempt belongs to the download that is under way.
4. An attempt that repairs begins no download. The last bytes of an attempt that was cut may have been lost in
   the client's buffer (UNREAD), so the client asks for them again, also after rule 2 found the file covered.
   What lies within such bytes, and begins within REPAIR of the completion, repairs.
5. Nor does a part that was given up: a program with several connections may ask for a part before it has read
   what the others have brought, and then break it off. It is a cut attempt that is not from the start of the
   file, within GIVEN_UP of the completion of a download of several attempts.

So resumes, parallel parts and two downloads at the same time are one download. SKEW is how much later than
its last byte an attempt may be said to have ended.

Of a download with very many attempts, old ones are put together (`compact`). Then rule 2 is right to the end
of what was put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.usage.coverage import Spans, count, subtract, unite

DAY: Final = 86_400 * 1_000_000
"""Microseconds."""
PERIOD: Final = 30 * DAY
SKEW: Final = 1_000
"""Microseconds. The clock of one machine, as two of its workers read it, differs by less."""
UNREAD: Final = 8 * 2**20
"""Bytes. Linux has 6 MiB at the most for what a program has not read from a connection, unless it is told
more."""
REPAIR: Final = 600 * 1_000_000
"""Microseconds. A program that continues a download asks at once for what it lacks, as fast as its line
is."""
GIVEN_UP: Final = 10 * 1_000_000
"""Microseconds."""
MOST_ATTEMPTS: Final = 2_000
"""Attempts of one download that are kept apart."""


class Attempt(NamedTuple):
    """What one request sent; or, where `times` is more than 1, what so many did.

    worker, number: its name. token: the token's id. started, ended: microseconds since 1970 UTC. sent: bytes.
    spans: of the file. client: address. agent: User-Agent. whole: all that was asked for was sent.
    """

    started: int
    worker: str
    number: int
    ended: int
    token: str
    sent: int
    spans: Spans
    client: str
    agent: str
    whole: bool = True
    times: int = 1


class Download(NamedTuple):
    """One download of a file. attempts: in the order in which they began.

    completed: when it was, in microseconds since 1970 UTC; None as long as something of the file is missing.
    """

    attempts: tuple[Attempt, ...]
    completed: int | None

    @property
    def first_at(self) -> int:
        """When it began, in microseconds since 1970 UTC."""
        return self.attempts[0].started

    @property
    def last_at(self) -> int:
        """When its last attempt ended."""
        return max(attempt.ended for attempt in self.attempts)

    @property
    def bytes(self) -> int:
        """Bytes that were sent, those of the file that were sent twice counted twice."""
        return sum(attempt.sent for attempt in self.attempts)

    @property
    def times(self) -> int:
        """How many requests sent bytes."""
        return sum(attempt.times for attempt in self.attempts)

    @property
    def covered(self) -> Spans:
        """What of the file was sent."""
        return unite(span for attempt in self.attempts for span in attempt.spans)


def add_up(attempts: Iterable[Attempt], size: int) -> list[Download]:
    """The downloads that attempts at one file make, in their order. size: of the file, in bytes."""
    found: list[Download] = []
    current: list[Attempt] = []
    sent = 0
    completed: int | None = None
    last: Attempt | None = None
    for attempt in sorted(attempts):
        if last is not None and (attempt.worker, attempt.number) == (last.worker, last.number):
            continue
        last = attempt
        if current and _begins_next(attempt, current, completed):
            found.append(Download(tuple(current), completed))
            current, sent, completed = [], 0, None
        current.append(attempt)
        sent += attempt.sent
        if sent >= size:  # only then it can be complete
            completed = _completion(current, size)
    if current:
        found.append(Download(tuple(current), completed))
    return found


def _begins_next(attempt: Attempt, current: Sequence[Attempt], completed: int | None) -> bool:
    """Whether an attempt begins the next download."""
    if attempt.started - current[0].started >= PERIOD:
        return True
    if completed is None or attempt.started < completed - SKEW:
        return False
    is_later_part = not attempt.whole and len(current) > 1 and attempt.spans[0][0] > 0
    if is_later_part and attempt.started < completed + GIVEN_UP:
        return False
    return attempt.started >= completed + REPAIR or not _repairs(attempt, current)


def _repairs(attempt: Attempt, current: Sequence[Attempt]) -> bool:
    """Whether all that an attempt sent may have been lost before, and was not sent as a whole since."""
    lost = unite(span for each in current if not each.whole for span in _tail(each.spans, UNREAD))
    if not lost:
        return False
    sure = unite(span for each in current if each.whole for span in each.spans)
    return all(
        any(start <= first and last <= stop for start, stop in subtract(lost, sure))
        for first, last in attempt.spans
    )


def _tail(spans: Spans, most: int) -> list[tuple[int, int]]:
    """The last bytes of spans."""
    found = []
    for start, stop in reversed(spans):
        if most <= 0:
            break
        found.append((max(start, stop - most), stop))
        most -= stop - start
    return found


def _completion(attempts: Sequence[Attempt], size: int) -> int | None:
    """When what had ended covered the file; None: it never did."""
    if count(unite(span for attempt in attempts for span in attempt.spans)) < size:
        return None
    by_end = sorted(attempts, key=lambda attempt: attempt.ended)
    low, high = 1, len(by_end)  # the first `high` of them cover it
    while low < high:
        middle = (low + high) // 2
        if count(unite(span for attempt in by_end[:middle] for span in attempt.spans)) < size:
            low = middle + 1
        else:
            high = middle
    return by_end[high - 1].ended


def compact(download: Download) -> Download:
    """The same download with few attempts: the oldest of more than MOST_ATTEMPTS are put together."""
    attempts = download.attempts
    if len(attempts) <= MOST_ATTEMPTS:
        return download
    kept = attempts[-MOST_ATTEMPTS // 2 :]
    days: dict[int, list[Attempt]] = {}
    for attempt in attempts[: -MOST_ATTEMPTS // 2]:
        days.setdefault(attempt.started // DAY, []).append(attempt)
    return Download((*(_put_together(each) for each in days.values()), *kept), download.completed)


def _put_together(attempts: Sequence[Attempt]) -> Attempt:
    return attempts[0]._replace(
        ended=max(attempt.ended for attempt in attempts),
        sent=sum(attempt.sent for attempt in attempts),
        spans=unite(span for attempt in attempts for span in attempt.spans),
        whole=True,
        times=sum(attempt.times for attempt in attempts),
    )


class DayKey(NamedTuple):
    """A row of the days. day: number of the day since 1970 UTC. client: its class."""

    day: int
    client: str
    outcome: str


COMPLETED: Final = "completed"
UNDER_WAY: Final = "started"
"""The outcomes: the words by which reports tell the status of a download."""


def days_of(downloads: Iterable[Download], client_of: dict[str, str]) -> dict[DayKey, list[int]]:
    """What downloads add to the days: started, completed, and bytes.

    A download is started on the day of its first byte and completed on the day of its last. client_of: the
    class of each User-Agent. The class of a download is that of its first attempt.
    """
    found: dict[DayKey, list[int]] = {}
    for download in downloads:
        outcome = UNDER_WAY if download.completed is None else COMPLETED
        client = client_of[download.attempts[0].agent]
        _row(found, download.first_at, client, outcome)[0] += 1
        if download.completed is not None:
            _row(found, download.completed, client, outcome)[1] += 1
        for attempt in download.attempts:
            _row(found, attempt.started, client, outcome)[2] += attempt.sent
    return found


def _row(found: dict[DayKey, list[int]], moment: int, client: str, outcome: str) -> list[int]:
    return found.setdefault(DayKey(moment // DAY, client, outcome), [0, 0, 0])
