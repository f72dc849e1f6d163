"""The Lua scripts, each one atomic step on the keys of one hash tag, and the ledger that six of them keep.

A script is a file of this folder, loaded by its name: `Script.load("claim")` reads `claim.lua`. A line
`-- include: clock.lua` stands for that file's text. Lines that hold only a comment are not sent to the
server. Times are of the server's own clock, which only scripts read, so that no two clocks can disagree.

The ledger. `claim`, `read_and_claim`, `claim_rest`, `checkpoint`, `trim` and `settle` charge a token for the
bytes that it receives: at most `allowance.lua` of each file. The field `charged:F` of the token's hash counts
the bytes of file number F that are reserved or were received. A transfer that has lasted a while also has a
field `lease:F:NAME`, which says how much of its reservation had not been sent at its last checkpoint. When
the transfer's worker dies, the lease's deadline passes, and the next claim that would be refused returns the
unsent bytes first (`sweep.lua`). A worker that was only frozen, or cut off from the store, learns of this at
its next checkpoint. Of R reserved bytes:

    lease:F:NAME   in charged:F   checkpoint, U not sent                  settle, U not sent
    none           R              the first: U:deadline; a later one: -   charged - U
    V:deadline     R              min(U, V):deadline                      charged - U, field removed
    X:swept        R - X          room for X: charged + X, U:deadline     charged + X - U, field removed
                                  else: charged + X - U, U:swept, and
                                  the worker breaks the connection
    settled        R - U          -                                       -

`trim` takes the last T bytes from the reservation of a transfer that goes on. Afterwards the table holds with
R - T for R, V - T for V, and X - T for X.

So a settled transfer has been charged exactly what it sent, in whatever order these steps arrive and however
late. The state `settled` is written only where a first checkpoint may still arrive, which would make a lease
that no transfer has. What is swept of a dead worker stays as X:swept until the token expires: about 40 bytes.

The field `leased` is a time before which no deadline passes. It saves looking through all leases for nothing,
and a claim that finds room does not read it at all.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Final

_INCLUDE: Final = re.compile(r"^ *-- include: (\w+\.lua)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^ *--.*\n", re.MULTILINE)


class Script:
    """A Lua script. sha: the SHA-1 of its text in hex, by which Redis knows a script that it has loaded."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.sha: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, name: str) -> Script:
        """The script of the file `name`.lua in this folder, with what it includes."""
        return cls(_COMMENT.sub("", _read(f"{name}.lua")))


def _read(file: str) -> str:
    text = files(__name__).joinpath(file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: _read(match[1]).rstrip("\n"), text)


CLAIM: Final = Script.load("claim")
READ_AND_CLAIM: Final = Script.load("read_and_claim")
CLAIM_REST: Final = Script.load("claim_rest")
CHECKPOINT: Final = Script.load("checkpoint")
TRIM: Final = Script.load("trim")
SETTLE: Final = Script.load("settle")
HOLD_PLACE: Final = Script.load("hold_place")
BIND_TOKEN: Final = Script.load("bind_token")
TAKE_RATE: Final = Script.load("take_rate")
PROBE: Final = Script.load("probe")
ADD_EVENTS: Final = Script.load("add_events")
SCRIPTS: Final = (
    CLAIM,
    READ_AND_CLAIM,
    CLAIM_REST,
    CHECKPOINT,
    TRIM,
    SETTLE,
    HOLD_PLACE,
    BIND_TOKEN,
    TAKE_RATE,
    ADD_EVENTS,
)
"""The scripts of the data plane, which a worker loads at each connection."""
