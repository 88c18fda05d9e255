"""What was told of, what ran, and what is recorded, held against each other over all the lives of a run."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from suite.lives import Plan, digest, expected
from suite.trial import Trial

_WIDTH = 4


class Run(NamedTuple):
    """One execution, as the task wrote it down."""

    item: Any
    task_id: str
    attempt: str


class Ledger:
    """Reads what the lives of one run have written, as far as it was not read yet."""

    def __init__(self, trial: Trial, plan: Plan) -> None:
        """Begin with nothing read."""
        self.trial, self.plan = trial, plan
        self.began: list[Run] = []
        self._running: set[Run] = set()
        self._at: dict[str, int] = {}
        self._told: dict[int, tuple[str, Any]] = {}
        self.allowed = 0
        """How many executions the kills so far may have made in vain."""

    def after_life(self, *, killed: bool = True) -> int:
        """Take in a life that has ended; return how many outcomes were told in it for the first time."""
        fresh = self._take_audit()
        new = self._take_told()
        if not killed:
            return new
        recorded = {index for index, *_ in self.recorded("idx")}
        known = {json.dumps(item): index for index, item in enumerate(self.plan.inputs)}
        vain = [run for run in fresh if known[run.item] not in recorded]
        self.allowed += len(vain)
        running = sum(run in self._running for run in vain)
        self.trial.add("running_at_kills", running)
        self.trial.add("ended_uncommitted", len(vain) - running)
        self._running.clear()
        return new

    def at_end(self) -> None:
        """Judge the run once its last life has ended by itself."""
        trial, inputs = self.trial, self.plan.inputs
        trial.add("tasks", len(inputs))
        trial.add("lost", len(inputs) - len(self._told))
        wrong = [
            index
            for index, (state, value) in self._told.items()
            if state == "completed" and value != digest(expected(inputs[index], self.plan.text))
        ]
        trial.add("bystanders", len(wrong))
        rows = Counter(index for index, *_ in self.recorded("idx"))
        trial.add("recorded_twice", sum(count - 1 for count in rows.values()))
        trial.add("unrecorded", len(inputs) - len(rows))
        trial.expect(len(rows) == len(inputs), f"{len(rows)} of {len(inputs)} tasks have a recorded outcome")
        extra = len(self.began) - len(inputs)
        trial.add("extra_executions", extra)
        trial.expect(
            extra <= self.allowed, f"{extra} executions too many, and {self.allowed} were uncommitted at the kills"
        )
        trial.add("run_again", len(self.began) - len(set(self.began)))
        self.check_whole()

    def check_whole(self) -> None:
        """Expect the database to be sound."""
        with closing(reader(self.plan.database)) as connection:
            found = [line for (line,) in connection.execute("PRAGMA integrity_check")]
        self.trial.expect(found == ["ok"], f"the integrity check says {found[:3]}")

    def recorded(self, columns: str) -> list[tuple[Any, ...]]:
        """Return columns of the tasks that have an outcome."""
        return recorded(self.plan.database, columns)

    def _take_audit(self) -> list[Run]:
        fresh = []
        for line in self._lines("audit"):
            word, *entry = line.split("\t")
            if len(entry) != _WIDTH:
                continue  # cut off by a kill
            run = Run(*entry[:-1])
            if word == "began":
                fresh.append(run)
                self._running.add(run)
            else:
                self._running.discard(run)
        self.began += fresh
        return fresh

    def _take_told(self) -> int:
        new = 0
        for line in self._lines("told"):
            try:
                index, state, value = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if index not in self._told:
                self._told[index] = (state, value)
                new += 1
            elif self._told[index] != (state, value):
                self.trial.add("told_otherwise")
                self.trial.expect(False, f"outcome {index} was told twice, and not the same")
        return new

    def _lines(self, name: str) -> Iterable[str]:
        """Yield what is new, less empty lines."""
        path = self.plan.folder / name
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._at.get(name, 0))
            whole = file.read()
        end = whole.rfind(b"\n") + 1
        self._at[name] = self._at.get(name, 0) + end
        return filter(None, whole[:end].decode().splitlines())


def reader(database: Path) -> sqlite3.Connection:
    """Open a database without changing it: closing it works nothing into it."""
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0)


def recorded(database: Path, columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the tasks that have an outcome and are not done again."""
    if not database.exists():
        return []
    with closing(reader(database)) as connection:
        return list(connection.execute(f"SELECT {columns} FROM tasks WHERE state IS NOT NULL AND redone = 0"))
