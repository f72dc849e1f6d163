"""The password of Redis is in no fault, representation or text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config.settings import load
from tests.support.settings_files import SECRET, faults, write

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@pytest.mark.parametrize(
    "url",
    [f"redis://:{SECRET}@h:6379/0", f"rediss://user:{SECRET}@h", f"unix://:{SECRET}@/run/x.sock?db=1"],
)
def test_the_password_is_never_printed(url: str) -> None:
    settings = load({}, None, {"GATEWAY_REDIS_URL": url})
    assert settings.redis_url == url
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@pytest.mark.parametrize(
    "url",
    [
        SECRET, f"{SECRET}:x@h", f"http://:{SECRET}@h", f"redis://:{SECRET}@", f"redis://:{SECRET}@h:x",
        f"redis://h?foo={SECRET}", f"redis://h?{SECRET}=1", f"redis://h?password={SECRET}&db={SECRET}",
        f"redis://:{SECRET}@h/x", f"redis://[{SECRET}@h", f"unix://:{SECRET}@h/x", f"redis://:{SECRET}/x@h:1",
    ],
)  # fmt: skip
def test_no_fault_contains_the_password(url: str, tmp_path: Path) -> None:
    env = {"GATEWAY_REDIS_URL": url, "GATEWAY_REDIS_PASSWORD": SECRET}
    texts = "\n".join(faults({"redis_url": url}) + faults(env=env))
    texts += "\n".join(
        faults(toml=write(tmp_path, f"redis_url = {json.dumps(url)}\nredis_password = {SECRET!r}"))
    )
    assert SECRET not in texts
