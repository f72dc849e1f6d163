"""What all participants of a comparison share: one folder of files, and one Redis with tokens.

Besides the gateway's own keys, Redis holds for the peers:

    bench:file:ID       string: the file's name                      (ID: the gateway's token id)
    bench:limited:ID    hash: `file`, `left` (downloads)             checked and counted by COUNT
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Self

from bench.errors import BenchError
from bench.testbed.bucket import STORAGE, Bucket, start_bucket
from bench.testbed.machine import Cores, find_redis
from bench.testbed.processes import ProcessGroup, Program
from bench.testbed.redis import BATCH, Command, Redis
from gateway.secrets import new_token, token_id
from gateway.store.key_names import token_key
from gateway.tokens.repository import CREATE

SMALL = "small.bin"
BIG = "big.bin"
OBJECT = "object.bin"
"""The same content as BIG, published as an object of the bucket (see bench.testbed.bucket)."""

SIZES = {SMALL: 1024, BIG: 1 << 30, OBJECT: 1 << 30}
LIFETIME_MS = 86_400_000
ANY_TIME = 0
"""In place of the time of a new token: the script takes the server's time."""
ENOUGH_DOWNLOADS = 1_000_000

COUNT = """
local token = redis.call('HMGET', KEYS[1], 'file', 'left')
if not token[1] then return false end
if tonumber(token[2]) < 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'left', -1)
return token[1]
"""
"""How an expert would count a peer's downloads: one atomic script that checks what is left and takes one."""


