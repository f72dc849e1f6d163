"""What each cell of a file may have."""

from __future__ import annotations

import pytest

from gateway.orders.importing.cells import CellFault, read_moment
from gateway.web.times import parse_time
from tests.support.past_customers import read
from tests.support.rows import each_row

LOCAL = "a" * 64
LONGEST = f"{LOCAL}@{'.'.join(['b' * 60] * 3)}.{'c' * 6}"
assert len(LONGEST) == 254


def one(column: str, cell: str, others: str = "jo@example.com,drums") -> list[tuple[str, str]]:
    quoted = '"' + cell.replace('"', '""') + '"'
    head = "email,productId" if others else "productId"
    return read(f"{head},{column}\n{others or 'drums'},{quoted}\n").faults


@each_row(
    "address",
    [
        "jo@example.com",
        " jo@example.com ",
        "jo+tag@example.com",
        "Jo.Doe@EXAMPLE.com",
        '"jo doe"@example.com',
        "jö@exämple.com",
        "用户@例子.广告",
        "o'brien@example.co.uk",
        "=1+1@example.com",
        LONGEST,
    ],
)
def test_addresses_that_are_taken(address: str) -> None:
    assert one("email", address, "") == []


@each_row(
    "address",
    [
        "",
        "jo",
        "jo@",
        "@example.org",
        "jo@example.com, ann@example.com",
        "Jo <jo@example.com>",
        "jo@example.com\r\nBcc: x@example.com",
        "jo@exa mple.com",
        "jo@[127.0.0.1]",
        "jo\u202e@example.com",
        "a" + LONGEST,
        "b." + LONGEST,
        "x" * 5000 + "@example.com",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    [(place, text)] = one("email", address, "")
    assert place == "line 2, column 2 (email)"
    assert address == "" or address not in text, "what is wrong is told without the address"


@each_row(
    ("column", "cell"),
    [
        ("name", "=cmd|' /C calc'!A0"),
        ("name", "+4912345"),
        ("name", "-Jo"),
        ("name", "@Jo"),
        ("name", "Zoë 👩‍🎤 Müller"),
        ("name", "x" * 200),
        ("quantity", "3"),
        ("quantity", ""),
        ("quantity", "1000000"),
        ("refunded", "1"),
        ("refunded", "yes"),
        ("refunded", "No"),
        ("orderId", "#1001"),
        ("orderId", "x" * 255),
        ("number", "2024-7"),
        ("placedAt", "2024-02-29"),
        ("placedAt", "2024-02-29 23:59"),
        ("placedAt", "2024-02-29 23:59:59 +0200"),
        ("placedAt", "2024-02-29T23:59:59.123456Z"),
        ("placedAt", "2024-02-29 23:59:59 UTC"),
        ("country", "de"),
        ("status", "Paid"),
        ("status", "partially_refunded"),
        ("status", "refunded"),
        ("version", "1.0"),
        ("until", "2025-12-31"),
        ("scope", "ALL"),
        ("lineId", "li_1"),
        ("title", "Drums, all of them"),
        ("test", "yes"),
    ],
)
def test_cells_that_are_taken(column: str, cell: str) -> None:
    assert one(column, cell) == []


@each_row(
    ("column", "cell", "text"),
    [
        ("name", "x" * 201, "at most 200 characters"),
        ("quantity", "0", "must be 1 to"),
        ("quantity", "-1", "whole number"),
        ("quantity", "1.5", "whole number"),
        ("quantity", "1000001", "must be 1 to"),
        ("quantity", "٣", "whole number"),
        ("quantity", "9" * 500, "whole number"),
        ("refunded", "2", "above the quantity"),
        ("refunded", "9.99", "how many"),
        ("orderId", "2024/7", "without `/`"),
        ("orderId", "x" * 256, "255"),
        ("number", "2024/7", "without `/`"),
        ("placedAt", "05/01/2024", "must be a date such as"),
        ("placedAt", "2023-02-29", "exist"),
        ("placedAt", "1969-12-31", "1970"),
        ("country", "Germany", "two letters"),
        ("status", "pending", "not paid for"),
        ("status", "lost", "must be paid"),
        ("scope", "some", "all, version or until"),
        ("scope", "version", "must be there"),
        ("version", "9.9", "no version 9.9"),
        ("test", "perhaps", "yes or no"),
        ("sku", "DR-1", "must be empty where productId"),
    ],
)
def test_cells_that_are_refused(column: str, cell: str, text: str) -> None:
    [(place, said)] = one(column, cell)
    assert text in said
    assert place.startswith("line 2")


def test_every_fault_of_a_row_is_told() -> None:
    faults = read("email,productId,quantity,country\nx,nothing,0,Germany\n").faults
    assert [place for place, _ in faults] == [
        "line 2, column 1 (email)",
        "line 2, column 2 (productId)",
        "line 2, column 3 (quantity)",
        "line 2, column 4 (country)",
    ]


@pytest.mark.parametrize(
    ("text", "end_of_day", "moment"),
    [
        ("2024-05-01", False, "2024-05-01T00:00:00Z"),
        ("2024-05-01", True, "2024-05-01T23:59:59.999Z"),
        ("2024-05-01 12:30", False, "2024-05-01T12:30:00Z"),
        ("2024-05-01 12:30:15 -0730", False, "2024-05-01T12:30:15-07:30"),
        ("2024-05-01T12:30:15.5+02:00", True, "2024-05-01T12:30:15.5+02:00"),
    ],
)
def test_times(text: str, end_of_day: bool, moment: str) -> None:
    assert read_moment(text, end_of_day=end_of_day) == parse_time(moment)


@pytest.mark.parametrize(
    "text", ["2024-5-1", "2024-05-01 25:00", "yesterday", "1714521600", "2024-05-01 12:30 CET"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(CellFault):
        read_moment(text)
