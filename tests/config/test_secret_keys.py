"""The key of secrets in a setting: base64, hex, or a file."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.config.secret_keys import check_key, load_key, read_key

KEY = bytes(range(200, 232))
BASE64 = base64.b64encode(KEY).decode()


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        BASE64.rstrip("="),
        base64.urlsafe_b64encode(KEY).decode(),
        KEY.hex(),
        f" {KEY.hex().upper()}\n",
    ],
)
def test_a_key_is_read_in_each_form(text: str, tmp_path: Path) -> None:
    assert read_key(text) == KEY
    assert load_key(str(check_key(text))) == KEY
    file = tmp_path / "key"
    file.write_text(text + "\n")
    assert load_key(str(check_key(str(file)))) == KEY
    file.write_bytes(KEY)
    assert load_key(str(file)) == KEY


@pytest.mark.parametrize("text", ["", "hunter2hunter2", BASE64[:-4], KEY.hex()[:-2], "é" * 44, 7])
def test_what_is_no_key_is_refused_and_not_quoted(text: object) -> None:
    with pytest.raises(ValueError, match="32 bytes") as refused:
        check_key(text)
    assert "hunter2" not in str(refused.value)


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    with pytest.raises(ValueError, match="32 bytes"):
        load_key(str(tmp_path / "key"))
    assert check_key("./key") == str(Path("./key").absolute())