class Testbed:
    """A temporary folder with files, a Redis server on a unix socket, and tokens in it. A context manager.

    Files and tokens are made when they are first asked for. tokens: how many of each kind.
    """

    __test__ = False  # for pytest: this is no class of tests

    def __init__(self, cores: Cores, *, tokens: int, scratch: Path | None = None) -> None:
        self.cores = cores
        self.count = tokens
        self.folder = Path(tempfile.mkdtemp(prefix="dg-bench-", dir=scratch))
        self.files = self.folder / "files"
        self.files.mkdir()
        self.config = self.folder / "gateway.toml"
        # not in the scratch folder, whose path may be too long for a socket
        self._socket_folder = Path(tempfile.mkdtemp(prefix="dg-bench-"))
        self.socket = self._socket_folder / "redis.sock"
        self.processes = ProcessGroup(self.folder)
        self.helpers: list[Program] = []
        """What serves every participant, on the CPU of the load: Redis, and the bucket once it runs."""

        self.count_script = ""  # the digest of COUNT, by which peers call it
        self._redis: Redis | None = None
        self.tokens = cache(self._make_tokens)  # made once for each file and limit
        self.publish = cache(self._publish)
        self.mint_key = cache(self._make_mint_key)
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
        self.processes.__exit__()
        for folder in (self.folder, self._socket_folder):
            shutil.rmtree(folder, ignore_errors=True)

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
            "--logfile": "/dev/stderr",  # so that what it cannot do is quoted
        }
        command = [server, *(str(part) for pair in options.items() for part in pair)]
        program = self.processes.start("redis", command, cpus=self.cores.load)
        self.helpers.append(program)
        for _ in range(500):
            program.check()
            try:
                self._redis = Redis(self.socket)
                break
            except OSError:
                time.sleep(0.02)
        else:
            raise BenchError(f"redis did not start: {program.last_errors()}")
        self.config.write_text(
            f"redis_url = {json.dumps(f'unix://{self.socket}')}\n"
            f"data = {json.dumps(str(self.folder / 'data'))}\n"
            f"[storage.bench]\nroot = {json.dumps(str(self.files))}\n"
        )
        self.count_script = self.redis.execute("SCRIPT", "LOAD", COUNT).decode()

    def _start_bucket(self) -> Bucket:
        """Start the bucket on the CPU of the load."""
        bucket = start_bucket(self.files, folder=self.folder, processes=self.processes, cpus=self.cores.load)
        self.helpers.append(bucket.program)
        return bucket

    def path(self, name: str) -> Path:
        """A file's path. The file is made if it is missing: without holes, and in the page cache."""
        path = self.files / name
        if not path.exists():
            if name == OBJECT:
                path.hardlink_to(self.path(BIG))
            else:
                make_file(path, SIZES[name])
        return path

    def command(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Any:
        """Run one of the gateway's own commands and return the JSON that it prints. Raises BenchError.

        settings: by their names in the environment.
        """
        command = [sys.executable, "-m", "gateway", "--config", str(self.config), *arguments, "--json"]
        environ = {**_environment_without_settings(), **(settings or {})}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            raise BenchError(f"`gateway {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def _publish(self, name: str) -> str:
        """Register the file as a product with one version; returns the manifest's digest."""
        path, settings = str(self.path(name)), None
        if name == OBJECT:
            path, settings = f"s3://{STORAGE}/{name}", self.bucket().settings
        added = self.command("product", "add", product_id(name), "1", path, settings=settings)
        return str(added["manifest"])

    def _make_mint_key(self) -> str:
        """An API key for the mint service."""
        return str(self.command("key", "create", "bench", "--role", "mint")["key"])

    def _make_tokens(self, name: str, limited: bool = False) -> list[str]:
        """New tokens for a file, in Redis for every peer. They are made by the script that minting runs."""
        digest = self.publish(name)
        tokens = [new_token() for _ in range(self.count)]
        self.redis.execute("SCRIPT", "LOAD", CREATE.text)
        self.redis.execute_all(self._create_commands(tokens, name, digest, limited))
        if limited:
            self.redis.execute_all(
                ("HSET", f"bench:limited:{token_id(token)}", "file", name, "left", ENOUGH_DOWNLOADS)
                for token in tokens
            )
        else:
            self.redis.execute_all(("SET", f"bench:file:{token_id(token)}", name) for token in tokens)
        return tokens

    def _create_commands(
        self, tokens: Iterable[str], name: str, digest: str, limited: bool
    ) -> Iterator[Command]:
        fields: list[str | int] = ["manifest", digest, "product", product_id(name), "version", "1"]
        if limited:
            fields += ["max", ENOUGH_DOWNLOADS, "size", SIZES[name]]
        for token in tokens:
            key = token_key(token_id(token))
            yield ("EVALSHA", CREATE.sha, 1, key, "in", LIFETIME_MS, ANY_TIME, *fields)

    def unknown_tokens(self) -> list[str]:
        """Well-formed tokens that were never minted."""
        return [new_token() for _ in range(self.count)]

    def memory_per_token(self, count: int) -> float:
        """Bytes of Redis for one token with the minimal fields; stores `count` of them, and removes them."""
        digest = self.publish(SMALL)
        self.redis.execute("SCRIPT", "LOAD", CREATE.text)
        before = self._used_memory()
        keys: list[str] = []

        def new_tokens() -> Iterator[str]:
            for _ in range(count):
                token = new_token()
                keys.append(token_key(token_id(token)))
                yield token

        # Replies are dropped batch by batch: a million of them would fill our own memory.
        commands = self._create_commands(new_tokens(), SMALL, digest, limited=False)
        while batch := list(islice(commands, BATCH)):
            self.redis.execute_all(batch)
        used = self._used_memory() - before
        for start in range(0, len(keys), BATCH):
            self.redis.execute("UNLINK", *keys[start : start + BATCH])
        return used / count

    def _used_memory(self) -> int:
        text = self.redis.execute("INFO", "memory").decode()
        return int(text.partition("used_memory:")[2].split()[0])


def product_id(name: str) -> str:
    """The id of the product as which a file is sold."""
    return name.partition(".")[0]


def make_file(path: Path, size: int) -> None:
    """Write `size` random bytes, which no file system can compress, to the disk and the page cache."""
    source = random.Random(size)  # the same file each time
    with path.open("wb") as file:
        left = size
        while left:
            block = source.randbytes(min(left, 1 << 20))
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())


def _environment_without_settings() -> dict[str, str]:
    """Our environment without settings of the gateway, since a comparison uses its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
