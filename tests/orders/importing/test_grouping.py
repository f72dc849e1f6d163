"""How the rows of a file become orders."""

from __future__ import annotations

import pytest

from gateway.orders.limits import MAX_LINES
from tests.support.past_customers import read

HEAD = "orderId,email,name,productId,quantity,number,placedAt\n"


def row(
    order: str = "1", email: str = "jo@example.com", name: str = "", product: str = "drums", **more: str
) -> str:
    cells = [order, email, name, product, *(more.get(each, "") for each in ("quantity", "number", "at"))]
    return ",".join(cells) + "\n"


def test_rows_of_one_order_are_found_wherever_they_are() -> None:
    found = read(HEAD + row(name="Jo") + row("2") + row(product="bass", quantity="3"))
    assert found.faults == []
    assert found.orders == {"1": [("drums#1", 1, 0), ("bass#1", 3, 0)], "2": [("drums#1", 1, 0)]}


def test_the_number_is_the_id_where_there_is_none() -> None:
    assert list(read(HEAD + row("", number="#7")).orders) == ["#7"]


def test_a_row_without_an_id_is_an_order_whose_id_hides_the_customer() -> None:
    first = read(HEAD + row("") + row("", product="bass") + row("", "ann@example.com"))
    assert len(first.orders) == 3
    assert all(each.startswith("row-") and len(each) == 36 for each in first.orders)
    again = read(HEAD + row("", "Jo@example.com".lower(), quantity="5"))
    assert again.orders.keys() <= first.orders.keys(), "a corrected row is the same order"
    upper = read(HEAD + row("", "jo@EXAMPLE.com"))
    assert upper.orders.keys() <= first.orders.keys()


def test_a_repeated_row_is_told_and_counts_once() -> None:
    found = read(HEAD + row() + row("2") + row() + row(""))
    assert (found.content.repeated, found.content.twice) == (1, [(4, 2)])
    assert found.orders["1"] == [("drums#1", 1, 0)]


@pytest.mark.parametrize(
    ("rows", "place", "text"),
    [
        (
            row(name="Jo") + row(name="Ann", product="bass"),
            "line 3, column 3 (name)",
            "something else than line 2",
        ),
        (row() + row(email="ann@example.com"), "line 3, column 2 (email)", "something else than line 2"),
        (row(at="2024-05-01") + row(at="2024-05-02"), "line 3, column 7 (placedAt)", "something else"),
        (row("") + row("", quantity="2"), "line 3, column 2 (email)", "give both rows an orderId"),
    ],
)
def test_rows_that_contradict_each_other(rows: str, place: str, text: str) -> None:
    [(where, said)] = read(HEAD + rows).faults
    assert (where, text in said) == (place, True), said


def test_two_lines_of_one_product_are_two_lines() -> None:
    assert read(HEAD + row(quantity="1") + row(quantity="2")).orders == {
        "1": [("drums#1", 1, 0), ("drums#2", 2, 0)]
    }


def test_lines_have_the_ids_that_the_file_has() -> None:
    head = "orderId,email,productId,lineId\n"
    found = read(head + "1,jo@example.com,drums,drums#1\n1,jo@example.com,drums,\n")
    assert [line[0] for line in found.orders["1"]] == ["drums#1", "drums#2"]
    [fault] = read(head + "1,jo@example.com,drums,a\n1,jo@example.com,bass,a\n").faults
    assert "is the id of line 2" in fault[1]


def test_an_order_of_many_lines() -> None:
    lines = [row(quantity=str(number)) for number in range(1, MAX_LINES + 2)]
    assert len(read(HEAD + "".join(lines[:500])).orders["1"]) == 500
    [(place, said)] = read(HEAD + "".join(lines)).faults
    assert (place, "more than" in said) == (f"line {MAX_LINES + 2}, column 1 (orderId)", True)
