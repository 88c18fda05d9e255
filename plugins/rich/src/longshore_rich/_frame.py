"""The rows of the live view: a snapshot and a size come in, exactly so many rows go out; reads no clock, draws nothing.

How many rows there are depends on the size of the terminal and on nothing else, so that nothing jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from longshore.records import FailureGroup, RunningTask, RunSnapshot, StageSnapshot
from rich.cells import cell_len
from rich.text import Text

from longshore_rich._gauges import gauges
from longshore_rich._story import done_text, failure_head, held_text
from longshore_rich._text import Glyphs, bar, duration, per_second, percent, span

_SHARE = 0.4
"""The part of the terminal's height a view takes at most."""
_MOST = 16
"""The rows a view takes at most: what it has to say fits, and the rest of a tall terminal is others'."""
_LOW, _NARROW = 6, 30
"""A terminal with fewer rows or columns gets one row."""
_LANES_KEPT = 3
"""Stages that are shown before any other section gets a row."""
_SLOW_MOST = 10
_NAME_CELLS = 20


def rows_for(width: int, height: int) -> int:
    """Return how many rows a view takes on a terminal of this size: min(height - 1, 40 % of it, 16), one if tiny."""
    if width < _NARROW or height < _LOW:
        return 1
    return max(1, min(height - 1, int(height * _SHARE), _MOST))


class Shares(NamedTuple):
    """How many of a view's rows, its head aside, each section gets."""

    lanes: int
    throttle: int
    gauges: int
    slow: int
    failures: int


def shares(rows: int, stages: int) -> Shares:
    """Share out the rows: some stages, then one row for each section in its order, more stages, more slow tasks."""
    free = rows - 1
    sections = min(4, max(0, free - min(stages, _LANES_KEPT)))
    lanes = min(stages, free - sections)
    spare = free - sections - lanes
    throttle, gauges, slow, failures = (int(sections > place) for place in range(4))
    return Shares(lanes, throttle, gauges, min(slow * (1 + spare), _SLOW_MOST), failures)


class Frames:
    """Makes the frames of one run; rows that slow tasks once had stay theirs, so that others keep still."""

    def __init__(self, glyphs: Glyphs) -> None:
        """Prepare to draw with these characters."""
        self._glyphs = glyphs
        self._slow = 1

    def frame(self, snapshot: RunSnapshot, width: int, rows: int) -> list[Text]:
        """Return exactly `rows` rows, each at most `width` cells wide."""
        glyphs = self._glyphs
        share = shares(rows, len(snapshot.stages))
        self._slow = max(self._slow, len(snapshot.slowest))
        drawn = [_head(snapshot, width, glyphs), *_stages(snapshot, share.lanes, width, glyphs)]
        drawn += [_throttle(snapshot, glyphs)] * share.throttle
        drawn += [Text(" | ".join(gauges(snapshot.usage, glyphs, cells=6)))] * share.gauges
        drawn += _slowest(snapshot, min(self._slow, share.slow), width, glyphs)
        drawn += [_failures(snapshot, width, glyphs)] * share.failures
        drawn += [Text() for _ in range(rows - len(drawn))]
        for row in drawn:
            row.no_wrap = True
            glyphs.fit(row, width)
        return drawn


def _head(snapshot: RunSnapshot, width: int, glyphs: Glyphs) -> Text:
    eta = span(snapshot.eta_low_s, snapshot.eta_high_s)
    # What is dropped first when the terminal is narrow has the smallest number.
    fields = [
        (9, "longshore", "bold"),
        (1, f"run {glyphs.clean(snapshot.run_id, 8)}", "dim"),
        (3, glyphs.clean(snapshot.name, 30), "bold"),
        (7, duration(snapshot.elapsed_s), ""),
        (10, done_text(snapshot), "bold"),
        (6, f"eta {eta}" if eta else "", ""),
        (2, per_second(snapshot.rate_per_s), ""),
        (5, f"ok {snapshot.completed:,}", "green"),
        (4, f"retry {snapshot.retried:,}" if snapshot.retried else "", "yellow"),
        (4, f"overdue {snapshot.overdue:,}" if snapshot.overdue else "", "yellow"),
        (4, f"cancelled {snapshot.cancelled:,}" if snapshot.cancelled else "", "yellow"),
        (8, f"FAILED {snapshot.failed:,}" if snapshot.failed else "", "bold red"),
    ]
    fields = [field for field in fields if field[1]]
    while len(fields) > 1 and sum(cell_len(text) + 2 for _, text, _ in fields) - 2 > width:
        fields.remove(min(fields))
    return Text("  ").join(Text(text, style) for _, text, style in fields)


