"""The media type for the extension of a file's name: what shops sell, and what usually comes with it.

This is a table of our own, because Python's `mimetypes` reads files of the machine and changes between
versions. It also names the type inside a compressed file (a tar for `a.tar.gz`), but we need the type of the
bytes that are sent.
"""

from __future__ import annotations

from typing import Final

DEFAULT_TYPE: Final = "application/octet-stream"

_ROWS: Final[tuple[tuple[str, str], ...]] = (
    # archives and disk images
    ("application/zip", "zip"),
    ("application/gzip", "gz tgz"),
    ("application/x-bzip2", "bz2 tbz2"),
    ("application/x-xz", "xz txz"),
    ("application/zstd", "zst"),
    ("application/x-7z-compressed", "7z"),
    ("application/vnd.rar", "rar"),
    ("application/x-tar", "tar"),
    ("application/x-iso9660-image", "iso"),
    ("application/x-apple-diskimage", "dmg"),
    # programs and packages
    ("application/vnd.microsoft.portable-executable", "exe dll"),
    ("application/x-msi", "msi"),
    ("application/vnd.debian.binary-package", "deb"),
    ("application/x-rpm", "rpm"),
    ("application/vnd.android.package-archive", "apk"),
    ("application/java-archive", "jar"),
    ("application/wasm", "wasm"),
    # sound
    ("audio/wav", "wav"),
    ("audio/aiff", "aif aiff"),
    ("audio/flac", "flac"),
    ("audio/mpeg", "mp3"),
    ("audio/mp4", "m4a m4b"),
    ("audio/aac", "aac"),
    ("audio/ogg", "ogg oga opus"),
    ("audio/midi", "mid midi"),
    # pictures and fonts
    ("image/png", "png"),
    ("image/jpeg", "jpg jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/heic", "heic"),
    ("image/tiff", "tif tiff"),
    ("image/bmp", "bmp"),
    ("image/svg+xml", "svg"),
    ("image/vnd.microsoft.icon", "ico"),
    ("image/vnd.adobe.photoshop", "psd"),
    ("font/otf", "otf"),
    ("font/ttf", "ttf"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("model/gltf-binary", "glb"),
    ("model/gltf+json", "gltf"),
    ("model/stl", "stl"),
    # film
    ("video/mp4", "mp4 m4v"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
    ("video/matroska", "mkv"),
    ("video/x-msvideo", "avi"),
    ("video/mpeg", "mpg mpeg"),
    # documents and data
    ("application/pdf", "pdf"),
    ("application/epub+zip", "epub"),
    ("application/rtf", "rtf"),
    ("application/json", "json"),
    ("application/xml", "xml"),
    ("application/yaml", "yaml yml"),
    ("application/vnd.sqlite3", "sqlite sqlite3"),
    ("application/vnd.apache.parquet", "parquet"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("text/plain", "txt log nfo"),
    ("text/markdown", "md"),
    ("text/csv", "csv"),
    ("text/html", "html htm"),
    ("text/css", "css"),
    ("text/javascript", "js mjs"),
)

MEDIA_TYPES: Final[dict[str, str]] = {
    extension: media_type for media_type, extensions in _ROWS for extension in extensions.split()
}
"""The media type for each extension, in lower case and without its dot."""
