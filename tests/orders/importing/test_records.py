"""The records of a file: RFC 4180, what programs make of it, and files that are none."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from gateway.orders.importing.reading import read_file
from gateway.orders.importing.records import MAX_LINE, MAX_RECORD, MAX_RECORD_LINES, NotText
from gateway.orders.importing.spool import Spool
from tests.support.past_customers import read, terms
from tests.support.rows import each_row

HEAD = "email,productId,name\n"
GOOD = "jo@example.com,drums,Jo\n"


@each_row(
    "text",
    [
        HEAD + GOOD,
        (HEAD + GOOD).encode("utf-8-sig"),
        (HEAD + GOOD).replace("\n", "\r\n"),
        (HEAD + GOOD).replace("\n", "\r"),
        (HEAD + GOOD).replace(",", ";"),
        (HEAD + GOOD).replace(",", "\t"),
        (HEAD + GOOD).rstrip("\n"),
        "\r\n\r\n" + HEAD + "\n\n" + GOOD + "\n,,\n  ,\t, \n",
        "sep=;\n" + (HEAD + GOOD).replace(",", ";"),
        HEAD + '"jo@example.com","drums","Jo"\n',
        HEAD + 'jo@example.com,drums,"Jo ""the"" Doe, Ltd."\n',
    ],
)
def test_forms_of_the_same_file(text: str | bytes) -> None:
    found = read(text)
    assert found.faults == []
    assert list(found.orders.values()) == [[("drums#1", 1, 0)]]


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        (f'jo@example.com,drums,"Jo\n{GOOD}{GOOD}', ["line 2"]),
        (f'jo@example.com,drums,"Jo" x\n{GOOD}', ["line 2"]),
        (f"{GOOD}jo@example.com,drums\n{GOOD}", ["line 3"]),
        (f"{GOOD}jo@example.com,drums,Jo,more\n", ["line 3"]),
        (f'{GOOD}jo@example.com,drums,"a\nb\nc"\n{GOOD}x', ["line 3, column 3 (name)", "line 7"]),
        (f"{GOOD}{'x' * (MAX_LINE + 5)}\nx\n", ["line 3", "line 4"]),
        (
            f'{GOOD}"{"x" * 5000}\n' + ("y" * 5000 + "\n") * 20 + GOOD,
            [f"line {line}" for line in range(3, 24)],
        ),
        (f'{GOOD}"x\n' + "\n" * (MAX_RECORD_LINES + 5) + "y\n", ["line 3", f"line {MAX_RECORD_LINES + 9}"]),
    ],
)
def test_a_broken_record_hides_no_other_one(rows: str, places: list[str]) -> None:
    assert [place for place, _ in read(HEAD + rows).faults] == places


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n\r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        ((HEAD + GOOD).encode("utf-16"), "UTF-16"),
        (b"sep=|\nemail|productId\n", "separator"),
    ],
)
def test_a_file_that_cannot_be_read(content: bytes, reason: str) -> None:
    with pytest.raises(NotText, match=reason):
        read(content)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (b"J\xf6", "is not UTF-8"),
        (b"J\0", "control character"),
        (b"J\x1b[2J", "control character"),
        (b'"J\r\nBcc: x"', "control character"),
    ],
)
def test_bytes_that_are_no_text_are_named_with_their_place(cell: bytes, text: str) -> None:
    [(place, said)] = read(HEAD.encode() + b"jo@example.com,drums," + cell + b"\n").faults
    assert place == "line 2, column 3 (name)"
    assert text in said


@pytest.mark.slow
def test_junk_takes_little_memory() -> None:
    for junk in (b"\0" * 20_000_000, b'"' * 3_000_000, b'email,productId\n"' + b"x\n" * 100_000):
        file = io.BytesIO(junk)
        tracemalloc.start()
        with Spool() as spool:
            read_file(file, spool, terms())
            peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * MAX_RECORD
