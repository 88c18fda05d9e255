"""URLs of objects, such as s3://bucket/a.pdf: what they name, what must not stand in one, and where they lead.

In: a URL. Out: the file system of fsspec that has it, and the facts by which an object is known again. Called by the
command line, by workers that fetch an object, and by tasks that write one. fsspec is imported with the first object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct

from longshore._plain import line
from longshore.errors import DocumentError

INSTALL: Final = "pip install 'longshore-core[fsspec]'"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)")  # two letters at least: C:// is a drive of Windows
_SECRET_KEYS: Final = re.compile(
    r"(?i)[?&#;](?:x-(?:amz|goog)-[^=&]*|[^=&]*(?:token|secret|passw|signature|credential|api-?_?key|accesskey)"
    r"[^=&]*|sig|key|auth|pwd)="
)
_TAGS: Final = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "checksum", "crc32c", "sha", "generation")
_TIMES: Final = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")
_TAG_MOST: Final = 100


class FileSystem(Protocol):
    """What is used of a file system of fsspec."""

    def _strip_protocol(self, path: str) -> str: ...
    def invalidate_cache(self) -> None: ...
    def info(self, path: str) -> Mapping[str, Any]: ...  # Any: as each store has it
    def find(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, Any]]: ...
    def glob(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, Any]]: ...
    def get_file(self, rpath: str, lpath: str, *, callback: Any) -> None: ...
    def put_file(self, lpath: str, rpath: str) -> None: ...


class Place(NamedTuple):
    """Where a URL leads: a file system, and the object's path there."""

    system: FileSystem
    path: str


class ObjectFacts(Struct, frozen=True):
    """By what an object is known again: its size in bytes, and the store's mark of what it holds, with its name."""

    size: int = -1
    """-1 where the store does not tell."""
    tag: str | None = None
    """Such as `ETag:"9b…"`, or a time where there is no mark; None where the store tells neither."""

    @classmethod
    def of(cls, info: Mapping[str, Any], like: str | None = None) -> ObjectFacts:  # Any: as each store has it
        """Take the facts from what a file system says; the mark is of the same kind as `like`, where that is given."""
        size = info.get("size")
        names = (like.partition(":")[0],) if like is not None else (*_TAGS, *_TIMES)
        tag = next((f"{name}:{_text(info[name])}" for name in names if info.get(name) not in (None, "")), None)
        if tag is not None and (len(tag) > _TAG_MOST or not tag.isascii()):
            name, _, value = tag.partition(":")
            tag = f"{name}:{blake2b(value.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
        return cls(size if isinstance(size, int) and size >= 0 else -1, tag)


def _text(mark: Any) -> str:  # Any: as each store has it: some tell times as text here and as times there
    return str(mark.timestamp() if hasattr(mark, "timestamp") else mark)


def is_url(text: str) -> bool:
    """Tell whether a name is a URL, and not the path of a file."""
    return "://" in text and _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """Return the scheme, in lower case."""
    found = _URL.match(url)
    return found[1].lower() if found is not None else ""


def told(url: str) -> str:
    """Return the URL as it may be shown: without a user, a password, a query or a fragment."""
    found = _URL.match(url)
    place = found[2].rpartition("@")[2] if found is not None else ""
    rest = re.split(r"[?#]", url[found.end() :], maxsplit=1)[0] if found is not None else url
    return line(f"{scheme_of(url)}://{re.split(r'[?#]', place, maxsplit=1)[0]}{rest}")


def check_url(url: str) -> None:
    """Raise ValueError for a URL with a secret in it: names of inputs are recorded, told and logged."""
    found = _URL.match(url)
    if found is not None and ":" in found[2].rpartition("@")[0]:
        raise ValueError(
            f"a user and a password stand in the URL of {told(url)}, and would be recorded: give them by the "
            "environment, or in fsspec's configuration"
        )
    if _SECRET_KEYS.search(url):
        raise ValueError(
            f"what looks like a secret stands in the query of {told(url)}, and would be recorded: fetch it first, or "
            "use the store's own scheme, such as s3://, with credentials from the environment"
        )


