"""Two runs against each other: the same inputs by stage and key, what changed in sum, and what for single ones.

In: two sources. Out: a `Comparison`. Tasks are matched in a temporary database of SQLite's, on disk, so that memory
does not grow with the runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct

from longshore._report.analysis import named
from longshore._report.gather import Source, tasks
from longshore._report.records import Report, RunFacts, StageUse, Totals, schema_of
from longshore._report.words import listed, percent, plural, seconds

LISTED_MOST = 100
"""Of each list; the counts are of all."""
CHANGED = 0.1
"""A change by less than this part of the first run's is "about the same"."""


class Change(Struct, frozen=True, kw_only=True):
    """One task in both runs."""

    name: str
    key: str
    first_state: str
    second_state: str
    first_s: float | None
    """What its last attempt ran."""
    second_s: float | None
    error: str | None = None
    """Of the second run."""


class Changes(Struct, frozen=True, kw_only=True):
    """Tasks that changed in one way."""

    count: int
    rows: Sequence[Change] = ()
    """A hundred at most."""


class StageChange(Struct, frozen=True, kw_only=True):
    """One stage in both runs; None where a run does not have it."""

    name: str
    executor: str
    first: StageUse | None
    second: StageUse | None


class Comparison(Struct, frozen=True, kw_only=True):
    """What is different in a second run."""

    first: RunFacts
    second: RunFacts
    words: Sequence[str]
    first_totals: Totals
    second_totals: Totals
    stages: Sequence[StageChange]
    matched: int
    """Tasks of the same stage and key in both; tasks without a key match nothing."""
    only_first: int
    only_second: int
    newly_failing: Changes
    newly_passing: Changes
    slower: Changes
    """By a tenth at least; by the difference, the greatest first. Tasks that completed in both."""
    faster: Changes
    same_settings: bool
    changed_versions: Sequence[str]
    comparison_version: int = 1
    """Within a version fields may come; none goes, or changes its meaning or type."""


def comparison_schema() -> dict[str, Any]:  # Any: JSON Schema
    """Return the JSON Schema of `--compare … --json`."""
    return schema_of(Comparison, "A comparison of two runs of longshore")


_FAILED = "('failed', 'timed_out')"
_BOTH = "FROM tasks a JOIN tasks b ON a.run = 1 AND b.run = 2 AND a.name = b.name AND a.key = b.key"
_ALONE = (
    "SELECT count(*) FROM tasks a WHERE a.run = ? AND NOT EXISTS "
    "(SELECT 1 FROM tasks b WHERE b.run = ? AND b.name = a.name AND b.key = a.key)"
)
_ROW = "SELECT a.name, a.key, a.state, b.state, a.run_s, b.run_s, b.error"


def compare(first: tuple[Source, Report], second: tuple[Source, Report]) -> Comparison:
    """Return what is different in the second run."""
    with closing(sqlite3.connect("")) as database:
        database.execute(
            "CREATE TABLE tasks (run INTEGER, name TEXT, key TEXT, state TEXT, run_s REAL, error TEXT, "
            "PRIMARY KEY (run, name, key)) WITHOUT ROWID"
        )
        keyless = [_fill(database, number, source) for number, (source, _) in enumerate((first, second), 1)]
        [[matched]] = database.execute(f"SELECT count(*) {_BOTH}")
        alone = [database.execute(_ALONE, pair).fetchone()[0] for pair in ((1, 2), (2, 1))]
        good, done = f"a.state NOT IN {_FAILED} AND b.state IN {_FAILED}", "a.state = b.state AND a.state = 'completed'"
        failing = _changes(database, good, "b.name, b.key")
        passing = _changes(database, f"a.state IN {_FAILED} AND b.state = 'completed'", "b.name, b.key")
        slower = _changes(database, f"{done} AND b.run_s > a.run_s * {1 + CHANGED}", "a.run_s - b.run_s")
        faster = _changes(database, f"{done} AND b.run_s < a.run_s * {1 - CHANGED}", "b.run_s - a.run_s")
    reports = (first[1], second[1])
    return Comparison(
        first=reports[0].run,
        second=reports[1].run,
        words=_words(reports, matched, failing.count, passing.count),
        first_totals=reports[0].totals,
        second_totals=reports[1].totals,
        stages=_stages(reports),
        matched=matched,
        only_first=alone[0] + keyless[0],
        only_second=alone[1] + keyless[1],
        newly_failing=failing,
        newly_passing=passing,
        slower=slower,
        faster=faster,
        same_settings=reports[0].environment.settings_hash == reports[1].environment.settings_hash,
        changed_versions=_versions(reports),
    )


