"""Keys from each place: the environment, a profile, and a metadata service with short-lived keys."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from gateway.config.storages import S3Settings
from gateway.errors import StorageError
from gateway.storage.s3 import credentials
from gateway.storage.s3.credentials import ChainCredentials, Credentials, find_credentials

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No keys of whoever runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


class Metadata(ThreadingHTTPServer):
    """A container's metadata service: new keys at every request, good for `life`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = 0
        self.life = timedelta(hours=1)
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_GET(self) -> None:
        self.server.asked += 1
        keys = {
            "AccessKeyId": f"key{self.server.asked}",
            "SecretAccessKey": f"secret{self.server.asked}",
            "Token": f"token{self.server.asked}",
            "Expiration": (datetime.now(UTC) + self.server.life).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = json.dumps(keys if self.server.status == 200 else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setattr(ContainerMetadataFetcher, "TIMEOUT_SECONDS", 60)  # not again on a busy machine
    with Metadata() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_address[1]}/"
        )
        yield server
        server.shutdown()
        thread.join()


def chain(profile: str | None = None) -> ChainCredentials:
    source = find_credentials("shop", S3Settings(bucket="shop", profile=profile))
    assert isinstance(source, ChainCredentials)
    return source


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    source = chain()
    assert source.now() is None, "nothing was fetched yet"
    assert source.fetch() == Credentials("a", "b")
    assert source.now() == Credentials("a", "b")


def test_from_a_profile(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[shop]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n"
    )
    assert chain("shop").fetch() == Credentials("a", "b", "c")
    with pytest.raises(StorageError, match=r"storage shop: .*\(other\).* correct storage.shop.profile"):
        chain("other").fetch()


def test_missing_keys_are_an_error_that_names_the_setting() -> None:
    with pytest.raises(StorageError, match=r"no keys were found .* set storage.shop.access_key"):
        chain().fetch()


def test_half_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hunter2")
    with pytest.raises(StorageError, match="only half of the keys was found") as caught:
        chain().fetch()
    assert "hunter2" not in str(caught.value)


def test_renewed_before_they_expire(metadata: Metadata) -> None:
    source = chain()
    assert source.fetch() == Credentials("key1", "secret1", "token1")
    assert source.fetch() == source.now() == Credentials("key1", "secret1", "token1")
    assert metadata.asked == 1
    metadata.life = timedelta(seconds=credentials.FRESH_SECONDS - 5)
    source = chain()
    first = source.fetch()
    assert source.now() is None, "good, but not for long"
    assert source.fetch() != first


@pytest.mark.slow
def test_keys_that_cannot_be_renewed_are_used_until_they_expire(metadata: Metadata) -> None:
    metadata.life = timedelta(seconds=60)
    source = chain()
    first = source.fetch()
    metadata.status = 404
    assert source.fetch() == first
    asked = metadata.asked
    assert source.fetch() == first
    assert metadata.asked == asked, "not again at once"


def test_refused_keys_are_looked_up_again_but_not_each_time(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = chain()
    first = source.fetch()
    assert source.fetch(first) == first, "fetched a moment ago"
    monkeypatch.setattr(credentials, "AGAIN_SECONDS", 0.0)
    second = source.fetch(first)
    assert second == source.now() == Credentials("key2", "secret2", "token2")
    assert source.fetch(first) == second, "somebody else has fetched others since"
    assert metadata.asked == 2


def test_threads_that_come_together_fetch_once(metadata: Metadata) -> None:
    source = chain()
    threads = [threading.Thread(target=source.fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metadata.asked == 1


def test_the_representation_of_keys_hides_them() -> None:
    assert "hunter2" not in repr(Credentials("hunter2", "hunter2", "hunter2"))


@pytest.mark.slow
def test_keys_in_the_settings_need_no_botocore() -> None:
    code = (
        "import sys; from gateway.storage.s3.bucket import make_bucket; "
        "from gateway.config.storages import S3Settings; "
        "make_bucket('a', S3Settings(bucket='shop', access_key='a', secret_key='b')).credentials().fetch(); "
        "print('botocore' in sys.modules)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert completed.stdout == "False\n"
