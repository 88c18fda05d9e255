"""Both journals of ours keep what every journal does: the one in memory and the one in SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from longshore.hookspecs import Journal
from longshore.testing import JournalConformance, MemoryJournal
from longshore_sqlite import SqliteJournal


class TestMemoryJournal(JournalConformance):
    @pytest.fixture
    def make_journal(self) -> Callable[[], Journal]:
        kept = MemoryJournal()
        return lambda: MemoryJournal(on=kept)


class TestSqliteJournal(JournalConformance):
    @pytest.fixture
    def make_journal(self, tmp_path: Path) -> Callable[[], Journal]:
        settings = SqliteJournal.Settings(path=str(tmp_path / "runs"))
        return lambda: SqliteJournal(settings)
