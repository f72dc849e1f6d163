"""Mails as files: private, whole or not there, and not more than the settings keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.mail.faults import MailFault
from gateway.mail.files import FileTransport, path_of, remove_old
from gateway.mail.smtp import Outgoing
from gateway.mail.verdicts import Verdict

NOW = 1_800_000_000.0
DAY = 86_400


def mail(number: int) -> Outgoing:
    return Outgoing(
        f"{number:026d}", "ready", "shop@example.com", "ann@example.com", b"Subject: a\r\n\r\nb\r\n"
    )


async def test_a_mail_is_a_file_that_only_this_user_can_read(tmp_path: Path) -> None:
    async with FileTransport(tmp_path, most=10, days=30).session() as session:
        await session.send(mail(1))
        await session.send(mail(1))  # sent again after a crash
    path = path_of(tmp_path, mail(1).id)
    assert path.read_bytes() == mail(1).content
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_mail_can_be_taken_back(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path, most=10, days=30)
    for _ in range(2):
        await transport.withdraw(mail(1))
        await transport.send(mail(1))
        await transport.withdraw(mail(1))
    assert list((tmp_path / "mail").iterdir()) == []


async def test_a_folder_that_cannot_be_written_to_lets_all_mails_wait(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file is in its place")
    with pytest.raises(MailFault) as caught:
        await FileTransport(tmp_path, most=10, days=30).send(mail(1))
    assert caught.value.verdict is Verdict.ALL_WAIT
    assert "mail" in str(caught.value)


def test_old_files_go_and_others_stay(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / f"{number:026d}.eml"
        path.touch()
        os.utime(path, (NOW - number * DAY, NOW - number * DAY))
    other, unfinished = tmp_path / "letter.eml", tmp_path / f".{0:026d}.{'a' * 16}"
    for path in (other, unfinished):
        path.touch()
        os.utime(path, (1, 1))
    (tmp_path / f"{9:026d}.eml").symlink_to("/etc/passwd")
    assert remove_old(tmp_path, 4, 2, NOW) == 4  # two too many, one too old, one never finished
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {f"{number:026d}.eml" for number in (0, 1, 2, 9)} | {"letter.eml"}
    assert remove_old(tmp_path / "missing", 1, 1, NOW) == 0
