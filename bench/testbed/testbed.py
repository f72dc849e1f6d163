"""The common ground of a comparison: one folder of files and one Redis, the same for every peer.

What Redis holds for the peers, beside the gateway's own keys:

    bench:file:ID       string: the file's name                      (ID: the gateway's token id)
    bench:limited:ID    hash: `file`, `left` (downloads)             checked and counted by COUNT
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Self

import hiredis

from bench.errors import BenchError
from bench.testbed.bucket import STORAGE, Bucket, start_bucket
from bench.testbed.machine import Cores, find_redis
from bench.testbed.processes import Crew, Program
from gateway.secrets import new_token, token_id, token_key
from gateway.tokens.repository import CREATE

SMALL = "small.bin"
BIG = "big.bin"
OBJECT = "object.bin"
"""BIG once more, published as the bucket's (see bench.testbed.bucket)."""

SIZES = {SMALL: 1024, BIG: 1 << 30, OBJECT: 1 << 30}
LIFETIME_MS = 86_400_000
ENOUGH_DOWNLOADS = 1_000_000
BATCH = 500
"""Commands sent before their replies are read."""

COUNT = """
local token = redis.call('HMGET', KEYS[1], 'file', 'left')
if not token[1] then return false end
if tonumber(token[2]) < 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'left', -1)
return token[1]
"""
"""What a peer's expert would write to count downloads: one atomic check that takes one of what is left."""

Command = tuple[Any, ...]
"""Words: text, bytes and numbers."""


