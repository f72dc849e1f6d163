"""Run by tests/supervisor/test_supervisor.py: a gateway whose services are small stand-ins.

    stand_in.py COMMAND CONFIG [PATH…]   the supervisor, as the command would run it
    stand_in.py SERVICE SLOT             a child of it, started by the supervisor

A stand-in answers with its process id and some of its settings. `/slow` answers its first byte at once, and
the others when there is a file `release` beside the data folder. `/block` blocks the event loop for good.

The variable STAND_IN makes it misbehave: `fail`, `crash` and `hang` at the start (`file:PATH` reads the word
from a file), `stubborn` when it should end. With `undying` the supervisor's SIGKILL does nothing, as if the
child waited for a disk in the kernel. STAND_IN_GRACE: seconds that a child which hangs has to come back.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from gateway.errors import GatewayError
from gateway.runtime.metrics import BYTES_SENT, CONNECTIONS
from gateway.supervisor import child
from gateway.supervisor.services import SERVICES

SLOW_BYTES = 15


def behaviour() -> str:
    word = os.environ.get("STAND_IN", "")
    return Path(word.removeprefix("file:")).read_text() if word.startswith("file:") else word


def run_child(context: child.ChildContext) -> None:
    word = behaviour()
    if word == "fail":
        raise GatewayError("the disk is on fire")
    if word == "crash":
        os._exit(3)
    if word == "hang":
        time.sleep(1000)
    asyncio.run(serve(context, stubborn=word == "stubborn"))


async def serve(context: child.ChildContext, *, stubborn: bool) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    busy: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        busy.add(task)
        context.counters.add(CONNECTIONS)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /block"):
                time.sleep(1000)  # noqa: ASYNC251 - that is the fault
            if head.startswith(b"GET /slow"):
                writer.write(b"HTTP/1.0 200 OK\r\n\r\nx")
                while not (context.settings.data.parent / "release").exists():  # noqa: ASYNC110 - a file announces nothing
                    await asyncio.sleep(0.02)
                writer.write(b"x" * (SLOW_BYTES - 1))
            else:
                about = {
                    "pid": os.getpid(),
                    "slot": context.slot,
                    "redis_url": context.settings.redis_url,
                    "mark": context.settings.max_line,
                }
                context.counters.add(BYTES_SENT, 100)  # before anybody knows it, and kills this process
                writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(about).encode())
            await writer.drain()
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            context.counters.add(CONNECTIONS, -1)
            busy.discard(task)

    servers = [await asyncio.start_server(answer, sock=each) for each in context.sockets]
    context.ready()
    await stopping.wait()
    for server in servers:
        server.close()
    if stubborn:
        await asyncio.sleep(1000)
    await asyncio.wait_for(asyncio.gather(*busy), context.settings.drain_timeout)


def spare(_: object) -> None:
    """Take the place of `Child.kill`."""


def main() -> int:
    program, role, *rest = sys.argv
    if role in child.PROGRAMS:
        return child.main(sys.argv[1:], dict.fromkeys(child.PROGRAMS, run_child))

    from gateway.config import settings  # noqa: PLC0415 - a child starts faster without these
    from gateway.supervisor import children, commands, core, watch  # noqa: PLC0415

    def load() -> settings.Settings:
        return settings.load({}, Path(rest[0]), {})

    core.GRACE_SECONDS = 0.5  # type: ignore[misc]
    watch.GRACE_SECONDS = float(os.environ.get("STAND_IN_GRACE", "1"))  # type: ignore[misc]
    children.KILLED_SECONDS = 0.5  # type: ignore[misc]
    if behaviour() == "undying":
        children.Child.kill = spare  # type: ignore[assignment, method-assign]
    stand_in = (sys.executable, program)
    try:
        if role == "up":
            return commands.run_up(load(), [Path(path) for path in rest[1:]], load, program=stand_in)
        [service] = [service for service in SERVICES if service.command == role]
        return commands.run_service(service, load(), load, program=stand_in)
    except GatewayError as error:
        sys.stderr.write(f"fault: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
