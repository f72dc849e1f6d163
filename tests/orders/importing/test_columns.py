"""How the header of a file names its columns."""

from __future__ import annotations

import pytest

from gateway.orders.importing.columns import Column, choose_separator, read_header
from tests.support.past_customers import read, terms


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("email,productId", [Column.EMAIL, Column.PRODUCT]),
        ("productId,email", [Column.PRODUCT, Column.EMAIL]),
        ("E-Mail;Product ID;Placed at", [Column.EMAIL, Column.PRODUCT, Column.PLACED]),
        ("EMAIL\tSKU\torder_id", [Column.EMAIL, Column.SKU, Column.ORDER]),
        ('"email","product_id"', [Column.EMAIL, Column.PRODUCT]),
        (" email , productId ,", [Column.EMAIL, Column.PRODUCT]),
        # what shops export
        ("Email,Lineitem sku,Lineitem quantity", [Column.EMAIL, Column.SKU, Column.QUANTITY]),
        ("Customer Email,Created date (UTC),SKU", [Column.EMAIL, Column.PLACED, Column.SKU]),
        ("Purchase Email,Item Name,SKU", [Column.EMAIL, Column.TITLE, Column.SKU]),
    ],
)
def test_names_are_compared_without_case_and_signs(header: str, columns: list[Column]) -> None:
    separator = choose_separator(header, {})
    cells = [cell.strip('"') for cell in header.split(separator)]
    found, faults = read_header(1, cells, {}, has_product=False)
    assert faults == []
    assert sorted(found.places, key=lambda column: found.places[column]) == columns


@pytest.mark.parametrize(
    ("header", "place", "text"),
    [
        ("mail_of_customer,productId", "line 1", "no column email"),
        ("email,what", "line 1", "no column productId and no column sku"),
        (
            "email,productId,Customer Email",
            "line 1, column 3 (Customer Email)",
            "is a second column for email",
        ),
        ("emial,email2,productId", "line 1, column 1 (emial)", "Did you mean email?"),
        ("email,productId,quantitty", "line 1, column 3 (quantitty)", "Did you mean quantity?"),
    ],
)
def test_what_is_wrong_with_a_header(header: str, place: str, text: str) -> None:
    faults = read(f"{header}\njo@example.com,drums,1\n").faults
    assert any(where == place and text in said for where, said in faults), faults


def test_a_column_that_is_nobodys_is_left_out_and_told() -> None:
    found = read("email,Lineitem price,productId,Tags\njo@example.com,9.99,drums,x\n")
    assert (found.faults, found.content.header.ignored) == ([], ("Lineitem price", "Tags"))


def test_a_column_may_have_another_name() -> None:
    text = "Name,Email,Billing Name\n#1,jo@example.com,Jo\n"
    how = terms({Column.ORDER: "Name"}, "drums")
    assert list(read(text, how).orders) == ["#1"]
    [fault] = read("email,x\njo@example.com,1\n", terms({Column.ORDER: "Id"}, "drums")).faults
    assert "there is no column 'Id'" in fault[1]