class Redis:
    """A plain blocking connection, for filling and asking. Raises OSError when nobody listens there."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._reader = hiredis.Reader()

    def ask(self, *command: str | bytes | int) -> Any:
        """One command's reply. Raises BenchError for an error."""
        return self.ask_all([command])[0]

    def ask_all(self, commands: Iterable[Command]) -> list[Any]:
        """The replies of many commands, sent in batches."""
        waiting, replies = iter(commands), []
        while batch := list(islice(waiting, BATCH)):
            self._socket.sendall(b"".join(hiredis.pack_command(command) for command in batch))
            for _ in batch:
                while (reply := self._reader.gets()) is False:
                    self._reader.feed(self._receive())
                if isinstance(reply, hiredis.HiredisError):
                    raise BenchError(f"redis refused a command: {reply}")
                replies.append(reply)
        return replies

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise BenchError("redis went away")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Ground:
    """A temporary folder with files, a Redis server on a unix socket, and tokens in it. A context manager.

    Files and tokens are made when first asked for. tokens: how many of each kind.
    """

    def __init__(self, cores: Cores, *, tokens: int, scratch: Path | None = None) -> None:
        self.cores = cores
        self.count = tokens
        self.folder = Path(tempfile.mkdtemp(prefix="dg-bench-", dir=scratch))
        self.files = self.folder / "files"
        self.files.mkdir()
        self.config = self.folder / "gateway.toml"
        self.socket = self.folder / "redis.sock"
        self.crew = Crew(self.folder)
        self.helpers: list[Program] = []
        """What serves every contestant, on the CPU of the load: Redis, and the bucket once it runs."""

        self.count_script = ""  # the hash of COUNT, by which peers call it
        self._redis: Redis | None = None
        self.tokens = cache(self._fill)  # one filling a file and limit
        self.publish = cache(self._publish)
        self.mint_key = cache(self._mint_key)
        self.bucket = cache(self._start_bucket)

    def __enter__(self) -> Self:
        try:
            self._start_redis()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._redis is not None:
            self._redis.close()
        self.crew.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def redis(self) -> Redis:
        """Our own connection to the server."""
        assert self._redis is not None
        return self._redis

    def _start_redis(self) -> None:
        server = find_redis()
        if server is None:
            raise BenchError("there is no Redis server: apt-get install redis-server")
        options = {
            "--port": "0",
            "--unixsocket": self.socket,
            "--unixsocketperm": "777",  # nginx's worker may run as another user
            "--save": "",
            "--appendonly": "no",
            "--dir": self.folder,
            "--maxclients": "4000",
        }
        command = [server, *(str(part) for pair in options.items() for part in pair)]
        program = self.crew.start("redis", command, cpus=self.cores.load)
        self.helpers.append(program)
        for _ in range(500):
            program.check()
            try:
                self._redis = Redis(self.socket)
                break
            except OSError:
                time.sleep(0.02)
        else:
            raise BenchError(f"redis did not start: {program.quote()}")
        self.config.write_text(
            f"redis_url = {json.dumps(f'unix://{self.socket}')}\n"
            f"data = {json.dumps(str(self.folder / 'data'))}\n"
            f"[storage.bench]\nroot = {json.dumps(str(self.files))}\n"
        )
        self.count_script = self.redis.ask("SCRIPT", "LOAD", COUNT).decode()

    def _start_bucket(self) -> Bucket:
        """The bucket, on the CPU of the load."""
        bucket = start_bucket(self.files, folder=self.folder, crew=self.crew, cpus=self.cores.load)
        self.helpers.append(bucket.program)
        return bucket

    def path(self, name: str) -> Path:
        """A file, made when it is not there yet: real bytes, so that nothing is a hole, and in the cache."""
        path = self.files / name
        if not path.exists():
            if name == OBJECT:
                path.hardlink_to(self.path(BIG))
            else:
                make_file(path, SIZES[name])
        return path

    def command(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Any:
        """Run one of the gateway's own commands and give the JSON it prints. Raises BenchError.

        settings: by their names in the environment.
        """
        command = [sys.executable, "-m", "gateway", "--config", str(self.config), *arguments, "--json"]
        environ = {**_clean_environment(), **(settings or {})}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            raise BenchError(f"`gateway {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def _publish(self, name: str) -> str:
        """Register the file as a product of one version; returns the manifest's digest."""
        path, settings = str(self.path(name)), None
        if name == OBJECT:
            path, settings = f"s3://{STORAGE}/{name}", self.bucket().settings
        answer = self.command("product", "add", product_id(name), "1", path, settings=settings)
        return str(answer["manifest"])

    def _mint_key(self) -> str:
        """An API key for the mint service."""
        return str(self.command("key", "create", "bench", "--role", "mint")["key"])

    def _fill(self, name: str, limited: bool = False) -> list[str]:
        """Fresh tokens for a file, in Redis for every peer. Made by the very script that minting runs."""
        digest = self.publish(name)
        tokens = [new_token() for _ in range(self.count)]
        self.redis.ask("SCRIPT", "LOAD", CREATE.text)
        self.redis.ask_all(self._gateway_commands(tokens, name, digest, limited))
        if limited:
            self.redis.ask_all(
                ("HSET", f"bench:limited:{token_id(token)}", "file", name, "left", ENOUGH_DOWNLOADS)
                for token in tokens
            )
        else:
            self.redis.ask_all(("SET", f"bench:file:{token_id(token)}", name) for token in tokens)
        return tokens

    def _gateway_commands(
        self, tokens: Iterable[str], name: str, digest: str, limited: bool
    ) -> Iterator[Command]:
        fields: list[str | int] = ["manifest", digest, "product", product_id(name), "version", "1"]
        if limited:
            fields += ["max", ENOUGH_DOWNLOADS, "size", SIZES[name]]
        for token in tokens:
            yield ("EVALSHA", CREATE.sha, 1, token_key(token_id(token)), "in", LIFETIME_MS, *fields)

    def unknown_tokens(self) -> list[str]:
        """Well-formed tokens that nobody minted."""
        return [new_token() for _ in range(self.count)]

    def memory_per_token(self, count: int) -> float:
        """Bytes Redis needs for one token with the minimal fields, `count` of them stored; removes them."""
        digest = self.publish(SMALL)
        self.redis.ask("SCRIPT", "LOAD", CREATE.text)
        before = self._used_memory()
        made: list[str] = []

        def names() -> Iterator[str]:
            for _ in range(count):
                token = new_token()
                made.append(token_key(token_id(token)))
                yield token

        # replies are not kept: a million of them would be ours to pay for, not Redis'
        waiting = self._gateway_commands(names(), SMALL, digest, limited=False)
        while batch := list(islice(waiting, BATCH)):
            self.redis.ask_all(batch)
        used = self._used_memory() - before
        for start in range(0, len(made), BATCH):
            self.redis.ask("UNLINK", *made[start : start + BATCH])
        return used / count

    def _used_memory(self) -> int:
        text = self.redis.ask("INFO", "memory").decode()
        return int(text.partition("used_memory:")[2].split()[0])


def product_id(name: str) -> str:
    """The product a file is sold as."""
    return name.partition(".")[0]


def make_file(path: Path, size: int) -> None:
    """Write `size` bytes that no file system can shrink, and have them on disk and in the cache."""
    source = random.Random(size)  # the same file each time
    with path.open("wb") as file:
        left = size
        while left:
            piece = source.randbytes(min(left, 1 << 20))
            file.write(piece)
            left -= len(piece)
        file.flush()
        os.fsync(file.fileno())


def _clean_environment() -> dict[str, str]:
    """Our environment without settings of the gateway: the comparison uses its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