def _fill(database: sqlite3.Connection, run: int, source: Source) -> int:
    """Put a run's tasks in, the last of those of one stage and key; return how many have no key."""
    keyless = 0
    for row in tasks(source.store):
        if row.key is None:
            keyless += 1
            continue
        values = (run, row.name, row.key, row.state, row.run_s, row.error)
        database.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?)", values)
    return keyless


def _changes(database: sqlite3.Connection, which: str, order: str) -> Changes:
    [[count]] = database.execute(f"SELECT count(*) {_BOTH} WHERE {which}")
    rows = database.execute(f"{_ROW} {_BOTH} WHERE {which} ORDER BY {order} LIMIT {LISTED_MOST}")
    fields = ("name", "key", "first_state", "second_state", "first_s", "second_s", "error")
    return Changes(count=count, rows=[Change(**dict(zip(fields, row, strict=True))) for row in rows])


def _stages(reports: tuple[Report, Report]) -> list[StageChange]:
    first, second = ({(stage.name, stage.executor): stage for stage in report.stages} for report in reports)
    return [
        StageChange(
            name=name, executor=executor, first=first.get((name, executor)), second=second.get((name, executor))
        )
        for name, executor in {**first, **second}
    ]


def _versions(reports: tuple[Report, Report]) -> list[str]:
    first, second = (report.environment.versions for report in reports)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return [f"{name} {first.get(name, 'none')} → {second.get(name, 'none')}" for name in names]


def _words(reports: tuple[Report, Report], matched: int, failing: int, passing: int) -> list[str]:
    """Return what is different, in sentences."""
    first, second = reports
    words = [_faster(first.totals, second.totals)]
    parts = [f"{failing:,} newly failed"] if failing else []
    parts += [f"{passing:,} that had failed completed"] if passing else []
    told = listed(parts) if parts else "none failed that had not, or completed that had failed"
    words.append(f"Of {plural(matched, 'task')} of the same stage and input, {told}.")
    before, now = first.totals.failed_inputs, second.totals.failed_inputs
    if before or now:
        words.append(f"Outside of tasks, {plural(now, 'input')} failed instead of {before:,}.")
    moved = [text for change in _stages(reports) if (text := _moved(change)) is not None]
    words += moved[:10]
    if first.environment.settings_hash != second.environment.settings_hash:
        words.append("The settings are not the same.")
    changed = _versions(reports)
    if changed:
        words.append(f"Other versions: {listed(changed)}.")
    return words


def _faster(first: Totals, second: Totals) -> str:
    times = f"{seconds(second.wall_s)} instead of {seconds(first.wall_s)}"
    if first.wall_s <= 0 or second.wall_s <= 0:
        return f"The second run took {times}."
    change = second.wall_s / first.wall_s - 1
    if abs(change) < CHANGED:
        return f"Both took about the same: {times}."
    return f"The second run took {percent(abs(change))} {'longer' if change > 0 else 'less'}: {times}."


def _moved(change: StageChange) -> str | None:
    """Say what changed of a stage, where that is notable."""
    one, other = change.first, change.second
    if one is None or other is None:
        which = "first" if other is None else "second"
        return f"Only the {which} run has the stage {named(change.name)} on {change.executor}."
    if not one.mean_s or not other.mean_s:
        return None
    part = other.mean_s / one.mean_s - 1
    if abs(part) < CHANGED:
        return None
    means = f"{seconds(other.mean_s)} instead of {seconds(one.mean_s)} in the mean"
    way = "longer" if part > 0 else "less"
    return f"{named(change.name)} on {change.executor} took {percent(abs(part))} {way}: {means}."
