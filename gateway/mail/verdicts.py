"""What a fault in the dialogue with a mail server means: for one mail or for all, and for how long. Pure.

| step | answer | means |
| --- | --- | --- |
| connect, greeting, EHLO, TLS, signing in | any | nothing can be sent now: all mails wait |
| any | 421, or it needs signing in (530, 534, 535, 538) | the same |
| MAIL FROM | any other, except for the two below | the same: all mails have this sender |
| MAIL FROM | 552, 523 | this mail is too large: it has failed |
| RCPT TO, DATA, the content | 5xx | this mail has failed: the server will never take it |
| RCPT TO, DATA, the content | 4xx, no answer, connection closed | this mail is tried again later |
| RCPT TO, DATA, the content | anything that is no answer of SMTP | this mail is tried again later |

(RFC 5321 sections 4.2.1 and 4.2.2; RFC 4954 section 6 for signing in; RFC 3463 for 5.3.4, too large.) A
connection that closes in the content is the fault of one mail, so that a mail on which a server stumbles
does not stop all others. Whether the server took such a mail is not known: it is sent again with the same
Message-ID.
"""

from __future__ import annotations

import re
import secrets
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """Where in the dialogue a fault came."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "EHLO"
    TLS = "TLS"
    AUTH = "AUTH"
    SENDER = "MAIL FROM"
    RECIPIENT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "content"


class Verdict(StrEnum):
    """What a fault means."""

    ALL_WAIT = "all_wait"
    RETRY = "retry"
    FAILED = "failed"


_OF_ALL: Final = frozenset((421, 530, 534, 535, 538))
_TOO_LARGE: Final = frozenset((552, 523))
_PER_MAIL: Final = frozenset((Step.RECIPIENT, Step.DATA, Step.CONTENT))

_PAUSES: Final = (60, 300, 600, 1800, 3600, 7200, 14_400)
"""Seconds before each further try. Servers that refuse what they do not know at first (greylisting) take it
after some minutes; the others need time to be repaired."""
_URGENT_PAUSES: Final = (10, 30, 60, 120)
"""The same for mails that somebody waits for."""
_SERVER_PAUSES: Final = (1, 3, 10, 30, 60)
"""Seconds before the server is tried again that takes nothing now."""
_JITTER: Final = 0.2
"""The part of a pause that is left to chance, so that what failed together does not come back together."""
_SHOWN: Final = 300


def judge(step: Step, code: int | None) -> Verdict:
    """Say what an answer means. code: of SMTP; None where there was none."""
    if step is Step.SENDER and code in _TOO_LARGE:
        return Verdict.FAILED
    if step not in _PER_MAIL or code in _OF_ALL:
        return Verdict.ALL_WAIT
    if code is not None and 500 <= code <= 599:
        return Verdict.FAILED
    return Verdict.RETRY


def pause_after(attempts: int, *, urgent: bool) -> int:
    """Milliseconds before a mail is tried again. attempts: how often it was tried, from 1."""
    pauses = _URGENT_PAUSES if urgent else _PAUSES
    return _jittered(pauses[min(attempts, len(pauses)) - 1])


def server_pause(failures: int) -> int:
    """Milliseconds before the server is tried again. failures: in a row, from 1."""
    return _jittered(_SERVER_PAUSES[min(failures, len(_SERVER_PAUSES)) - 1])


def _jittered(seconds: int) -> int:
    span = int(2000 * seconds * _JITTER)
    return 1000 * seconds - span // 2 + secrets.randbelow(span + 1)


def shown(answer: str) -> str:
    """What a server answered, as it may be shown: one line of printable text, not too long."""
    line = re.sub(r"\s+", " ", "".join(each if each.isprintable() else " " for each in answer)).strip()
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
