"""The child program as tests run it: `worker_program.py worker SLOT PATIENCE [AFTER EVERY LASTS]`.

PATIENCE: seconds that the worker waits for the store at its start, for other workers, and for another's slice
of the cache. On a quiet machine a second or two are plenty. Where the tests of a whole suite run at once, any
process may stand still for longer, and then the worker would answer in another way. AFTER, EVERY, LASTS:
other lease times, in seconds.
"""

from __future__ import annotations

import sys

from gateway.dataplane import worker
from gateway.storage.cache import fetching
from gateway.supervisor import child
from gateway.tokens import takeovers
from gateway.tokens.leases import Times


def run_worker(place: child.ChildContext) -> None:
    patience, *times = map(float, sys.argv[3:])
    worker.STORE_SECONDS = worker.BREAK_SECONDS = patience
    takeovers.ANSWER_SECONDS = fetching.PATIENCE_SECONDS = patience  # type: ignore[misc]
    leases = Times(*times) if times else None
    worker.run(place.settings, place.sockets, place.slot, place.counters, place.ready, leases, place.attempts)


def main() -> int:
    return child.main(sys.argv[1:3], {"worker": run_worker})


if __name__ == "__main__":
    sys.exit(main())