def local_path(url: str) -> str | None:
    """Return the path that a file:// URL names, percent signs decoded; None for another. ValueError: another host."""
    if scheme_of(url) != "file":
        return None
    if _URL.match(url)[2].lower() not in ("", "localhost"):  # type: ignore[index]  # it has a scheme, so it matches
        raise ValueError(f"a file:// URL names a file of this machine, as in file:///home/a.pdf: {line(url)}")
    from urllib.parse import unquote  # workers import this module, and mostly need no URL

    path = unquote("/" + url.partition("://")[2].partition("/")[2], errors="surrogateescape")
    return path.lstrip("/") if os.name == "nt" else path


def name_in(url: str) -> str:
    """Return the last part of the name, without a query where the web's schemes have one; may be anything."""
    path = re.split(r"[?#]", url, maxsplit=1)[0] if scheme_of(url) in ("http", "https") else url
    return path.rstrip("/").rpartition("/")[2]


def open_place(url: str) -> Place:
    """Return where a URL leads; ValueError where what reads such is not installed, or nothing does."""
    scheme = scheme_of(url)
    try:
        import fsspec  # an extra, and slow to import
    except ImportError as error:
        raise ValueError(f"to use {scheme}:// install the library that does it: {INSTALL}") from error
    try:
        kind = fsspec.get_filesystem_class(scheme)
        system: FileSystem = fsspec.filesystem(scheme, **kind._get_kwargs_from_urls(url))
    except (ImportError, ValueError, TypeError) as error:
        raise ValueError(f"{scheme}:// can't be used: {line(str(error))}") from error
    return Place(system, kind._strip_protocol(url))


def url_of(asked: str, name: str) -> str | None:
    """Return the URL of an object that a listing of `asked` has by this name; None where none leads back to it."""
    import fsspec  # there, as something was listed

    scheme, found = scheme_of(asked), _URL.match(asked)
    host = found[2] if found is not None else ""
    kind = fsspec.get_filesystem_class(scheme)
    wanted = kind._get_kwargs_from_urls(asked)
    inner = name.lstrip("/").partition("/")[2]
    for url in (f"{scheme}://{name}", f"{scheme}://{host}/{name.lstrip('/')}", f"{scheme}://{host}/{inner}"):
        if kind._strip_protocol(url) == name and kind._get_kwargs_from_urls(url) == wanted:
            return url
    return None


def reason_of(error: BaseException) -> str | None:
    """Return `missing` or `denied` for what no second try mends; None for all else.

    fsspec says of files of the web that they are not found whatever went wrong: there the cause tells.
    """
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and type(cause).__module__.startswith("aiohttp"):
        return reason_of(cause)
    if isinstance(error, FileNotFoundError) and isinstance(cause, ConnectionError | TimeoutError):
        return None
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return "missing"
    if isinstance(error, PermissionError) or type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
        return "denied"
    return {401: "denied", 403: "denied", 404: "missing", 410: "missing"}.get(getattr(error, "status", 0))


def untold(error: BaseException) -> BaseException:
    """Return what went wrong where fsspec says, of a file of the web, that it is not found; else the error itself."""
    masked = isinstance(error, FileNotFoundError) and error.__cause__ is not None and reason_of(error) is None
    return (error.__cause__ or error) if masked else error


def refused(url: str, error: BaseException) -> DocumentError | None:
    """Return what is raised in place of an error that no second try mends; None for all else."""
    reason = reason_of(error)
    if reason is None:
        return None
    why = "there is no such object, or no such bucket" if reason == "missing" else "access is denied"
    return DocumentError(f"{told(url)}: {why}", reason=reason)


def facts_now(url: str, like: str | None = None) -> ObjectFacts:
    """Ask the store for an object's facts; FileNotFoundError if it is gone, and what else the store raises."""
    system, path = open_place(url)
    system.invalidate_cache()
    info = system.info(path)
    if info.get("type") == "directory":
        raise FileNotFoundError(os.strerror(2))
    return ObjectFacts.of(info, like)
