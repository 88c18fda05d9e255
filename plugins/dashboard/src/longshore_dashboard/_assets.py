"""The page's own files: read once at the start from the package's folder `static`, and served from this dict alone."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from msgspec import Struct

PACKED_FROM_BYTES = 1024
"""What is smaller is sent as it is."""
INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_OTHER = "text/plain; charset=utf-8"
_PACKED = ("text/", "application/json", "image/svg")


class Asset(Struct, frozen=True, kw_only=True):
    """One file, as it is sent."""

    body: bytes
    packed: bytes | None
    """The same by gzip, where that is worth it."""
    media_type: str


class Assets:
    """All files by name, such as "app.js" or "vendor/uplot.js", and the page that refers to them.

    `version` is a hash over all of them. The page may refer to a file as `"assets/NAME"`: it is sent with
    `"assets/VERSION/NAME"` there, under which a browser may keep it for good. Files name each other by relative paths.
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        """Take the files in; KeyError where there is no `index.html`."""
        told = hashlib.sha256()
        for name in sorted(contents):
            told.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(contents[name]).digest())
        self.version = told.hexdigest()[:16]
        page = contents[INDEX].replace(b'"assets/', f'"assets/{self.version}/'.encode())
        self.index = _asset(INDEX, page)
        self._files = {name: _asset(name, body) for name, body in contents.items() if name != INDEX}

    def find(self, name: str) -> tuple[Asset, bool] | None:
        """Return the file that a path below `assets/` means, and whether it may be kept for good."""
        version, _, rest = name.partition("/")
        lasting = version == self.version
        found = self._files.get(rest if lasting else name)
        return None if found is None else (found, lasting)


def read_assets() -> Assets:
    """Return what is in the package's folder `static`."""
    return Assets(dict(_walk(files("longshore_dashboard") / "static", "")))


def _walk(folder: Traversable, before: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{before}{entry.name}/")
        else:
            yield f"{before}{entry.name}", entry.read_bytes()


def _asset(name: str, body: bytes) -> Asset:
    _, dot, ending = name.rpartition(".")
    media_type = _TYPES.get(f".{ending.lower()}", _OTHER) if dot else _OTHER
    worth = len(body) >= PACKED_FROM_BYTES and media_type.startswith(_PACKED)
    return Asset(body=body, packed=gzip.compress(body, 9, mtime=0) if worth else None, media_type=media_type)
