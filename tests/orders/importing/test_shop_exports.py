"""Exports of shops, with their own column names, by the commands of docs/past-customers.md."""

from __future__ import annotations

import re
import shlex

import pytest

from gateway.cli.order_import import _read_columns
from tests.support.past_customers import Read, read, terms
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "past-customers.md").read_text()

SHOPIFY = """\
Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,\
Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,\
Lineitem quantity,Lineitem name,Lineitem price,Lineitem compare at price,Lineitem sku,\
Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,Billing Name,Billing Street,\
Billing Address1,Billing Address2,Billing Company,Billing City,Billing Zip,Billing Province,\
Billing Country,Billing Phone,Shipping Name,Shipping Street,Shipping Address1,Shipping Address2,\
Shipping Company,Shipping City,Shipping Zip,Shipping Province,Shipping Country,Shipping Phone,Notes,\
Note Attributes,Cancelled at,Payment Method,Payment Reference,Refunded Amount,Vendor,\
Outstanding Balance,Employee,Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,\
Tax 1 Name,Tax 1 Value,Phone,Receipt Number,Duties,Payment ID
"""
WOOCOMMERCE = """\
Order Number,Order Status,Order Date,Customer Note,First Name (Billing),Last Name (Billing),\
Company (Billing),Address 1&2 (Billing),City (Billing),State Code (Billing),Postcode (Billing),\
Country Code (Billing),Email (Billing),Phone (Billing),First Name (Shipping),Last Name (Shipping),\
Address 1&2 (Shipping),City (Shipping),State Code (Shipping),Postcode (Shipping),\
Country Code (Shipping),Payment Method Title,Cart Discount Amount,Order Subtotal Amount,\
Shipping Method Title,Order Shipping Amount,Order Refund Amount,Order Total Amount,\
Order Total Tax Amount,SKU,Item #,Item Name,Quantity (- Refund),Item Cost,Coupon Code,\
Discount Amount
"""
STRIPE = """\
id,Created date (UTC),Amount,Amount Refunded,Currency,Captured,Converted Amount,\
Converted Amount Refunded,Converted Currency,Decline Reason,Description,Fee,Is Link,Link Funding,\
Mode,PaymentIntent ID,Payment Source Type,Refunded date (UTC),Statement Descriptor,Status,\
Seller Message,Taxes On Fee,Card ID,Card Name,Customer ID,Customer Description,Customer Email,\
Invoice ID,Transfer
"""
GUMROAD = """\
Purchase ID,Item Name,Buyer Name,Purchase Email,Buyer Email,Do not contact?,Purchase Date,\
Purchase Time (UTC timezone),Subtotal ($),Taxes ($),Shipping ($),Sale Price ($),Fees ($),\
Net Total ($),Tip ($),Tax Included in Price?,Street Address,City,Zip Code,State,Country,Referrer,\
Refunded?,Partial Refund ($),Fully Refunded?,Disputed?,Dispute Won?,Variants,Discount Code,\
Recurring Charge?,Free trial purchase?,Pre-order authorization?,Product ID,Order Number,\
Pre-order authorization time (UTC timezone),Custom Fields,Item Price ($),Variants Price ($),\
Giftee Email,SKU ID,Quantity,Recurrence,Affiliate,Affiliate commission ($),Discover?,\
Subscription End Date,Rating,Review,License Key
"""


def rows(header: str, *told: dict[str, str]) -> str:
    names = header.strip().split(",")
    assert all(name in names for each in told for name in each)
    return header + "".join(",".join(f'"{each.get(name, "")}"' for name in names) + "\n" for each in told)


def by_command(shop: str, text: str) -> Read:
    """Read a file as the command of the page does."""
    [line] = re.findall(rf"^\| {shop}, .*\| `(order import [^`]*)` \|$", PAGE, re.MULTILINE)
    words = shlex.split(line)
    given = [words[place + 1] for place, word in enumerate(words) if word == "--column"]
    product = "drums" if "--product" in words else None
    return read(text, terms(_read_columns(given), product))


def test_shopify() -> None:
    first = {"Name": "#1001", "Email": "jo@example.com", "Financial Status": "partially_refunded", "Id": "7"}
    first |= {"Created at": "2024-05-01 10:14:00 -0400", "Billing Name": "Jo", "Billing Country": "DE"}
    lines = [{"Lineitem quantity": "2", "Lineitem sku": "D", "Lineitem name": "Drums"}, {"Name": "#1001"}]
    lines[1] |= {"Lineitem quantity": "1", "Lineitem sku": "B", "Email": "jo@example.com"}
    unpaid = {"Name": "#1002", "Email": "a@example.com", "Financial Status": "pending", "Lineitem sku": "D"}
    found = by_command("Shopify", rows(SHOPIFY, first | lines[0], lines[1], unpaid))
    assert [text.split(":")[0] for _, text in found.faults] == ["was not paid for"]
    assert [each[1:] for each in found.orders["#1001"]] == [(2, 0), (1, 0)]


def test_woocommerce() -> None:
    order = {"Order Number": "77", "Order Status": "Completed", "Order Date": "2024-05-01 10:14"}
    order |= {"Email (Billing)": "jo@example.com", "Country Code (Billing)": "DE"}
    item = {"SKU": "D", "Item #": "1", "Item Name": "Drums", "Quantity (- Refund)": "3"}
    found = by_command("WooCommerce", rows(WOOCOMMERCE, order | item, order | item | {"SKU": "B"}))
    assert found.faults == []
    assert [each[1:] for each in found.orders["77"]] == [(3, 0), (3, 0)]


@pytest.mark.parametrize("created", ["Created date (UTC)", "Created (UTC)"])
def test_stripe(created: str) -> None:
    paid = {
        "id": "ch_1",
        created: "2024-05-01 10:14:03",
        "Customer Email": "jo@example.com",
        "Status": "Paid",
    }
    told = [paid, paid | {"id": "ch_2", "Status": "Refunded"}, paid | {"id": "ch_3", "Status": "Failed"}]
    found = by_command("Stripe", rows(STRIPE.replace("Created date (UTC)", created), *told))
    assert found.faults == []
    assert set(found.orders) == {"ch_1", "ch_2", "ch_3"}


def test_gumroad() -> None:
    sale = {
        "Purchase ID": "a==",
        "Item Name": "Drums",
        "Buyer Name": "Jo",
        "Purchase Email": "jo@example.com",
    }
    sale |= {
        "Purchase Date": "2024-05-01",
        "Country": "Germany",
        "Product ID": "drumkit",
        "Order Number": "5",
    }
    sale |= {"Quantity": "1", "Refunded?": "1", "Fully Refunded?": "0", "Disputed?": "0", "State": "BY"}
    other = sale | {"Purchase ID": "b==", "Order Number": "6", "Fully Refunded?": "1"}
    found = by_command("Gumroad", rows(GUMROAD, sale, other, {"Purchase ID": "Totals", "Tip ($)": "0.0"}))
    assert {re.split("[,(]", place)[0].strip() for place, _ in found.faults} == {"line 4"}, "the sums"
    assert [each[1:] for each in found.orders["a=="]] == [(1, 0)], "a part of the money is no refund"
    assert [each[1:] for each in found.orders["b=="]] == [(1, 1)]
