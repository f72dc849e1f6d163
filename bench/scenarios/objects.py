"""Scenarios of object storage: large objects of a bucket, passed on, or out of a cache on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bench.peers.checks import expect, expect_whole
from bench.report.figures import Target
from bench.scenarios.base import Contestant
from bench.scenarios.transfers import LargeOne
from bench.testbed.testbed import OBJECT, SIZES, Ground


class ObjectOne(LargeOne):
    """A whole object at full speed, one connection: from the bucket to the client."""

    name = "object-1"
    title = "a 1 GiB object of a bucket, 1 connection"
    file = OBJECT
    peers: ClassVar[tuple[str, ...] | None] = ("gateway", "nginx-proxy")
    cache: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = (
        Target("mbps", 1.5, "nginx-proxy"),
        Target("cpu_gb", 0.67, "nginx-proxy", at="most"),
    )

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        found = super().contestants(peers, ground)
        return [replace(each, options=replace(each.options, bucket=True, cache=self.cache)) for each in found]

    def check(self, ground: Ground, contestant: Contestant, request: bytes) -> None:
        """Every byte the first time, which fills a cache; the second time they come out of it."""
        path = ground.path(self.file)
        for turn in ("first", "second"):
            if turn not in contestant.warm:
                contestant.warm.add(turn)
                expect_whole(contestant.running, request, path)
        expect(contestant.running, request, 200, path)


class ObjectMany(ObjectOne):
    """The same, many at once."""

    name = "object-32"
    title = "a 1 GiB object of a bucket, 32 connections"
    connections = 32


class CachedOne(ObjectOne):
    """An object that the cache holds, against nginx's cache of slices and against the file itself."""

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
    """The same, many at once."""

    name = "object-cached-32"
    title = "a 1 GiB object out of the cache, 32 connections"
    connections = 32


assert SIZES[OBJECT] == 1 << 30, "the titles say 1 GiB"
