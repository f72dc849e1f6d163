"""Forms in which a link comes: what is handed out, and what becomes of it on its way. NAME is `kit 1.zip`."""

from __future__ import annotations

LINKS = [
    "/download/{token}/kit%201.zip",
    "/download/{token}/",
    "/download/{token}",
    "/download/%63t_{rest}/kit%201.zip?utm_source=Fr%C3%BChling",
    "/download/{token}/kit%201.zip.",
    "/download/%22{token}%22/",
    "//download/{token}/kit%201.zip",
    "/download/kit%201.zip/?token={token}",
    "/download?file=kit%201.zip&amp;token={token}",
    "/download?token=%E2%80%8B{token})",
]
"""Forms of one link."""


def link_forms(token: str) -> list[str]:
    return [form.format(token=token, rest=token[3:]) for form in LINKS]
