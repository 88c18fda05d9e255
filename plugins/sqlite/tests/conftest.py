"""What the tests of the SQLite journal share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore.records import CommitBatch, RunOpening, Settled, TaskKind
from longshore.task import Outcome, TaskState
from longshore_sqlite import SqliteJournal

KIND = TaskKind(name="work", function="module.work", version="1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the runs are kept."""
    return tmp_path / "runs"


@pytest.fixture
def journal_of(root: Path) -> Callable[..., SqliteJournal]:
    """Return what makes a journal there, with settings."""

    def make(**settings: Any) -> SqliteJournal:  # Any: each setting's own type
        return SqliteJournal(SqliteJournal.Settings(**{"path": str(root), **settings}))

    return make


@pytest.fixture
def opening() -> Callable[..., RunOpening]:
    """Return what says that a run begins, or goes on."""

    def make(run_id: str = "run", *, resume: bool = False) -> RunOpening:
        return RunOpening(run_id=run_id, at=1000.0, resume=resume, pid=1)

    return make


@pytest.fixture
def batch() -> Callable[..., CommitBatch]:
    """Return what makes a batch of tasks that completed with these values, by their ids."""

    def make(values: dict[str, Any], **parts: Any) -> CommitBatch:  # Any: results, and the parts of a batch
        outcomes: Sequence[Outcome] = [
            Outcome(name, None, index, "work", TaskState.COMPLETED, value)
            for index, (name, value) in enumerate(values.items())
        ]
        settled = [Settled(KIND, outcomes, [f"of {name}" for name in values])] if outcomes else []
        return CommitBatch(run_id="run", at=1001.0, settled=settled, **parts)

    return make
