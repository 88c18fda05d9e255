"""A journal that keeps its contract, in memory, by the folder of a test; what is wrong with others is said on top."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from longshore.hookspecs import hookimpl
from longshore.testing import MemoryJournal
from longshore.testing.journal import MemoryArchive

_KEPT: dict[Path, MemoryJournal] = {}  # what was recorded, by the folder of a test


class GoodJournal(MemoryJournal):
    """Finds what the one before it kept."""

    reader: Callable[[Any], MemoryArchive] = MemoryArchive

    def __init__(self, folder: Path) -> None:
        super().__init__(on=_KEPT.setdefault(folder, MemoryJournal()))

    @hookimpl
    def archive(self) -> MemoryArchive:
        return type(self).reader(self._runs)


def misread(reader: type[MemoryArchive]) -> type[GoodJournal]:
    """Return a journal with an archive that is wrong, and says itself what is wrong with it."""
    return type(f"With{reader.__name__}", (GoodJournal,), {"reader": reader, "__doc__": reader.__doc__})