def _stages(snapshot: RunSnapshot, lanes: int, width: int, glyphs: Glyphs) -> Iterable[Text]:
    if lanes == 0:
        return
    hidden = len(snapshot.stages) - lanes
    shown = _chosen(snapshot.stages, lanes if hidden == 0 or lanes == 1 else lanes - 1)
    single = snapshot.total if len(snapshot.stages) == 1 else None
    columns = [_columns(stage, single, width, glyphs) for stage in shown]
    widths = [max(map(cell_len, column)) for column in zip(*columns, strict=True)]
    for stage, cells in zip(shown, columns, strict=True):
        padded = [cell + " " * (size - cell_len(cell)) for cell, size in zip(cells, widths, strict=True) if size]
        yield Text("  ".join(padded).rstrip(), "red" if stage.failed else "")
    if len(shown) < min(lanes, len(snapshot.stages)):
        yield Text(f"+{len(snapshot.stages) - len(shown)} more", "dim")


def _chosen(stages: Sequence[StageSnapshot], count: int) -> list[StageSnapshot]:
    """Return `count` stages in their order, those with work left before those without."""
    left = [index for index, stage in enumerate(stages) if stage.queued or stage.running or stage.retrying]
    done = [index for index in range(len(stages)) if index not in set(left)]
    return [stages[index] for index in sorted([*left, *done][:count])]


def _columns(stage: StageSnapshot, total: int | None, width: int, glyphs: Glyphs) -> list[str]:
    """Return the cells of one stage, the most telling first: the end of a row is what a narrow terminal loses."""
    ended, whole = stage.ended, total or stage.submitted
    name = glyphs.fit(Text(glyphs.clean(stage.name)), _NAME_CELLS).plain
    return [
        name,
        bar(ended, whole, 16 if width >= 80 else 8, glyphs) if width >= 40 else "",
        f"{percent(ended, whole):>4}",
        f"{ended:,}/{whole:,}",
        f"running {stage.running:,}",
        f"FAILED {stage.failed:,}" if stage.failed else "",
        f"queued {stage.queued:,}",
        f"retry {stage.retrying:,}" if stage.retrying else "",
        per_second(stage.rate_per_s) if stage.rate_per_s else "",
        f"mean {duration(stage.mean_s)}" if stage.mean_s is not None else "",
        glyphs.clean(stage.executor, 20),
    ]


def _throttle(snapshot: RunSnapshot, glyphs: Glyphs) -> Text:
    return Text(glyphs.clean(held_text(snapshot.throttled)) if snapshot.throttled else "", "yellow")


def _slowest(snapshot: RunSnapshot, rows: int, width: int, glyphs: Glyphs) -> list[Text]:
    """Return so many rows: with one, as many tasks as fit in it, else a task a row."""
    title = "slowest now: "
    items = [_running(task, glyphs) for task in snapshot.slowest]
    count = max(snapshot.running, len(items))
    if rows < 2:
        return [Text(_row(title, items, count, width, glyphs))] * rows
    shown = items[:rows]
    told = [(title if place == 0 else " " * len(title)) + item for place, item in enumerate(shown)]
    if told and count > len(shown):
        told[-1] = _with_more(told[-1], count - len(shown), width, glyphs)
    return [Text(line) for line in told] + [Text() for _ in range(rows - len(told))]


def _running(task: RunningTask, glyphs: Glyphs) -> str:
    parts = [glyphs.clean(task.label or task.task_id, 40), glyphs.clean(task.name, 20), duration(task.running_s)]
    parts += ["overdue"] if task.overdue else []
    parts += [f"{int(task.progress * 100)}%"] if task.progress is not None else []
    return " ".join([*parts, glyphs.clean(task.message, 30)]).rstrip()


def _failures(snapshot: RunSnapshot, width: int, glyphs: Glyphs) -> Text:
    def told(group: FailureGroup) -> str:
        return glyphs.clean(f"{failure_head(group)} {group.message[:60]}".rstrip())

    items = [told(group) for group in snapshot.failures]
    return Text(_row("failures: ", items, len(items), width, glyphs), "red")


def _row(title: str, items: Sequence[str], count: int, width: int, glyphs: Glyphs) -> str:
    """Return as many items as fit behind `title`, the first in any case, and how many are not shown."""
    if not items:
        return ""
    between = f" {glyphs.dot} "
    row = title + items[0]
    shown = 1
    for item in items[1:]:
        longer = row + between + item
        if cell_len(longer) + len(f" +{count:,} more") > width:
            break
        row, shown = longer, shown + 1
    return row if shown == count else _with_more(row, count - shown, width, glyphs)


def _with_more(row: str, count: int, width: int, glyphs: Glyphs) -> str:
    """Return the row, cut where needed, with how many are not shown."""
    more = f" +{count:,} more"
    return glyphs.fit(Text(row), max(0, width - len(more))).plain + more
