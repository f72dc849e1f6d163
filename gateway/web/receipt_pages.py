"""A receipt as a page that prints. The page is the same wherever it is shown."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from gateway.web.pages import Pages
from gateway.web.times import parse_time

SHOWN_ATTEMPTS: Final = 500
"""Requests of each file that the page lists: some ten sheets. The signed document has more."""


def show_receipt(
    pages: Pages, request: web.BaseRequest, answer: dict[str, Any], back: str = ""
) -> web.Response:
    """Answer with the page of a receipt.

    answer: what the API answers (`receipts.signed_receipt`). back: the path of the page that led here.
    """
    response = pages.respond(
        request,
        "receipt.html",
        receipt=answer["receipt"],
        jws=answer["jws"],
        most=SHOWN_ATTEMPTS,
        moment=parse_time,
        back=back,
    )
    response.headers["Vary"] = "Accept, Accept-Language, Cookie"
    return response
