"""Lists of a version's files that programs read. Pure.

| form | for | source |
| --- | --- | --- |
| SHA256SUMS | `sha256sum --check` | GNU coreutils manual, "md5sum invocation": how names are escaped |
| aria2 | `aria2c --input-file` | aria2 manual, "Input File" |
| Metalink 4 | aria2, DownThemAll, JDownloader and others | RFC 5854 |

Names of files come from whoever published them. They are written so that none can begin another line, another
option or another element; names that leave the folder are not in a manifest (`products/validation.py`), and a
leading slash is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from xml.sax.saxutils import escape

from gateway.http.file_names import download_name
from gateway.manifest import Manifest, composed

METALINK_TYPE: Final = "application/metalink4+xml"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_XML: Final = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) cannot have, in any spelling."""

Address = Callable[[str], str]
"""Makes the URL of a file of its name."""


def sha256sums(manifest: Manifest) -> str:
    """The digests of all files, as `sha256sum` writes them."""
    return "".join(_sum(file.sha256, composed(file.name)) for file in manifest.files)


def _sum(digest: str, name: str) -> str:
    name = name.lstrip("/")
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def aria2_input(manifest: Manifest, address: Address) -> str:
    """All files for aria2: each with its URL, name and digest. A broken download goes on."""
    return "".join(
        f"{address(file.name)}\n  out={local_path(file.name)}\n"
        f"  checksum=sha-256={file.sha256}\n  continue=true\n"
        for file in manifest.files
    )


def metalink(manifest: Manifest, address: Address) -> str:
    """All files as a Metalink document (RFC 5854): each with its size, its digest and its URL."""
    files = "".join(
        f'  <file name="{_attribute(local_path(file.name))}">\n'
        f"    <size>{file.size}</size>\n"
        f'    <hash type="sha-256">{file.sha256}</hash>\n'
        f"    <url>{_text(address(file.name))}</url>\n"
        "  </file>\n"
        for file in manifest.files
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n{files}</metalink>\n'
    )


def local_path(name: str) -> str:
    """A file's name with its folders, as a program may write it below the current folder."""
    parts = [_CONTROL.sub("_", part) for part in composed(name).replace("\\", "_").split("/") if part]
    return "/".join([*parts[:-1], download_name(parts[-1])]) if parts else download_name(name)


def list_name(manifest: Manifest, ending: str) -> str:
    """The name under which a list is saved. ending: with its dot."""
    return f"{manifest.product}-{manifest.version}{ending}"


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("_", text))


def _attribute(text: str) -> str:
    return escape(_NOT_XML.sub("_", text), {'"': "&quot;"})
