"""The page that shows the files of a version to a customer, with what is left of the link.

A file's name is the only link in its row, and there is no other link than those of files and folders:
programs that read the page as a folder (wget -r, rclone, lftp) follow every one. So the address of the portal
is a text.
"""

from __future__ import annotations

import html as markup
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from gateway.config.units import LAST_MOMENT, format_size
from gateway.http.file_names import shown
from gateway.http.page_frame import PORTAL, frame
from gateway.manifest import Manifest, ManifestFile, composed

MAX_CURL_FILES: Final = 20
"""Files up to which a line for curl names all of them: it grows by a link for each."""
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


class Terms(NamedTuple):
    """What a link allows. product: its name for people. expires: milliseconds since 1970 UTC, if known.

    downloads: how often each file may be downloaded; None: any number. charged: bytes by number of the file.
    """

    product: str
    expires: int | None = None
    downloads: int | None = None
    charged: tuple[int, ...] = ()

    def left(self, number: int, size: int) -> int | None:
        """Bytes that may still be sent of a file of `size` bytes; None: any number.

        They are those of whole downloads and of the half that is given in addition (tokens/claims.py).
        """
        if self.downloads is None:
            return None
        charged = self.charged[number] if number < len(self.charged) else 0
        return max(0, self.downloads * size + size // 2 - charged)


class Entry(NamedTuple):
    """One row: a file with its number in the manifest, or a folder. name: as seen from the index."""

    name: str
    link: str
    file: ManifestFile | None = None
    number: int = 0


def index_page(
    manifest: Manifest, folder: str, entries: Sequence[Entry], terms: Terms, address: str
) -> bytes:
    """The page of a folder; of all files if it is empty.

    address: the URL of the index, with its host and a slash at its end. It stands in the command lines, which
    are left out where it is empty. The links of the page are those of the entries.
    """
    title = " ".join(filter(None, (terms.product, manifest.version, folder)))
    files = [entry for entry in entries if entry.file is not None]
    rows = "".join(f"<li>{_row(entry, terms)}</li>" for entry in entries)
    content = f"<h1>{_text(title)}</h1><p>{_facts(files, terms)}</p><ul>{rows}</ul>"
    return frame(title, content + _all_at_once(files, address) + _CHECKING + _later(address))


def rfc3339(milliseconds: int) -> str:
    """Milliseconds since 1970 UTC as RFC 3339 has them."""
    return _moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(milliseconds: int) -> datetime:
    """A moment in UTC. It is cut to what a calendar has."""
    return datetime.fromtimestamp(min(max(milliseconds, 0) / 1000, LAST_MOMENT // 1000), UTC)


def _facts(files: Sequence[Entry], terms: Terms) -> str:
    total = sum(entry.file.size for entry in files if entry.file is not None)
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    facts = [f"{count}, {format_size(total)} in all."]
    if terms.expires is not None:
        when = _moment(terms.expires)
        day = f"{when.day} {_MONTHS[when.month - 1]} {when.year}"
        moment = f'<time datetime="{rfc3339(terms.expires)}">{day}, {when:%H:%M} UTC</time>'
        facts.append(f"This link works until {moment}.")
    if terms.downloads is not None:
        times = "once" if terms.downloads == 1 else f"{terms.downloads} times"
        facts.append(f"Each file may be downloaded {times}.")
    return " ".join(facts)


def _row(entry: Entry, terms: Terms) -> str:
    link = f'<a href="{markup.escape(entry.link)}"><bdi>{_text(entry.name)}</bdi></a>'
    file = entry.file
    if file is None:
        return link
    left = _left(terms, entry.number, file.size)
    return (
        f'{link}<span class="quiet">{format_size(file.size)}{left}</span>'
        f'<span class="quiet">SHA-256: <code>{file.sha256}</code></span>'
    )


def _left(terms: Terms, number: int, size: int) -> str:
    left = terms.left(number, size)
    if left is None or terms.downloads is None or not size:
        return ""
    whole = min(left // size, terms.downloads)
    if whole:
        return f", {whole} of {terms.downloads} downloads left"
    return f", {format_size(left)} left" if left else ", nothing left"


def _all_at_once(files: Sequence[Entry], address: str) -> str:
    """Command lines for a terminal. Each goes on where it was broken off."""
    if not address or not files:
        return ""
    wget = f"wget -c -r -np -nH --cut-dirs=2 -R 'index.html*' '{address}'"
    lines = f"<p>With wget:</p>{_command(wget)}"
    names = [entry.name for entry in files]
    if len(files) <= MAX_CURL_FILES and all(_is_plain(name) for name in names):
        links = " ".join(f'"{address}{name}"' for name in names)
        curl = f"curl -f -C - --remote-name-all {links}"
        lines += f"<p>With curl, which Windows and macOS have:</p>{_command(curl)}"
    return f"<h2>All files at once</h2><p>In a terminal. The same line goes on where it broke off.</p>{lines}"


def _command(line: str) -> str:
    return f'<pre tabindex="0"><code>{markup.escape(line, quote=False)}</code></pre>'


def _is_plain(name: str) -> bool:
    """Whether a name is the same in a URL, in a shell and in a folder."""
    return name.isascii() and name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum()


_CHECKING: Final = (
    "<h2>Is a file complete?</h2><p>Then its SHA-256 is the one above. These show it: "
    "<code>sha256sum FILE</code> (Linux), <code>shasum -a 256 FILE</code> (macOS), "
    "<code>certutil -hashfile FILE SHA256</code> (Windows).</p>"
)


def _later(address: str) -> str:
    """Where a customer finds a fresh link. address: of the index."""
    scheme, _, rest = address.partition("://")
    portal = f"{scheme}://{rest.partition('/')[0]}{PORTAL}" if rest else PORTAL
    return (
        "<h2>When this link works no more</h2><p>A fresh one is among your purchases. They are found with "
        f"the e-mail address that you bought with: <code>{markup.escape(portal)}</code></p>"
    )


def _text(text: str) -> str:
    return markup.escape(shown(composed(text)))
