"""Journals that break one promise each. They keep what they are given in memory, by the folder of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from longshore.errors import JournalError
from longshore.hookspecs import hookimpl
from longshore.records import Recalled, RunOpening
from longshore.testing import JournalConformance, MemoryJournal

SUITE: Final = JournalConformance
_KEPT: dict[Path, Any] = {}  # what was recorded, by the folder of a test


class GoodJournal(MemoryJournal):
    """Finds what the one before it kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._runs = _KEPT.setdefault(folder, self._runs)


GOOD: Final = GoodJournal


class WithoutArchive(GoodJournal):
    """its `archive` is not marked with @hookimpl"""

    def archive(self) -> Any:
        return super().archive()


class OfTheFuture(GoodJournal):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(GoodJournal):
    """starts its writer thread when it is made"""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


class Complaisant(GoodJournal):
    """begins a run that it is to go on with and does not have"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        try:
            return super().open(run)
        except JournalError:
            return Recalled()


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": WithoutArchive,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_an_unknown_run_can_not_go_on": Complaisant,
}
