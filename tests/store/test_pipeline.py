"""The pipeline and its connection, byte by byte: a server that answers late, wrongly, in pieces, or never."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import hiredis
import pytest

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, NotExecuted, pack
from gateway.store.pipeline import Pipeline
from gateway.store.pipeline_state import State
from gateway.store.replies import TABLE, Consequence, read_error
from gateway.store.scripts import PROBE, Script
from tests.support.waiting import until

ECHO = Script("return ARGV[1]")
TIMEOUT = 0.2
"""Seconds, where a test waits for it. Others have PATIENCE: on a busy machine they may stand still."""
PATIENCE = 30


class ByteStore:
    """A server that reads commands and answers with whatever the test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commands: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None
        self.greeted = 0
        self.probes = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        self.writer = writer
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    if command[0] in (b"PING", b"SCRIPT"):
                        self.greeted += 1
                        writer.write(b"+OK\r\n")
                    elif command[0] == b"ROLE" or command[1:2] == [PROBE.sha.encode()]:
                        writer.write(b"*1\r\n$6\r\nmaster\r\n")
                        self.probes += command[0] == b"EVALSHA"
                    else:
                        self.commands.put_nowait(command)
        writer.close()

    def answer(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        if self.writer is not None:
            self.writer.close()


@pytest.fixture(autouse=True)
def one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The role is asked for once, at the connection. Later questions would be answered out of turn."""
    monkeypatch.setattr("gateway.store.primary_watch.ASK_SECONDS", 1000)


@asynccontextmanager
async def connected(
    path: Path, queue: int = 100, timeout: float = PATIENCE
) -> AsyncIterator[tuple[ByteStore, Pipeline]]:
    store = ByteStore(path / "byte.sock")
    await store.start()
    pipeline = Pipeline(f"unix://{store.path}", timeout=timeout, queue=queue, scripts=(ECHO,))
    pipeline.start()
    try:
        await until(lambda: pipeline.is_ready and store.probes == pipeline.connections)
        yield store, pipeline
    finally:
        await pipeline.stop()
        await store.close()


async def refused(command: Awaitable[object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await command
    return caught.value


async def test_commands_of_one_turn_leave_together_and_are_answered_in_order(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        asked = [pipeline.call("GET", str(number)).as_future() for number in range(50)]
        for number in range(50):
            assert await store.commands.get() == [b"GET", str(number).encode()]
        store.answer(b"".join(b":%d\r\n" % number for number in range(50)))
        assert await asyncio.gather(*asked) == list(range(50))


async def test_replies_may_arrive_in_pieces(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        asked = [pipeline.call("GET", "a").as_future(), pipeline.call("GET", "b").as_future()]
        for byte in b"$5\r\nhello\r\n*2\r\n$-1\r\n:7\r\n":
            store.answer(bytes((byte,)))
            await asyncio.sleep(0)
        assert await asyncio.gather(*asked) == [b"hello", [None, 7]]


async def test_a_late_reply_goes_to_its_own_command(tmp_path: Path) -> None:
    """One that timed out keeps its place: the reply of one command never becomes another's."""
    async with connected(tmp_path, timeout=TIMEOUT) as (store, pipeline):
        late: list[object] = []
        first = pipeline.call("GET", "first")
        first.on_late_reply = late.append  # type: ignore[method-assign, assignment]
        assert "in time" in str(await refused(first.as_future()))
        assert isinstance(await refused(pipeline.call("GET", "refused").as_future()), NotExecuted)
        store.answer(b":1\r\n")
        for number in range(2, 100):
            await until(lambda: pipeline.is_ready)
            second = pipeline.call("GET", "second").as_future()
            store.answer(b":%d\r\n" % number)
            with contextlib.suppress(StoreUnavailable):  # it came too late, too: the machine is busy
                assert await second == number
                break
        assert second.done()
        assert late == [1]


async def test_a_cancelled_caller_disturbs_no_other(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        asked = [pipeline.call("GET", str(number)).as_future() for number in range(3)]
        asked[1].cancel()
        store.answer(b":0\r\n:1\r\n:2\r\n")
        assert await asked[0] == 0
        assert await asked[2] == 2


async def test_a_silent_store_is_given_up(tmp_path: Path) -> None:
    async with connected(tmp_path, timeout=TIMEOUT) as (store, pipeline):
        greeted = store.greeted
        await refused(pipeline.call("GET", "a").as_future())
        assert pipeline.state is State.STALLED
        await until(lambda: store.greeted > greeted)


@pytest.mark.parametrize("queue", [1, 5])
async def test_the_queue_is_bounded(tmp_path: Path, queue: int) -> None:
    async with connected(tmp_path, queue) as (store, pipeline):
        asked = [pipeline.call("GET", "a").as_future() for _ in range(queue)]
        assert isinstance(await refused(pipeline.call("GET", "b").as_future()), NotExecuted)
        store.answer(b":1\r\n" * queue)
        await asyncio.gather(*asked)
        again = pipeline.call("GET", "c").as_future()
        store.answer(b":3\r\n")
        assert await again == 3


async def test_a_server_that_is_away_is_tried_again_until_it_is_there(tmp_path: Path) -> None:
    store = ByteStore(tmp_path / "byte.sock")
    pipeline = Pipeline(f"unix://{store.path}", timeout=PATIENCE, queue=1)
    states = [pipeline.state]
    pipeline.start()
    states.append(pipeline.state)
    assert states == [State.IDLE, State.CONNECTING]
    await until(lambda: pipeline.state is State.AWAY)
    assert isinstance(await refused(pipeline.call("GET", "a").as_future()), NotExecuted)
    await store.start()
    await until(lambda: pipeline.state is State.READY)
    await pipeline.stop()
    await store.close()


async def test_a_lost_connection_fails_what_waits_and_comes_back(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        greeted = store.greeted
        asked = [pipeline.call("GET", "a").as_future() for _ in range(3)]
        await store.commands.get()
        assert store.writer is not None
        store.writer.close()
        for one in asked:
            assert not isinstance(await refused(one), NotExecuted)  # it may have been carried out
        await until(lambda: store.greeted >= greeted + 2 and pipeline.is_ready and store.probes == 2)
        again = pipeline.call("GET", "b").as_future()
        await asyncio.sleep(0)
        store.answer(b":1\r\n")
        assert await again == 1


async def test_a_script_is_sent_as_text_once_when_it_was_forgotten(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        asked = pipeline.run(ECHO, "key", "value").as_future()
        other = pipeline.call("GET", "a").as_future()
        assert await store.commands.get() == [b"EVALSHA", ECHO.sha.encode(), b"1", b"key", b"value"]
        await store.commands.get()
        store.answer(b"-NOSCRIPT No matching script.\r\n:2\r\n")
        assert await store.commands.get() == [b"EVAL", ECHO.text.encode(), b"1", b"key", b"value"]
        store.answer(b":1\r\n")
        assert (await asked, await other) == (1, 2)


@pytest.mark.parametrize("code", [*TABLE, "UNHEARD"])
async def test_an_error_says_that_nothing_was_done(tmp_path: Path, code: str) -> None:
    """The connection is given up where the table says so, and what is behind the error is not believed."""
    async with connected(tmp_path) as (store, pipeline):
        script = Command()
        pipeline.post(script, pack(("GET", "a")))
        behind = pipeline.call("GET", "b").as_future()
        await store.commands.get()
        await store.commands.get()
        greeted = store.greeted
        store.answer(f"-{code} some text\r\n:7\r\n".encode())
        assert isinstance(await refused(script.as_future()), NotExecuted)
        if read_error(f"{code} some text").meaning.consequence is Consequence.RECONNECT:
            assert not isinstance(await refused(behind), NotExecuted)
            await until(lambda: store.greeted > greeted and pipeline.is_ready)
        else:
            assert await behind == 7
            assert store.greeted == greeted


async def test_what_was_not_sent_to_a_demoted_server_was_not_executed(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        first = pipeline.call("GET", "a")
        behind = Command()
        first.add_done_callback(lambda _, also: pipeline.post(also, pack(("GET", "b"))), behind)
        await store.commands.get()
        store.answer(b"-READONLY You can't write\r\n")
        assert isinstance(await refused(behind.as_future()), NotExecuted)


@pytest.mark.parametrize(
    "data", [b":1\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\xff\xff\xff\r\n", b"$-5\r\nx\r\n"]
)
async def test_data_that_is_no_reply_ends_the_connection(tmp_path: Path, data: bytes) -> None:
    async with connected(tmp_path) as (store, pipeline):
        greeted = store.greeted
        store.answer(data)
        await until(lambda: store.greeted > greeted and pipeline.is_ready)


async def test_stopping_waits_for_what_was_asked(tmp_path: Path) -> None:
    async with connected(tmp_path) as (store, pipeline):
        asked = pipeline.call("GET", "a").as_future()
        stopping = asyncio.ensure_future(pipeline.stop())
        await store.commands.get()
        store.answer(b":1\r\n")
        await stopping
        assert await asked == 1
        assert pipeline.state is State.CLOSED
        assert not pipeline.is_ready


async def test_a_command_may_be_sent_from_the_callback_of_one_that_timed_out(tmp_path: Path) -> None:
    async with connected(tmp_path, timeout=TIMEOUT) as (_, pipeline):
        callbacks: list[bool] = []
        for _ in range(5):
            command = pipeline.call("GET", "a")
            fail = command.set_exception

            def again(error: BaseException, fail: Callable[[BaseException], None] = fail) -> None:
                fail(error)
                callbacks.append(pipeline.call("GET", "b").done)

            command.set_exception = again  # type: ignore[method-assign]
        await until(lambda: len(callbacks) >= 5)
