"""What a URL on the command line means: one object, all below a prefix, or a pattern; and whether objects have changed.

In: URLs. Out: the URL of each object with its facts, sorted, and so not before the listing has ended. Of an object a
name, a size and a mark are kept. What a store tells beside that, 1 to 2 KB an object, is held for one page of the
listing where the file system gives pages, and else until the listing has ended.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from glob import has_magic
from typing import Any, Final, Literal, NamedTuple

from longshore._objects import (
    ObjectFacts,
    Place,
    check_url,
    facts_now,
    is_url,
    local_path,
    open_place,
    reason_of,
    scheme_of,
    told,
    untold,
    url_of,
)
from longshore.cli.console import UsageError, line, say

AT_ONCE: Final = 16
"""So many objects are asked about at once as a run goes on."""
PAGE: Final = 1000
"""So many objects are taken from a listing at a time."""
Change = Literal["same", "changed", "gone", "untold"]
_NO_LISTING: Final = ("http", "https")  # a page of links is no listing: it may lead anywhere


class NoObject(UsageError):
    """A URL that leads to no object; `reason` in a word."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def find_objects(url: str) -> Iterator[tuple[str, ObjectFacts]]:
    """Yield what a URL means, sorted; NoObject where that is nothing, UsageError where it can't be asked for."""
    try:
        check_url(url)
        place = open_place(url)
        place.system.invalidate_cache()
        found = _found(url, place)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except UsageError:
        raise
    except Exception as error:
        raise _no_object(url, error) from error
    place.system.invalidate_cache()  # it would keep the whole listing for as long as the run lasts
    if isinstance(found, ObjectFacts):
        yield url, found
        return
    lost = 0
    for name in sorted(found):
        own = url_of(url, name)
        if own is None:
            lost += 1
        else:
            yield own, found[name]
    if lost:
        say(f"note: {lost} objects below {told(url)} have names that can't be asked for by a URL: passed over")


def _found(url: str, place: Place) -> ObjectFacts | Mapping[str, ObjectFacts]:
    system, path = place
    if scheme_of(url) in _NO_LISTING:
        if url.endswith("/"):
            raise UsageError(
                f"a page is no listing of files: name each file of {told(url)}, or give the names on stdin"
            )
        return ObjectFacts.of(system.info(path))
    if url.endswith("/") and not has_magic(path):
        return _below(place) or _folder(system.info(path))
    try:
        info = system.info(path)
    except FileNotFoundError:
        if not has_magic(path):
            raise
        return _matching(url, place)
    return _below(place) if info.get("type") == "directory" else ObjectFacts.of(info)


def _below(place: Place) -> dict[str, ObjectFacts]:
    """Return what is below a prefix."""
    system, path = place
    if hasattr(system, "_iterdir"):
        try:
            return _taken(_pages(system, path), path)
        except Exception:  # noqa: BLE001 - what was wrong `find` says in words that all file systems share
            system.invalidate_cache()
    return _taken(system.find(path, detail=True).items(), path)


def _pages(system: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:  # Any: s3fs, which carries no types
    """Yield what is below a prefix, page by page: s3fs has an iterator for that, which its `find` makes a list of."""
    from fsspec.asyn import sync  # there, as it is one of its file systems

    async def page(listing: AsyncIterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        taken = []
        async for info in listing:
            taken.append(info)
            if len(taken) == PAGE:
                break
        return taken

    bucket, key, _ = system.split_path(path)
    listing = system._iterdir(bucket, delimiter="", prefix=f"{key.strip('/')}/" if key.strip("/") else "")
    while infos := sync(system.loop, page, listing):
        yield from ((info["name"], info) for info in infos)


def _taken(
    found: Iterable[tuple[str, Mapping[str, Any]]],
    path: str,  # Any: as each store has it
) -> dict[str, ObjectFacts]:
    """Keep the facts of objects: not of folders, nor of what marks one in a store that has none."""
    return {
        name: ObjectFacts.of(info)
        for name, info in found
        if info.get("type") == "file" and not name.endswith("/") and name.rstrip("/") != path.rstrip("/")
    }


def _folder(info: Mapping[str, Any]) -> dict[str, ObjectFacts]:  # Any: as each store has it
    """Return what an empty folder has; FileNotFoundError for an object that was asked for as one."""
    if info.get("type") != "directory":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return {}


def _matching(url: str, place: Place) -> dict[str, ObjectFacts]:
    """Return what matches a pattern, and what is below folders that do; NoObject where nothing does."""
    matches = place.system.glob(place.path, detail=True)
    found = _taken(matches.items(), place.path)
    within = None
    for name in sorted(name for name, info in matches.items() if info.get("type") == "directory"):
        if within is None or not name.startswith(within):
            found |= _below(Place(place.system, name))
            within = name.rstrip("/") + "/"
    if not found:
        raise NoObject(f"nothing matches: {told(url)}", "missing")
    return found


def _no_object(url: str, error: Exception) -> UsageError:
    reason = reason_of(error)
    if reason == "missing":
        return NoObject(f"no such object, prefix or bucket: {told(url)}", reason)
    if reason == "denied":
        return NoObject(f"access is denied: {told(url)}: {type(error).__name__}", reason)
    cause = untold(error)
    return UsageError(f"{told(url)} can't be asked for: {type(cause).__name__}: {line(str(cause))}")


def path_of_output(path: str | None) -> str | None:
    """Return the path of a file of results; UsageError for an object: there is none that a line can be appended to."""
    if path is None or not is_url(path):
        return path
    try:
        own = local_path(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if own is not None:
        return own
    raise UsageError(
        f"results can't go to {told(path)}: a line is written as its input ends, and nothing can be appended to an "
        "object. Write them to a file, as -o out.jsonl, and copy that when the run has ended"
    )


class Now(NamedTuple):
    """What has become of an object."""

    change: Change
    facts: ObjectFacts | None
    """None where the store does not say, or has none."""


def objects_now(known: Mapping[str, ObjectFacts]) -> dict[str, Now]:
    """Ask the stores what has become of objects, some at once."""
    if not known:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(known)), "longshore-objects") as threads:
        return dict(zip(known, threads.map(_now, known.items()), strict=True))


def _now(known: tuple[str, ObjectFacts]) -> Now:
    url, then = known
    try:
        now = facts_now(url, then.tag)
    except Exception as error:  # noqa: BLE001 - each store has errors of its own
        return Now("gone" if reason_of(error) == "missing" else "untold", None)
    if -1 not in (then.size, now.size) and then.size != now.size:
        change: Change = "changed"
    elif None in (then.tag, now.tag):
        change = "untold"
    else:
        change = "same" if now.tag == then.tag else "changed"
    return Now(change, now)


def place_of(folder: str, name: str) -> str:
    """Return by what an input is the same from any folder: its whole path, or its URL."""
    return name if is_url(name) else os.path.normpath(os.path.join(folder, name))
