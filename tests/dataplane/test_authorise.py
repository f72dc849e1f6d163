"""What `/auth` charges, and how a file is described to a front proxy.

The whole exchange is tested in tests/contracts/test_download_limits.py, in test_fast_path.py, and with real
proxies in tests/e2e.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.authorise import _charged_bytes, _unquoted_location
from gateway.dataplane.exchange import Exchange
from gateway.http.plans import Representation
from gateway.manifest import ManifestFile
from tests.support.channel import FakeChannel
from tests.support.rows import each_row

FILE = ManifestFile("kit.zip", 1000, "application/zip", "0" * 64, "0" * 8, "main", "kits/kit 1.zip", 0)


@each_row(
    ("lines", "plain_range", "charged"),
    [
        ([], "", 1000),
        ([("Range", "bytes=0-99")], "", 100),
        ([], "bytes=0-99", 100),
        ([("Range", "bytes=-50")], "", 50),
        ([("Range", "bytes=0-9,20-29")], "", 20),
        ([("Range", "bytes=990-5000")], "", 10),
        ([("Range", "bytes=5000-")], "", 0),
        ([("Range", "lines=1-2")], "", 1000),
        ([("Range", "bytes=9-0")], "", 1000),
        ([("Range", "bytes=0-9"), ("Range", "bytes=20-29")], "", 1000),
        ([("Range", "bytes=0-9"), ("If-Range", '"x"')], "", 1000),
    ],
)
def test_what_the_proxy_may_send_is_charged(
    lines: list[tuple[str, str]], plain_range: str, charged: int
) -> None:
    exchange = Exchange(FakeChannel(), headers=CIMultiDictProxy(CIMultiDict(lines)))
    exchange.range = plain_range
    assert _charged_bytes(exchange, Representation(FILE)) == charged


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("kits/kit 1.zip", "X-Gateway-Storage: main\r\nX-Gateway-Key: kits/kit 1.zip\r\n"),
        ("Крах.zip", "X-Gateway-Storage: main\r\nX-Gateway-Key: Крах.zip\r\n"),
        ("line\r\nX-Injected: yes", ""),
        ("\udcff", ""),
        (" begins with a space", ""),
        ("ends with a space ", ""),
    ],
)
def test_a_key_is_passed_on_only_if_a_field_can_hold_it(key: str, fields: str) -> None:
    assert _unquoted_location(replace(FILE, key=key)) == fields
