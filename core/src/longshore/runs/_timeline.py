"""Attempts over time: each one where they can be drawn, sums by step where they are too many."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from longshore.runs._views import Bar, Bin, By, Timeline

_LANE: Final = {"workers": "coalesce(t.worker, t.executor || ' (running)')", "stages": "t.name || ' · ' || t.executor"}
# The newest attempt of each task that has begun, and the earlier ones; one that runs lasts until the end.
_ATTEMPTS: Final = (
    "SELECT {lane} AS lane, t.started AS began, coalesce(t.ended, :now) AS over, t.state AS state, t.name AS name, "
    "t.id AS row, t.wait_s AS wait_s FROM tasks t "
    "WHERE t.started IS NOT NULL AND t.state != 'retrying' AND t.started <= :until "
    "AND coalesce(t.ended, :now) >= :since "
    "UNION ALL SELECT {earlier}, a.started, a.ended, a.state, t.name, t.id, NULL FROM attempts a "
    "JOIN tasks t USING (task_id) "
    "WHERE a.started IS NOT NULL AND a.ended IS NOT NULL AND a.started <= :until AND a.ended >= :since"
)
_EARLIER: Final = {"workers": "coalesce(a.worker, t.executor || ' (running)')", "stages": _LANE["stages"]}


class Asked(Struct, frozen=True):
    """What of a timeline is wanted."""

    since: float
    until: float
    by: By
    bars_most: int
    steps: int
    lanes_most: int


def timeline(reader: sqlite3.Connection, asked: Asked) -> Timeline:
    """Return the attempts between two times."""
    if asked.by not in _LANE:
        raise ValueError(f"a timeline is by workers or by stages, not by {asked.by!r}")
    attempts = _ATTEMPTS.format(lane=_LANE[asked.by], earlier=_EARLIER[asked.by])
    bounds = {"since": asked.since, "until": asked.until, "now": asked.until}
    view = Timeline(start=asked.since, end=asked.until, lanes=[], names=[])
    few = {**bounds, "most": asked.bars_most + 1}
    rows = reader.execute(f"SELECT * FROM ({attempts}) LIMIT :most", few).fetchall()  # noqa: S608 - our own names
    if len(rows) <= asked.bars_most:
        return _drawn(view, rows, asked.lanes_most)
    step_s = (asked.until - asked.since) / asked.steps
    return _binned(view, list(_summed(reader, attempts, bounds, step_s)), asked, step_s)


def _drawn(view: Timeline, rows: Sequence[tuple[Any, ...]], lanes_most: int) -> Timeline:  # Any: what SQLite stores
    """Return the view with a bar for each attempt."""
    lanes, left_out = _lanes(Counter(row[0] for row in rows), lanes_most)
    names: dict[str, int] = {}
    bars = [
        Bar(lanes[lane], began, over, state, names.setdefault(name, len(names)), row, wait_s)
        for lane, began, over, state, name, row, wait_s in sorted(rows, key=lambda row: row[1])
        if lane in lanes
    ]
    return _with(view, lanes, names, bars=bars, total=len(rows), lanes_left_out=left_out)


def _binned(view: Timeline, parts: Sequence[tuple[Any, ...]], asked: Asked, step_s: float) -> Timeline:
    """Return the view with sums by step. Any: what SQLite stores."""
    counts: Counter[str] = Counter()
    for lane, _, _, _, count, *_ in parts:
        counts[lane] += count
    lanes, left_out = _lanes(counts, asked.lanes_most)
    names: dict[str, int] = {}
    sums = _Sums(asked.since, step_s, asked.steps)
    for lane, *one in parts:
        if lane in lanes:
            sums.add(lanes[lane], *one)
    more = {"step_s": step_s, "total": counts.total(), "lanes_left_out": left_out}
    return _with(view, lanes, names, bins=sums.bins(names), **more)


def _lanes(counts: Counter[str], most: int) -> tuple[dict[str, int], int]:
    """Return the places of the lanes with the most attempts, by their names, and how many have none."""
    kept = sorted(sorted(counts, key=lambda lane: (-counts[lane], lane))[:most])
    return {lane: place for place, lane in enumerate(kept)}, len(counts) - len(kept)


def _with(
    view: Timeline, lanes: Iterable[str], names: Iterable[str], **more: Any
) -> Timeline:  # Any: the fields of Timeline
    given = {field: getattr(view, field) for field in view.__struct_fields__}
    return Timeline(**{**given, "lanes": list(lanes), "names": list(names), **more})


def _summed(
    reader: sqlite3.Connection, attempts: str, bounds: dict[str, float], step_s: float
) -> Iterator[tuple[Any, ...]]:  # Any: what SQLite stores
    """Yield (lane, name, began, over, count, failed, busy, longest): short attempts by their step, long ones each.

    A short attempt is one that lasts no longer than a step; all of it counts for the step in which it ended. The name
    is that of the longest: SQLite takes it from the row that has the maximum.
    """
    head = f"SELECT lane, name, {{what}} FROM ({attempts}) WHERE over - began {{length}} :step"  # noqa: S608
    values = {**bounds, "step": step_s}
    step = "CAST((over - :since) / :step AS INTEGER)"
    at = f"{step} * :step + :since + :step / 2"
    short = f"{at}, {at}, count(*), sum(state IN ('failed', 'timed_out')), sum(over - began), max(over - began)"
    yield from reader.execute(f"{head.format(what=short, length='<=')} GROUP BY lane, {step}", values)
    long = "began, over, 1, state IN ('failed', 'timed_out'), over - began, over - began"
    yield from reader.execute(head.format(what=long, length=">"), values)


class _Bin:
    """What happened on a lane in a step."""

    __slots__ = ("busy_s", "failed", "longest_s", "name", "tasks")

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.tasks = self.failed = 0
        self.longest_s = -1.0
        self.name = ""


class _Sums:
    """What happened on each lane in each step."""

    def __init__(self, since: float, step_s: float, steps: int) -> None:
        self._since, self._step_s, self._steps = since, step_s, steps
        self._bins: defaultdict[tuple[int, int], _Bin] = defaultdict(_Bin)

    def add(
        self, lane: int, name: str, began: float, over: float, count: int, failed: int, busy_s: float, longest_s: float
    ) -> None:
        last = self._at(over)
        for step in range(self._at(began), last + 1):
            found = self._bins[lane, step]
            if longest_s > found.longest_s:
                found.longest_s, found.name = longest_s, name
            left = self._since + step * self._step_s
            within_s = min(over, left + self._step_s) - max(began, left)
            found.busy_s += busy_s if began == over else max(0.0, within_s)
            if step == last:
                found.tasks += count
                found.failed += failed

    def _at(self, when: float) -> int:
        return max(0, min(self._steps - 1, int((when - self._since) / self._step_s)))

    def bins(self, names: dict[str, int]) -> list[Bin]:
        return [
            Bin(
                lane,
                self._since + step * self._step_s,
                found.busy_s / self._step_s,
                found.tasks,
                found.failed,
                names.setdefault(found.name, len(names)),
                found.longest_s,
            )
            for (lane, step), found in sorted(self._bins.items())
        ]
