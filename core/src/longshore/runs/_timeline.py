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
    [[total]] = reader.execute(f"SELECT count(*) FROM ({attempts})", bounds)  # noqa: S608 - our own names
    view = Timeline(start=asked.since, end=asked.until, lanes=[], names=[], total=total)
    if total <= asked.bars_most:
        return _drawn(view, reader.execute(f"{attempts} ORDER BY 2", bounds).fetchall(), asked.lanes_most)
    step_s = (asked.until - asked.since) / asked.steps
    return _binned(view, list(_summed(reader, attempts, bounds, step_s)), asked, step_s)


def _drawn(view: Timeline, rows: Sequence[tuple[Any, ...]], lanes_most: int) -> Timeline:  # Any: what SQLite stores
    """Return the view with a bar for each attempt."""
    lanes, left_out = _lanes(Counter(row[0] for row in rows), lanes_most)
    names: dict[str, int] = {}
    bars = [
        Bar(lanes[lane], began, over, state, names.setdefault(name, len(names)), row, wait_s)
        for lane, began, over, state, name, row, wait_s in rows
        if lane in lanes
    ]
    return _with(view, lanes, names, bars=bars, lanes_left_out=left_out)


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
    return _with(view, lanes, names, bins=sums.bins(names), step_s=step_s, lanes_left_out=left_out)


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

    A short attempt is one that lasts no longer than a step; all of it counts for the step in which it ended.
    """
    head = f"SELECT lane, name, {{what}} FROM ({attempts}) WHERE over - began {{length}} :step"  # noqa: S608
    values = {**bounds, "step": step_s}
    short = (
        "max(over), max(over), count(*), sum(state IN ('failed', 'timed_out')), sum(over - began), max(over - began)"
    )
    by_step = f"{head.format(what=short, length='<=')} GROUP BY lane, name, CAST((over - :since) / :step AS INTEGER)"
    yield from reader.execute(by_step, values)
    long = "began, over, 1, state IN ('failed', 'timed_out'), over - began, over - began"
    yield from reader.execute(head.format(what=long, length=">"), values)


class _Sums:
    """What happened on each lane in each step."""

    def __init__(self, since: float, step_s: float, steps: int) -> None:
        self._since, self._step_s, self._steps = since, step_s, steps
        self._busy: defaultdict[tuple[int, int], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._ended: defaultdict[tuple[int, int], list[float]] = defaultdict(lambda: [0, 0, 0.0])

    def add(
        self, lane: int, name: str, began: float, over: float, count: int, failed: int, busy_s: float, longest_s: float
    ) -> None:
        last = self._at(over)
        first = self._at(began) if began < over else last
        for step in range(first, last + 1):
            if first == last:
                part_s = busy_s
            else:
                left = self._since + step * self._step_s
                part_s = min(over, left + self._step_s) - max(began, left)
            self._busy[lane, step][name] += max(0.0, part_s)
        ended = self._ended[lane, last]
        ended[0] += count
        ended[1] += failed
        ended[2] = max(ended[2], longest_s)

    def _at(self, when: float) -> int:
        return max(0, min(self._steps - 1, int((when - self._since) / self._step_s)))

    def bins(self, names: dict[str, int]) -> list[Bin]:
        bins = []
        for (lane, step), work in sorted(self._busy.items()):
            tasks, failed, longest_s = self._ended.get((lane, step), (0, 0, 0.0))
            most = max(work, key=lambda name: (work[name], name))
            busy = sum(work.values()) / self._step_s
            start = self._since + step * self._step_s
            place = names.setdefault(most, len(names))
            bins.append(Bin(lane, start, busy, int(tasks), int(failed), place, longest_s))
        return bins
