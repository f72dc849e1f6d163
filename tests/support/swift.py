"""A real S3 server for tests, one that checks signatures: OpenStack Swift with its S3 API, and TLS before it.

`run_s3` starts a keeper (`python -m tests.support.swift FOLDER`), a process of its own that starts Swift's
four servers and ends them, and removes their folder, when its standard input ends: so also when the tests are
interrupted or killed. Ring files, settings and objects lie in that folder; nothing is read from /etc.

Swift keeps what it knows of an object in extended attributes (user.*), which not every file system has:
`find_folder` looks for one that does.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from gateway.runtime.parent_death import die_with_parent
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.certificates import make_certificate
from tests.support.ports import ReservedPort
from tests.support.processes import ROOT, is_running
from tests.support.waiting import wait_until

START_SECONDS = 60
PARTS = ("account", "container", "object")
MODULES = {"object": "swift.obj.server"}
PIPELINE = (
    "catch_errors gatekeeper healthcheck memory listing_formats bulk s3api tempauth copy slo dlo "
    "versioned_writes symlink proxy-server"
)
"""The order matters: versions are links, so symlink stands behind versioned_writes."""
OURS = {"memory": "paste.filter_factory = tests.support.swift_cache:filter_factory"}
OPTIONS = {
    "s3api": "location = us-east-1\ns3_acl = false\nmin_segment_size = 1\nratelimit_as_client_error = true",
    "tempauth": f"user_{ACCESS_KEY.replace(':', '_')} = {SECRET_KEY} .admin",
    "versioned_writes": "allow_object_versioning = true",
}


class NoFolderError(RuntimeError):
    """No file system here has extended attributes."""


def has_xattrs(folder: Path) -> bool:
    """Whether files in this folder can have extended attributes as large as those that Swift writes here."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.setxattr(file.fileno(), "user.gateway.test", bytes(1000))
    except OSError:
        return False
    return True


def find_folder() -> Path:
    """A fresh folder on a file system that Swift can use. Raises NoFolderError."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    for place in places:
        if has_xattrs(place):
            return Path(tempfile.mkdtemp(prefix="dg-swift-", dir=place))
    raise NoFolderError(
        "Swift, the S3 server of the tests, needs extended attributes, and no file system of "
        f"{', '.join(map(str, places))} has them (tmpfs has since Linux 6.6): "
        "set TMPDIR to a folder on ext4 or xfs"
    )


@contextmanager
def run_s3() -> Iterator[dict[str, S3Server]]:
    """Start Swift; yields the server by scheme. Raises NoFolderError, or RuntimeError with its message."""
    folder = find_folder()
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.support.swift", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for the tests, which then close standard input
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        yield read_servers(keeper.stdout.readline())
    finally:
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()


def read_servers(answer: bytes) -> dict[str, S3Server]:
    """The servers by scheme, from the line that a keeper prints. Raises RuntimeError with its error."""
    if not answer:
        raise RuntimeError("the keeper of Swift ended")
    started = json.loads(answer)
    if "error" in started:
        raise RuntimeError(started["error"])
    return {
        "http": S3Server(f"http://127.0.0.1:{started['port']}"),
        "https": S3Server(f"https://localhost:{started['tls_port']}", Path(started["ca_file"])),
    }


class SharedS3:
    """One Swift for all processes of a test run: the first one that needs it starts it.

    The main process makes the folder `shared` and calls `open` and `close`. Its keeper reads a FIFO that the
    main process holds open for writing, so Swift ends when the main process closes it, or dies.
    """

    def __init__(self, shared: Path) -> None:
        self._fifo = shared / "fifo"
        self._lock = shared / "lock"
        self._answer = shared / "answer"
        self._pid = shared / "pid"
        self._held: int | None = None

    def open(self) -> None:
        """Make the FIFO and hold it open."""
        os.mkfifo(self._fifo)
        self._held = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)

    def servers(self) -> dict[str, S3Server]:
        """Start Swift unless it runs. Raises NoFolderError, RuntimeError with the message of Swift."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._answer.exists():
                self._start(find_folder())
            return read_servers(self._answer.read_bytes())

    def _start(self, folder: Path) -> None:
        """Start a keeper that outlives this process, and store the line that it prints for others."""
        outlet, inlet = os.pipe()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "tests.support.swift", str(folder)],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, str(self._fifo), os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, inlet, 1),
            ],
            setsid=True,  # Ctrl-C is for the tests
        )
        os.close(inlet)
        self._pid.write_text(str(pid))
        with os.fdopen(outlet, "rb") as answer:
            self._answer.write_bytes(answer.readline())

    def close(self) -> None:
        """End Swift, if it runs, and wait until it has gone."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self._pid.exists():
            pid = int(self._pid.read_text())
            with suppress(ChildProcessError):  # it is another process's
                os.waitpid(pid, 0)
            wait_until(lambda: not is_running(pid), "Swift has ended")


# The keeper.


def write_settings(folder: Path, ports: dict[str, int]) -> None:
    """Ring files of one device each, and the settings of each server, below `folder`."""
    from swift.common.ring import RingBuilder  # noqa: PLC0415 - the tests' own process does without Swift

    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    (folder / "srv" / "d1").mkdir(parents=True)
    for part in PARTS:
        ring = RingBuilder(2, 1, 1)
        ring.add_dev(
            {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": ports[part], "device": "d1", "weight": 1.0}
        )
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{part}.ring.gz"))
        settings = common_settings(folder, part, ports[part]) + (
            f"devices = {folder}/srv\nmount_check = false\n[pipeline:main]\npipeline = {part}-server\n"
            f"[app:{part}-server]\nuse = egg:swift#{part}\nrecon_cache_path = {folder}\n"
        )
        (folder / f"{part}.conf").write_text(settings)
    settings = common_settings(folder, "proxy", ports["proxy"])
    settings += f"[pipeline:main]\npipeline = {PIPELINE}\n"
    settings += "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
    for name in PIPELINE.split()[:-1]:
        source = OURS.get(name, f"use = egg:swift#{name}")
        settings += f"[filter:{name}]\n{source}\n{OPTIONS.get(name, '')}\n"
    (folder / "proxy.conf").write_text(settings)


def common_settings(folder: Path, name: str, port: int) -> str:
    """The settings of every server. Logs go to syslog only, at a port where nobody listens."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}\n"
        f"user = {user}\nlog_name = {name}\nlog_udp_host = 127.0.0.1\nlog_udp_port = 9\n"
    )


