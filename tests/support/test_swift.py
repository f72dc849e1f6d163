"""The S3 server of the tests: it checks signatures, pins what it sends, and leaves nothing behind."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.buckets import S3Server
from tests.support.swift import has_xattrs
from tests.support.waiting import wait_until


def failure(server: S3Server, bucket: str, key: str, **more: str) -> int:
    with pytest.raises(ClientError) as caught:
        server.client.get_object(Bucket=bucket, Key=key, **more)
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_storages_rely_on(s3_servers: dict[str, S3Server], scheme: str) -> None:
    server = s3_servers[scheme]
    bucket = server.make_bucket()
    content = bytes(range(256)) * 1000
    put = server.put(bucket, "folder/a b+ü.bin", content, {"shown": "yes"})
    part = server.client.get_object(
        Bucket=bucket, Key="folder/a b+ü.bin", Range="bytes=10-19", IfMatch=put.etag
    )
    assert part["Body"].read() == content[10:20]
    assert part["ETag"] == put.etag
    assert part["ContentRange"] == f"bytes 10-19/{len(content)}"
    assert part["Metadata"] == {"shown": "yes"}
    assert failure(server, bucket, "folder/a b+ü.bin", IfMatch='"other"') == 412
    assert failure(server, bucket, "other") == 404
    assert failure(replace(server, secret_key="another"), bucket, "folder/a b+ü.bin") == 403
    link = server.client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "folder/a b+ü.bin"})
    trust = ssl.create_default_context(cafile=server.ca_file)
    with urllib.request.urlopen(link, context=trust) as answer:
        assert answer.read() == content
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(link.replace("folder", "other"), context=trust)
    caught.value.close()


def test_objects_in_parts(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    put = s3_server.put_multipart(bucket, "parts", b"a" * 10, b"b" * 5)
    assert put.size == 15
    assert put.etag.endswith('-2"')


@pytest.mark.slow
def test_versions(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket(versions=True)
    first, second = (s3_server.put(bucket, "key", content) for content in (b"first", b"second"))
    assert first.version_id != second.version_id
    answer = s3_server.client.get_object(Bucket=bucket, Key="key", VersionId=first.version_id)
    assert answer["Body"].read() == b"first"
    s3_server.delete(bucket, "key", first.version_id)
    assert failure(s3_server, bucket, "key", VersionId=first.version_id) == 404
    assert s3_server.head(bucket, "key") == second


@pytest.mark.slow
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Not even when the tests are killed."""
    if not has_xattrs(tmp_path):
        pytest.skip("no extended attributes here")
    script = "from tests.support.swift import run_s3\nwith run_s3(): print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"up\n"
        assert len(processes_of(tmp_path)) == 5
        tests.kill()
    wait_until(lambda: processes_of(tmp_path) == [] == list(tmp_path.iterdir()), "all is gone")


def processes_of(folder: Path) -> list[int]:
    """Those that were started with something in this folder."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError):
            if os.fsencode(folder) in Path(f"/proc/{int(name)}/cmdline").read_bytes():
                found.append(int(name))
    return found
