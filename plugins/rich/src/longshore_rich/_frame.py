"""One frame of the live view: a snapshot and a size come in, that many rows at most go out; pure.

The number of rows depends on the terminal's height and on how many stages there are, and on nothing else, so that
nothing jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from longshore.records import FailureGroup, RunningTask, RunSnapshot, StageSnapshot, Usage
from rich.cells import cell_len
from rich.text import Text

from longshore_rich._story import done_text, failure_head
from longshore_rich._text import Glyphs, bar, duration, megabytes, per_second, percent, span

_SHARE = 0.4
"""The part of the terminal's height a view takes at most."""
_LANES_KEPT = 3
"""Stages that are shown before any other section gets a row."""
_NAME_CELLS = 20


class Budget(NamedTuple):
    """How many rows go to stages, and how many of the four sections below them are shown."""

    lanes: int
    sections: int


def budget(height: int, stages: int) -> Budget:
    """Share out min(height - 1, 40 % of height) rows: the head, then some stages, then sections, then more stages."""
    free = max(1, min(height - 1, int(height * _SHARE))) - 1
    sections = min(4, max(0, free - min(stages, _LANES_KEPT)))
    return Budget(min(stages, free - sections), sections)


def frame(snapshot: RunSnapshot, width: int, height: int, glyphs: Glyphs) -> list[Text]:
    """Return the rows to draw on a terminal of this size, each at most `width` cells wide."""
    lanes, sections = budget(height, len(snapshot.stages))
    below: list[Callable[[], Text]] = [
        lambda: _throttle(snapshot, glyphs),
        lambda: _gauges(snapshot, glyphs),
        lambda: _slowest(snapshot, width, glyphs),
        lambda: _failures(snapshot, width, glyphs),
    ]
    rows = [_head(snapshot, width, glyphs), *_stages(snapshot, lanes, width, glyphs)]
    rows += [section() for section in below[:sections]]
    for row in rows:
        row.no_wrap = True
        glyphs.fit(row, width)
    return rows


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
    ended, whole = stage.completed + stage.failed + stage.cancelled, total or stage.submitted
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
        glyphs.clean(stage.executor, 20),
        f"mean {duration(stage.mean_s)}" if stage.mean_s is not None else "",
    ]


def _throttle(snapshot: RunSnapshot, glyphs: Glyphs) -> Text:
    return Text(f"throttled: {glyphs.clean(snapshot.throttled)}" if snapshot.throttled else "", "yellow")


def _gauges(snapshot: RunSnapshot, glyphs: Glyphs) -> Text:
    gauges = [_gauge(key, usage, glyphs) for key, usage in snapshot.usage.items() if "_io." not in key]
    for key in ("disk_io", "network_io"):
        moved = [usage.used for name, usage in snapshot.usage.items() if name.startswith(f"{key}.")]
        if moved:
            gauges.append(f"{key.partition('_')[0]} {megabytes(sum(moved))}/s")
    return Text(" | ".join(gauges))


def _gauge(key: str, usage: Usage, glyphs: Glyphs) -> str:
    name = glyphs.clean(key, 30)
    if "memory" in key:
        of = f"/{megabytes(usage.capacity)}" if usage.capacity else ""
        text = f"{name} {megabytes(usage.used)}{of}"
    else:
        text = f"{name} {percent(usage.used, usage.capacity) or f'{usage.used:.1f}'}"
    return f"{text} {bar(usage.used, usage.capacity, 6, glyphs)}" if usage.capacity else text


def _slowest(snapshot: RunSnapshot, width: int, glyphs: Glyphs) -> Text:
    def told(task: RunningTask) -> str:
        parts = [glyphs.clean(task.label or task.task_id, 40), glyphs.clean(task.name, 20), duration(task.running_s)]
        parts += [f"{int(task.progress * 100)}%"] if task.progress is not None else []
        return " ".join([*parts, glyphs.clean(task.message, 30)]).rstrip()

    items = [told(task) for task in snapshot.slowest]
    return Text(_row("slowest now: ", items, max(snapshot.running, len(items)), width, glyphs))


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
    if shown == count:
        return row
    more = f" +{count - shown:,} more"
    return glyphs.fit(Text(row), max(0, width - len(more))).plain + more
