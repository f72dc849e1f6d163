"""What mails say: one letter, from which the text and the HTML of a mail are made. Pure.

A letter is a subject and blocks. The texts are English here; `texts` translates them (`locales/` of pages).
What comes from sellers, customers and platforms is put into them as it is: who writes the mail escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.pages.texts import Texts

MOST_ITEMS: Final = 20
"""Products that a mail lists. Whoever bought more sees them on the page."""
MOST_NOTES: Final = 2000
"""Characters of a version's notes."""


@dataclass(frozen=True)
class Block:
    """A part of a letter.

    kind: `paragraph`; `small`, for what few need to read; `item` of a list; `notes`, of several lines;
    `code`, to be typed; `button` and `link`, which is smaller, with a url.
    """

    kind: str
    text: str
    url: str = ""


@dataclass(frozen=True)
class Letter:
    """What a mail says."""

    subject: str
    blocks: tuple[Block, ...]


def sign_in(texts: Texts, *, seller: str, link: str, code: str, minutes: int) -> Letter:
    """A link with a button, and a code for the browser that asked."""
    _ = texts.gettext
    return Letter(
        _fill(_("Sign in to %(seller)s"), seller=seller),
        (
            _paragraph(_("Open this page and press the button there to see your purchases."), seller=seller),
            Block("button", _("Open the page to sign in"), link),
            _paragraph(_("Or type this code on the page where you have asked for it:")),
            Block("code", code),
            _small(
                _(
                    "Link and code are good for %(minutes)s minutes, once. If it was not you who asked, "
                    "ignore this mail."
                ),
                minutes=minutes,
            ),
        ),
    )


def address_change(
    texts: Texts, *, seller: str, old: str, new: str, link: str, code: str, minutes: int
) -> Letter:
    """Asks a mailbox to confirm that a customer gets another address."""
    _ = texts.gettext
    return Letter(
        _fill(_("Confirm your new address at %(seller)s"), seller=seller),
        (
            _paragraph(
                _("Your purchases are to move from %(old)s to %(new)s. Both mailboxes have to confirm it."),
                old=old,
                new=new,
            ),
            Block("button", _("Confirm the new address"), link),
            _paragraph(_("Or type this code on the page where you have asked for it:")),
            Block("code", code),
            _small(
                _(
                    "Link and code are good for %(minutes)s minutes, once. If it was not you who asked, "
                    "ignore this mail: nothing changes."
                ),
                minutes=minutes,
            ),
        ),
    )


def address_changed(
    texts: Texts, *, seller: str, old: str, new: str, portal: str, has_reply_to: bool
) -> Letter:
    """Tells a mailbox that the address was changed."""
    _ = texts.gettext
    alarm = (
        _("If it was not you, reply to this mail at once.")
        if has_reply_to
        else _("If it was not you, write to the seller at once.")
    )
    return Letter(
        _fill(_("Your address at %(seller)s was changed"), seller=seller),
        (
            _paragraph(
                _(
                    "Your purchases have moved from %(old)s to %(new)s. Sign in with the new address from "
                    "now on."
                ),
                old=old,
                new=new,
            ),
            Block("button", _("Your purchases"), portal),
            _small(alarm),
        ),
    )


def seat(texts: Texts, *, seller: str, product: str, link: str) -> Letter:
    """Tells somebody that they were given a seat."""
    _ = texts.gettext
    return Letter(
        _fill(_("%(product)s is ready for you"), product=product),
        (
            _paragraph(
                _("You were given a seat of %(product)s, which was bought at %(seller)s."),
                product=product,
                seller=seller,
            ),
            _paragraph(_("Sign in with this address to download it, as often as you need it.")),
            Block("button", _("Your purchases"), link),
        ),
    )


def ready(
    texts: Texts, *, seller: str, number: str | None, products: Sequence[str], portal: str, address: str
) -> Letter:
    """Tells a buyer that there is something to download. products: their names."""
    _ = texts.gettext
    if len(products) == 1:
        subject = _fill(_("%(product)s is ready to download"), product=products[0])
    else:
        subject = _fill(_("Your purchase from %(seller)s is ready"), seller=seller)
    named = (
        _fill(_("Thank you for your order %(number)s. You can download it now:"), number=number)
        if number
        else _("Thank you for your order. You can download it now:")
    )
    shown = list(products[:MOST_ITEMS])
    more = len(products) - len(shown)
    last = [_fill(texts.ngettext("and one more", "and %(count)s more", more), count=more)] if more else []
    return Letter(
        subject,
        (
            Block("paragraph", named),
            *(Block("item", each) for each in (*shown, *last)),
            Block("button", _("Go to your downloads"), portal),
            _small(
                _(
                    "Sign in with %(address)s; you get a mail with a link for it. Your purchases stay there, "
                    "so keep this mail or the address of that page."
                ),
                address=address,
            ),
        ),
    )


def new_version(
    texts: Texts,
    *,
    seller: str,
    product: str,
    version: str,
    notes: str | None,
    portal: str,
    address: str,
    unsubscribe: str = "",
) -> Letter:
    """Tells a customer that something they have has a new version. unsubscribe: the link to get no more."""
    _ = texts.gettext
    said = [Block("notes", notes[:MOST_NOTES])] if notes else []
    return Letter(
        _fill(_("%(product)s: version %(version)s is here"), product=product, version=version),
        (
            _paragraph(
                _("There is a new version of %(product)s, which you have from %(seller)s: %(version)s."),
                product=product,
                seller=seller,
                version=version,
            ),
            *said,
            Block("button", _("Go to your downloads"), portal),
            _small(_("Sign in with %(address)s; you get a mail with a link for it."), address=address),
            *(
                [Block("link", _("Send me no more mails about new versions"), unsubscribe)]
                if unsubscribe
                else []
            ),
        ),
    )


def test(texts: Texts, *, seller: str, portal: str) -> Letter:
    """Tells the seller that mails arrive."""
    _ = texts.gettext
    return Letter(
        _fill(_("A test mail from %(seller)s"), seller=seller),
        (
            _paragraph(_("Mails from your download gateway arrive here, and look like this one.")),
            Block("button", _("Your purchases"), portal),
        ),
    )


def _fill(text: str, **values: Any) -> str:
    return text % values


def _paragraph(text: str, **values: Any) -> Block:
    return Block("paragraph", _fill(text, **values) if values else text)


def _small(text: str, **values: Any) -> Block:
    return Block("small", _fill(text, **values) if values else text)
