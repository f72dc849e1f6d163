"""Times as the API writes them: RFC 3339, in UTC, with milliseconds and `Z`.

The code holds a time as an integer: milliseconds since 1970 UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.config.units import LAST_MOMENT
from gateway.runtime.log import format_time

__all__ = ["EPOCH", "MILLISECOND", "format_time", "parse_time"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d:\d\d))", re.ASCII
)


def parse_time(text: str) -> int:
    """Read an RFC 3339 date-time with any offset as ms since 1970. Digits below a millisecond are cut off.

    Raises ValueError, whose text completes a sentence: "must be a time such as …".
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00.000Z (RFC 3339)")
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset or '+00:00'}")
    except ValueError:
        raise ValueError("must be a time that exists, such as 2026-01-31T12:00:00.000Z") from None
    milliseconds = (moment - EPOCH) // MILLISECOND + int(f"{fraction or ''}000"[:3])
    if not 0 <= milliseconds <= LAST_MOMENT:
        raise ValueError("must be a time from the year 1970 to the year 9999")
    return milliseconds
