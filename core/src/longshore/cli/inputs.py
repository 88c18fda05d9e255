"""What a command line means by its inputs: files, folders, patterns, URLs and names on stdin, as one list of names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from glob import glob, has_magic
from typing import BinaryIO, NamedTuple

from longshore._objects import ObjectFacts, is_url, local_path
from longshore.cli.console import DASH, UsageError
from longshore.cli.guard import is_lock
from longshore.cli.objects import NoObject, find_objects


class Inputs(NamedTuple):
    """What was found: the files; names from stdin that are none, with the reason; how many links led nowhere."""

    paths: list[str]
    """Of files the path, of objects the URL."""
    unusable: dict[str, str]
    dangling: int
    objects: Mapping[str, ObjectFacts]
    """What the stores say of those of `paths` that are URLs."""


class _Unusable(UsageError):
    """An argument that names no input; `reason` in a word or two."""

    def __init__(self, text: str, reason: str = "missing") -> None:
        super().__init__(text)
        self.reason = reason


def import_from_here() -> None:
    """Let the user's own modules be imported, which are in the current folder if anywhere; it may have been deleted."""
    with suppress(OSError):
        sys.path.insert(0, os.getcwd())


def expand(arguments: Sequence[str], stdin: Callable[[], BinaryIO], output: str | None = None) -> Inputs:
    """Return each input's path once, in the order given, the files of a folder sorted.

    A folder means every regular file below it; links to folders below it are not followed, so that a circle of links
    does no harm, and links that lead nowhere are counted. `output` is left out where a folder or a pattern holds it,
    and so are lock files of any output.
    A URL means an object, all below a prefix, or what matches a pattern, sorted as well; file:// means the path.
    UsageError names all arguments that are missing; of the names from stdin those are set apart, for one file that went
    away since they were listed is no reason to refuse all others.
    """
    search = _Search(output)
    problems: list[str] = []
    for argument, listed in _with_stdin(arguments, stdin):
        try:
            search.take(argument)
        except (_Unusable, NoObject) as unusable:
            if listed:
                search.unusable[argument] = unusable.reason
            else:
                problems.append(str(unusable))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        shown = problems[:20]
        more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        raise UsageError(
            "\n  ".join(["some inputs cannot be used:", *shown, *more]) if len(problems) > 1 else problems[0]
        )
    return Inputs(list(search.paths), search.unusable, len(search.dangling), search.objects)


def names_on_stdin() -> BinaryIO:
    """Return what names come from where "-" is given; UsageError if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("the names of inputs are to come from stdin, but it is closed")
    return sys.stdin.buffer


def _with_stdin(arguments: Iterable[str], stdin: Callable[[], BinaryIO]) -> Iterator[tuple[str, bool]]:
    """Yield each argument, and whether it was listed on stdin."""
    for argument in arguments:
        if argument != DASH:
            yield argument, False
            continue
        for raw in stdin():
            name = os.fsdecode(raw.rstrip(b"\r\n"))
            if name:
                yield name, True


class _Search:
    """Gathers what arguments mean."""

    def __init__(self, output: str | None) -> None:
        self._kept = _identity(output) if output is not None else None
        self.paths: dict[str, None] = {}
        self.unusable: dict[str, str] = {}
        self.dangling: set[str] = set()
        self.objects: dict[str, ObjectFacts] = {}

    def take(self, argument: str) -> None:
        """Add what one argument means; UsageError, and nothing added, if it means nothing."""
        own = _path_of(argument) if is_url(argument) else argument
        if own is not None:
            self.paths.update(dict.fromkeys(list(self._expand(own))))
            return
        found = dict(find_objects(argument))
        self.objects.update(found)
        self.paths.update(dict.fromkeys(found))

    def _expand(self, argument: str) -> Iterator[str]:
        if os.path.isdir(argument):
            yield from (path for path in self._files(argument) if self._kept is None or _identity(path) != self._kept)
        elif os.path.isfile(argument):
            if self._kept is not None and _identity(argument) == self._kept:
                raise UsageError(f"the output would be written over this input: {argument}")
            yield argument
        elif os.path.exists(argument):
            raise _Unusable(f"no regular file or folder: {argument}", "no regular file")
        elif os.path.lexists(argument):
            raise _Unusable(f"a link that leads nowhere: {argument}")
        elif has_magic(argument):
            yield from self._matching(argument)
        else:
            raise _Unusable(f"no such file or folder: {argument}")

    def _matching(self, pattern: str) -> Iterator[str]:
        found = sorted(glob(pattern, recursive=True))
        if not found:
            raise _Unusable(f"nothing matches: {pattern}")
        for path in found:
            if self._kept is None or _identity(path) != self._kept:
                yield from self._expand(path)

    def _files(self, folder: str) -> list[str]:
        def refuse(error: OSError) -> None:
            raise UsageError(f"cannot be listed: {error.filename}: {error.strerror}")

        walked = os.walk(folder, onerror=refuse)
        paths = [os.path.join(place, name) for place, _, names in walked for name in names if not is_lock(name)]
        self.dangling.update(path for path in paths if not os.path.exists(path))
        return sorted(path for path in paths if os.path.isfile(path))


def _path_of(url: str) -> str | None:
    try:
        return local_path(url)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
