"""Scenarios of object storage: large objects of a bucket, passed on, or served from a cache on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bench.peers.checks import expect, expect_whole
from bench.report.figures import Target
from bench.scenarios.base import Participant
from bench.scenarios.transfers import LargeOne
from bench.testbed.testbed import OBJECT, SIZES, Testbed


class ObjectOne(LargeOne):
    """A whole object at full speed over one connection, from the bucket to the client."""

    name = "object-1"
    title = "a 1 GiB object of a bucket, 1 connection"
    file = OBJECT
    peers: ClassVar[tuple[str, ...] | None] = ("gateway", "nginx-proxy")
    cache: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = (
        Target("mbps", 1.5, "nginx-proxy"),
        Target("cpu_gb", 0.67, "nginx-proxy", at="most"),
    )

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        return [
            replace(participant, options=replace(participant.options, bucket=True, cache=self.cache))
            for participant in super().participants(peers, testbed)
        ]

    def check(self, testbed: Testbed, participant: Participant, request: bytes) -> None:
        """Compare every byte of two responses: the first fills a cache, the second comes from it."""
        path = testbed.path(self.file)
        for step in ("first", "second"):
            if step not in participant.warmed_up:
                participant.warmed_up.add(step)
                expect_whole(participant.running, request, path)
        expect(participant.running, request, 200, path)


class ObjectMany(ObjectOne):
    """The same, over many connections."""

    name = "object-32"
    title = "a 1 GiB object of a bucket, 32 connections"
    connections = 32


class CachedOne(ObjectOne):
    """An object that is in the cache, compared with nginx's cache of slices and with the file itself."""

    name = "object-cached-1"
    title = "a 1 GiB object out of the cache, 1 connection"
    peers = ("gateway", "nginx-cache", "nginx-static")
    cache = True
    targets = (
        Target("mbps", 1.0, "nginx-static"),
        Target("cpu_gb", 1.0, "nginx-static", at="most"),
        Target("mbps", 1.0, "nginx-cache"),
    )


class CachedMany(CachedOne):
    """The same, over many connections."""

    name = "object-cached-32"
    title = "a 1 GiB object out of the cache, 32 connections"
    connections = 32


assert SIZES[OBJECT] == 1 << 30, "the titles say 1 GiB"
