"""What a URL on the command line means: one object, all below a prefix, or a pattern; and whether objects have changed.

In: URLs. Out: the URL of each object with its facts, sorted. A listing is held as fsspec gives it until its names are
taken, 1 to 2 KB an object; then a name, a size and a mark of each.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
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
    if isinstance(found, ObjectFacts):
        yield url, found
        return
    lost = 0
    for name in sorted(found):
        if found[name].get("type") != "file" or name.endswith("/") or name.rstrip("/") == place.path.rstrip("/"):
            continue  # folders, and what marks one in a store that has none
        own = url_of(url, name)
        if own is None:
            lost += 1
        else:
            yield own, ObjectFacts.of(found[name])
    if lost:
        say(f"note: {lost} objects below {told(url)} have names that can't be asked for by a URL: passed over")


def _found(url: str, place: Place) -> ObjectFacts | Mapping[str, Mapping[str, Any]]:  # Any: as each store has it
    system, path = place
    if scheme_of(url) in _NO_LISTING:
        if url.endswith("/"):
            raise UsageError(
                f"a page is no listing of files: name each file of {told(url)}, or give the names on stdin"
            )
        return ObjectFacts.of(system.info(path))
    if url.endswith("/") and not has_magic(path):
        return system.find(path, detail=True) or _folder(system.info(path))
    try:
        info = system.info(path)
    except FileNotFoundError:
        if not has_magic(path):
            raise
        return _matching(url, place)
    return system.find(path, detail=True) if info.get("type") == "directory" else ObjectFacts.of(info)


def _folder(info: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:  # Any: as each store has it
    """Return what an empty folder has; FileNotFoundError for an object that was asked for as one."""
    if info.get("type") != "directory":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return {}


def _matching(url: str, place: Place) -> Mapping[str, Mapping[str, Any]]:  # Any: as each store has it
    """Return what matches a pattern, and what is below folders that do."""
    found: dict[str, Mapping[str, Any]] = {}
    within = None
    for name, info in sorted(place.system.glob(place.path, detail=True).items()):
        if info.get("type") != "directory":
            found[name] = info
        elif within is None or not name.startswith(within):
            found |= place.system.find(name, detail=True)
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
