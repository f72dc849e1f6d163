"""The child program with other lease times: `short_leases.py worker SLOT AFTER EVERY LASTS`, in seconds."""

from __future__ import annotations

import sys

from gateway.dataplane import worker
from gateway.supervisor import child
from gateway.tokens.leases import Times


def run_worker(place: child.ChildContext) -> None:
    times = Times(*map(float, sys.argv[3:]))
    worker.run(place.settings, place.sockets, place.slot, place.counters, place.ready, times, place.attempts)


def main() -> int:
    return child.main(sys.argv[1:3], {"worker": run_worker})


if __name__ == "__main__":
    sys.exit(main())
