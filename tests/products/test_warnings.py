"""Which files are warned of when they are published."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from gateway.products.warnings import publication_warnings
from tests.support.rows import each_row

NOW = 1_800_000_000
SECOND = 10**9


class File(NamedTuple):
    name: str
    modified: int
    in_bucket: bool = False


def warnings(*files: tuple[str, int]) -> list[str]:
    return publication_warnings([File(*file) for file in files], NOW)


@each_row(
    ("times", "word"),
    [
        ([0], "1970 or 1980"),
        ([SECOND], "1970 or 1980"),
        ([-SECOND], "1970 or 1980"),
        ([315_532_800 * SECOND], "1970 or 1980"),
        ([318_207_600 * SECOND], "1970 or 1980"),
        ([1_700_000_000 * SECOND + 5, 0], "1 file is dated 1970"),
        ([(NOW + 86_400) * SECOND], "in the future"),
        ([1_700_000_000 * SECOND] * 2, "all 2 files have one modification time"),
        ([1_700_000_000 * SECOND], None),
        ([1_700_000_000 * SECOND + 5] * 2, None),
        ([1_700_000_000 * SECOND, 1_700_000_001 * SECOND], None),
        ([(NOW + 5) * SECOND], None),
    ],
)
def test_dates(times: list[int], word: str | None) -> None:
    found = warnings(*((f"file-{number}", modified) for number, modified in enumerate(times)))
    assert len(found) == (word is not None)
    assert word is None or word in found[0]


@pytest.mark.parametrize(
    ("times", "word"),
    [
        ([0], None),
        ([1_700_000_000 * SECOND] * 3, None),
        ([(NOW + 86_400) * SECOND], "in the future"),
    ],
)
def test_dates_of_objects_show_no_change(times: list[int], word: str | None) -> None:
    """Buckets have whole seconds, and an object may have no date: its ETag shows a change."""
    objects = [File(f"file-{number}", modified, in_bucket=True) for number, modified in enumerate(times)]
    found = publication_warnings(objects, NOW)
    assert len(found) == (word is not None)
    assert word is None or word in found[0]


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["README", "readme"], "'README' and 'readme' differ by case only"),
        (["a/B.wav", "A/b.wav", "x", "X"], "(and 1 more)"),
        (["STRASSE", "straße"], "differ by case only"),
        (["folder\\file"], "has a backslash"),
        (["\u202egpj.exe"], "'[U+202E]gpj.exe' has a mark that changes the direction of text: "),
        (
            ["a\u200f/b", "\u2066c"],
            "'a[U+200F]/b' has a mark that changes the direction of text (and 1 more)",
        ),
        (["עברית.zip"], None),
        (["a", "b/a"], None),
    ],
)
def test_names(names: list[str], word: str | None) -> None:
    found = warnings(*((name, 1_700_000_000 * SECOND + number + 1) for number, name in enumerate(names)))
    assert len(found) == (word is not None)
    assert word is None or word in found[0]
