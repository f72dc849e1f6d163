"""Which Redis servers there are, and the pipeline to each: commands are routed by the key that they touch.

There is one server today. With several, each holds a part of the keys (`key_names.server_number`), and a
server that is away affects only the tokens whose keys it holds.

The hot path calls `post`, which takes the key last. In a topology of one server `post` is the method of the
only pipeline, bound when the topology is made, so that routing costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.store.commands import Command
from gateway.store.key_names import server_number
from gateway.store.pipeline import Pipeline
from gateway.store.scripts import Script


class Topology:
    """The pipelines of one process, one for each server.

    post: as the method of Pipeline; its last argument is the key, or only the key's hash tag.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        if not pipelines:
            raise ValueError("a topology needs at least one server")
        self.pipelines: Final = tuple(pipelines)
        self.post: Callable[[Command, bytes, str], None] = self._route_post
        if len(self.pipelines) == 1:
            self.post = self.pipelines[0].post

    @classmethod
    def connect(
        cls, urls: Iterable[str], *, timeout: float, queue: int, scripts: tuple[Script, ...]
    ) -> Topology:
        """A topology of the servers at these URLs; `start` connects. See Pipeline for the other arguments."""
        return cls([Pipeline(url, timeout=timeout, queue=queue, scripts=scripts) for url in urls])

    def pipeline(self, key: str) -> Pipeline:
        """The pipeline to the server that holds a key; its hash tag is enough."""
        if len(self.pipelines) == 1:
            return self.pipelines[0]
        return self.pipelines[server_number(key, len(self.pipelines))]

    def run(self, script: Script, key: str, *arguments: bytes | str | int) -> Command:
        """Run a script on one key, on the server that holds the key."""
        return self.pipeline(key).run(script, key, *arguments)

    async def check(self) -> None:
        """Return when every server would take a claim. Raises StoreUnavailable with a `reason`.

        For a coroutine that `gateway.runtime.deferred` steps.
        """
        for pipeline in self.pipelines:
            await pipeline.check()

    def call_when_ready(self, function: Callable[[], None]) -> None:
        """Call `function` each time a server becomes ready, and then several times in each time-out."""
        for pipeline in self.pipelines:
            pipeline.on_ready = function

    def call_when_timed(self, function: Callable[[float], None]) -> None:
        """Call `function` with the seconds that a command took; see PipelineConnection."""
        for pipeline in self.pipelines:
            pipeline.on_timed = function

    @property
    def is_ready(self) -> bool:
        """Whether every server is ready."""
        return all(pipeline.is_ready for pipeline in self.pipelines)

    @property
    def is_any_ready(self) -> bool:
        """Whether at least one server is ready."""
        return any(pipeline.is_ready for pipeline in self.pipelines)

    def start(self) -> None:
        """Begin to connect to every server."""
        for pipeline in self.pipelines:
            pipeline.start()

    async def stop(self) -> None:
        """Wait for the commands under way, each at most its time-out, and close all connections."""
        for pipeline in self.pipelines:
            await pipeline.stop()

    def _route_post(self, command: Command, packed: bytes, key: str) -> None:
        self.pipeline(key).post(command, packed, key)