def start_server(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Start one of Swift's servers; its output goes to a file in `folder`."""
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                f"import sys; from {MODULES.get(name, f'swift.{name}.server')} import main; sys.exit(main())",
                str(folder / f"{name}.conf"),
                "-v",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),  # noqa: PLW1509 - no thread yet
        )


async def wait_for_servers(
    folder: Path, ports: dict[str, int], servers: dict[str, subprocess.Popen[bytes]]
) -> None:
    """Wait until all listen, and the proxy answers. Raises RuntimeError with the log of the failed one."""
    for name, port in ports.items():
        while True:
            if servers[name].poll() is not None:
                log = (folder / f"{name}.log").read_text(errors="replace")
                raise RuntimeError(f"Swift's {name} server ended:\n{log}")
            try:
                await asyncio.to_thread(ask_health, port)
                break
            except OSError:
                await asyncio.sleep(0.05)


def ask_health(port: int) -> None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=60):
            pass
    except urllib.error.HTTPError as error:
        error.close()  # it answers


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction of one connection, until it ends."""
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def terminate_tls(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client's connection: decrypted, and passed on to the proxy server."""
    with suppress(OSError, asyncio.CancelledError):
        behind = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, behind[1]), pass_on(behind[0], writer))
    writer.close()


async def keep(folder: Path) -> None:
    """Start everything, print the addresses, and wait until standard input ends."""
    names = (*PARTS, "proxy")
    reserved = {name: ReservedPort() for name in names}
    ports = {name: port.number for name, port in reserved.items()}
    write_settings(folder, ports)
    certificate, key = make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    servers = {}
    try:
        for name in names:
            servers[name] = start_server(folder, name)
        async with asyncio.timeout(START_SECONDS):
            await wait_for_servers(folder, ports, servers)
        front = await asyncio.start_server(
            partial(terminate_tls, ports["proxy"]), "127.0.0.1", 0, ssl=context
        )
        started = {
            "port": ports["proxy"],
            "tls_port": front.sockets[0].getsockname()[1],
            "ca_file": str(certificate),
        }
        print(json.dumps(started), flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
        for port in reserved.values():
            port.close()


def main(folder: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        asyncio.run(keep(folder))
    except (RuntimeError, OSError, TimeoutError) as error:
        print(
            json.dumps({"error": str(error) or f"Swift did not start within {START_SECONDS} s"}), flush=True
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
