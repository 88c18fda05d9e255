"""What a command line means by its inputs: files, folders, patterns and names on stdin, as one list of paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO

from longshore.cli.console import DASH, UsageError
from longshore.cli.options import Order


def expand(arguments: Sequence[str], stdin: Callable[[], BinaryIO], output: str | None = None) -> list[str]:
    """Return each input's path once, in the order given, the files of a folder sorted.

    A folder means every regular file below it; links to folders below it are not followed, so that a circle of links
    does no harm. `output` is left out where a folder or a pattern holds it. UsageError names all that is missing.
    """
    kept = _identity(output) if output is not None else None
    paths: dict[str, None] = {}
    problems: list[str] = []
    for argument in _with_stdin(arguments, stdin):
        try:
            paths.update(dict.fromkeys(_expand(argument, kept)))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        shown = problems[:20]
        more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        raise UsageError(
            "\n  ".join(["some inputs cannot be used:", *shown, *more]) if len(problems) > 1 else problems[0]
        )
    return list(paths)


def ordered(paths: Sequence[str], order: Order) -> list[str]:
    """Return the paths in the order they are to be begun; what has no size comes last."""
    return sorted(paths, key=_size, reverse=True) if order == "largest-first" else list(paths)


def _with_stdin(arguments: Iterable[str], stdin: Callable[[], BinaryIO]) -> Iterator[str]:
    for argument in arguments:
        if argument != DASH:
            yield argument
            continue
        for raw in stdin():
            name = os.fsdecode(raw.rstrip(b"\r\n"))
            if name:
                yield name


def _expand(argument: str, kept: tuple[int, int] | None) -> Iterator[str]:
    if os.path.isdir(argument):
        yield from (path for path in _files(argument) if kept is None or _identity(path) != kept)
    elif os.path.isfile(argument):
        if kept is not None and _identity(argument) == kept:
            raise UsageError(f"the output would be written over this input: {argument}")
        yield argument
    elif os.path.lexists(argument):
        raise UsageError(f"no regular file or folder: {argument}")
    elif has_magic(argument):
        found = sorted(glob(argument, recursive=True))
        if not found:
            raise UsageError(f"nothing matches: {argument}")
        for path in found:
            if kept is None or _identity(path) != kept:
                yield from _expand(path, kept)
    else:
        raise UsageError(f"no such file or folder: {argument}")


def _files(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot be listed: {error.filename}: {error.strerror}")

    walked = os.walk(folder, onerror=refuse)
    paths = (os.path.join(place, name) for place, _, names in walked for name in names)
    return sorted(path for path in paths if os.path.isfile(path))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1
