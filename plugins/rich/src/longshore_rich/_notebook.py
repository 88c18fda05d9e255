"""The notebook view: one output of a cell, replaced at a bounded rate; the last stays in the notebook.

It needs no more of IPython than `display` and `update_display`, and asks for IPython only where it is loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from html import escape
from importlib import import_module
from typing import Any

from longshore.records import RunInfo, RunSnapshot, RunSummary, StageSnapshot

from longshore_rich._gauges import gauges
from longshore_rich._story import alert_text, failure_text, held_text, progress_text, summary_entries
from longshore_rich._text import UNICODE, duration, per_second, percent
from longshore_rich._ticker import Ticker
from longshore_rich._views import looked_at

_MOST_HZ = 2.0
"""Each update travels to the browser and, in some notebooks, into the file."""
_SLOW, _GROUPS, _STAGES = 5, 5, 100
_STAGE_HEAD = ("stage", "", "done", "running", "queued", "retrying", "failed", "rate", "mean")


def in_notebook() -> bool:
    """Tell whether the code runs in a notebook's kernel; a terminal IPython is a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookView:
    """Shows a run below the cell that was running when it began."""

    def __init__(self, *, refresh_hz: float) -> None:
        """Prepare to replace the output at most twice a second."""
        self._display: Any = import_module("IPython.display")  # Any: IPython is no dependency of ours
        self._ticker = Ticker(self.draw, period_s=1.0 / min(refresh_hz, _MOST_HZ), name="longshore-rich-notebook")
        self._snapshot: Callable[[], RunSnapshot] | None = None
        self._id = ""

    @property
    def error(self) -> Exception | None:
        """What ended the updates early."""
        return self._ticker.error

    def start(self, run: RunInfo) -> None:
        """Make the output and go on replacing it."""
        self._id, self._snapshot = f"longshore-{run.run_id}", run.snapshot
        began = looked_at(run.snapshot)
        self._display.display(_bundle(began, f"longshore run {run.run_id}"), raw=True, display_id=self._id)
        self._ticker.start()

    def draw(self) -> None:
        """Replace the output once; when no snapshot is to be had, the one before stays."""
        snapshot = looked_at(self._snapshot)
        if snapshot is not None:
            self._replace(_bundle(snapshot, progress_text(snapshot)))

    def stop(self, summary: RunSummary) -> None:
        """Put the summary in the output's place, where it stays."""
        self._ticker.stop()
        self._replace(_bundle(summary.snapshot, *(entry.text for entry in summary_entries(summary)), over=True))

    def _replace(self, bundle: dict[str, str]) -> None:
        self._display.update_display(bundle, raw=True, display_id=self._id)


def _bundle(snapshot: RunSnapshot | None, *lines: str, over: bool = False) -> dict[str, str]:
    """Return the same as HTML and as text, for those that show no HTML."""
    head, *rest = lines
    rows = [f"<b>{_safe(head)}</b>", *(_safe(line) for line in rest)]
    parts = [f"<div>{row}</div>" for row in rows]
    if snapshot is not None:
        parts += _body(snapshot, over)
    html = f'<div style="font-family:monospace;font-size:90%">{"".join(parts)}</div>'
    return {"text/html": html, "text/plain": "\n".join(UNICODE.clean(line, 2000) for line in lines)}


def _body(snapshot: RunSnapshot, over: bool) -> Iterable[str]:
    """Yield the parts below the head; what is only so now is left out once the run is over."""
    if snapshot.stages:
        stages = snapshot.stages[:_STAGES]
        single = snapshot.total if len(snapshot.stages) == 1 else None
        head = "".join(f"<th>{cell}</th>" for cell in _STAGE_HEAD)
        yield f"<table><tr>{head}</tr>{''.join(_stage(stage, single) for stage in stages)}</table>"
        if len(stages) < len(snapshot.stages):
            yield f"<div>+{len(snapshot.stages) - len(stages):,} more stages</div>"
    if over:
        return
    yield from (f"<div>{_safe(alert_text(alert))}</div>" for alert in snapshot.alerts)
    if snapshot.throttled:
        yield f"<div>{_safe(held_text(snapshot.throttled))}</div>"
    if snapshot.usage:
        yield f"<div>{escape(' | '.join(gauges(snapshot.usage, UNICODE)))}</div>"
    for task in snapshot.slowest[:_SLOW]:
        share = f" {int(task.progress * 100)}%" if task.progress is not None else ""
        share = f"{' overdue' if task.overdue else ''}{share}"
        text = f"slowest now: {task.label or task.task_id} {task.name} {duration(task.running_s)}{share} {task.message}"
        yield f"<div>{_safe(text)}</div>"
    yield from (f"<div>failed: {_safe(failure_text(group))}</div>" for group in snapshot.failures[:_GROUPS])


def _stage(stage: StageSnapshot, total: int | None) -> str:
    whole = total or stage.submitted
    cells = (
        _safe(stage.name),
        f'<progress value="{min(stage.ended, whole)}" max="{whole or 1}"></progress>',
        f"{stage.ended:,}/{whole:,} {percent(stage.ended, whole)}",
        f"{stage.running:,}",
        f"{stage.queued:,}",
        f"{stage.retrying:,}",
        f"{stage.failed:,}",
        per_second(stage.rate_per_s),
        duration(stage.mean_s) if stage.mean_s is not None else "",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _safe(text: str) -> str:
    """Return a string from outside as it may stand in HTML: spelled out first, then escaped."""
    return escape(UNICODE.clean(text))
