"""A run told in few words: snapshots come in, what is worth a line goes out; pure, for the lines and the json view.

The live view ends with the same summary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from longshore.records import Alert, FailureGroup, RunInfo, RunningTask, RunSnapshot, RunSummary, SinkHealth
from rich.text import Text

from longshore_rich._text import Glyphs, duration, per_second, percent, span

_GROUPS_TOLD = 20
"""Kinds of failure told as they come; the others are in the summary."""
_LATE_TOLD = 20
"""Tasks past their soft timeout that are told of each by itself."""
_GROUPS_IN_SUMMARY = 50
_LINE_MOST = 2000
"""Characters of one line."""
_THROTTLE_PAUSE_S = 5.0
"""Least time between two lines about throttling, which may come and go many times a second."""


class Entry(msgspec.Struct, frozen=True):
    """One thing to tell: `text` for people, not yet cleaned; `data` for machines."""

    type: str
    text: str
    data: dict[str, Any]  # Any: JSON-safe values
    style: str = ""


class AlertLines:
    """Tells each alert once as it is raised, and once as it is over."""

    def __init__(self) -> None:
        """Have told none."""
        self._standing: dict[tuple[str, str], Alert] = {}

    def entries(self, standing: Sequence[Alert]) -> list[Entry]:
        """Return what is new, from the alerts that stand now."""
        before, self._standing = self._standing, {(alert.name, alert.subject): alert for alert in standing}
        raised = [alert for key, alert in self._standing.items() if key not in before]
        over = [alert for key, alert in before.items() if key not in self._standing]
        told = [Entry("alert", alert_text(alert), _alert(alert, "raised"), "bold yellow") for alert in raised]
        gone = [Entry("alert", f"alert over: {alert.message}", _alert(alert, "cleared"), "yellow") for alert in over]
        return told + gone


class Story:
    """Decides what of a run is told when; not safe to be used from two threads at once."""

    def __init__(self, *, period_s: float) -> None:
        """Prepare: a line of progress comes at most each `period_s` seconds, and at each tenth of the way."""
        self._period_s = period_s
        self._told_s = 0.0
        self._tenths = 0
        self._groups: set[tuple[str, str | None, str]] = set()
        self._overdue: set[tuple[str, int]] = set()
        self._alerts = AlertLines()
        self._held = ""
        self._throttle_told_s = float("-inf")

    def begin(self, run: RunInfo, now_s: float) -> list[Entry]:
        """Return the first line."""
        self._told_s = now_s
        started = run.started.isoformat(timespec="seconds")
        return [Entry("run_started", f"longshore run {run.run_id} {run.name} started {started}", {"name": run.name})]

    def advance(self, snapshot: RunSnapshot, now_s: float) -> list[Entry]:
        """Return what is new since the last call and worth a line."""
        return [
            *self._failures(snapshot),
            *self._late(snapshot),
            *self._throttle(snapshot, now_s),
            *self._alerts.entries(snapshot.alerts),
            *self._progress(snapshot, now_s),
        ]

    def _failures(self, snapshot: RunSnapshot) -> list[Entry]:
        entries: list[Entry] = []
        for group in snapshot.failures:
            kind = (group.type, group.reason, group.fingerprint)
            if kind not in self._groups and len(self._groups) < _GROUPS_TOLD:
                self._groups.add(kind)
                entries.append(Entry("failure", f"failed: {failure_text(group)}", _plain(group), "red"))
        return entries

    def _late(self, snapshot: RunSnapshot) -> list[Entry]:
        """Tell of tasks that are past their soft timeout, each attempt once; the others are counted."""
        entries: list[Entry] = []
        for task in snapshot.slowest if snapshot.overdue else ():
            if task.overdue and (task.task_id, task.attempt) not in self._overdue and len(self._overdue) < _LATE_TOLD:
                self._overdue.add((task.task_id, task.attempt))
                entries.append(Entry("overdue", overdue_text(task), msgspec.to_builtins(task), "yellow"))
        return entries

    def _throttle(self, snapshot: RunSnapshot, now_s: float) -> list[Entry]:
        held = held_text(snapshot.throttled).partition(":")[0] if snapshot.throttled else ""
        if held == self._held or now_s - self._throttle_told_s < _THROTTLE_PAUSE_S:
            return []
        text = held_text(snapshot.throttled) if snapshot.throttled else f"no longer {self._held}"
        self._held, self._throttle_told_s = held, now_s
        return [Entry("throttle", text, {"throttled": snapshot.throttled}, "yellow")]

    def _progress(self, snapshot: RunSnapshot, now_s: float) -> list[Entry]:
        tenths = 10 * min(snapshot.ended, snapshot.total) // snapshot.total if snapshot.total else 0
        step = self._tenths < tenths < 10  # the last tenth is the summary's to tell
        if not step and now_s - self._told_s < self._period_s:
            return []
        self._tenths = max(self._tenths, tenths)
        self._told_s = now_s
        return [Entry("progress", progress_text(snapshot), _counts(snapshot))]


def summary_entries(summary: RunSummary) -> list[Entry]:
    """Return the last lines: how it ended, the failures by kind, what is wrong with sinks, and the notes."""
    entries = [_verdict(summary)]
    groups = summary.snapshot.failures
    entries += [Entry("failure_group", f"  {failure_text(g)}", _plain(g), "red") for g in groups[:_GROUPS_IN_SUMMARY]]
    if len(groups) > _GROUPS_IN_SUMMARY:
        entries.append(_note(f"{len(groups) - _GROUPS_IN_SUMMARY:,} more kinds of failure"))
    entries += [Entry("sink", _sink_text(s), _plain(s), "yellow") for s in summary.snapshot.sinks if s.state != "ok"]
    return entries + [_note(note) for note in summary.notes]


def summary_lines(summary: RunSummary, glyphs: Glyphs, ink: Callable[[Text], str]) -> str:
    """Return the summary as it may be written, each line with its newline."""
    return "".join(f"{told(entry, glyphs, ink)}\n" for entry in summary_entries(summary))


def told(entry: Entry, glyphs: Glyphs, ink: Callable[[Text], str]) -> str:
    """Return what one entry tells people, on one line, as it may be written."""
    return ink(Text(glyphs.clean(entry.text, _LINE_MOST), entry.style))


def progress_text(snapshot: RunSnapshot) -> str:
    """Return how far a run is, in one line."""
    parts = [duration(snapshot.elapsed_s), done_text(snapshot)]
    if eta := span(snapshot.eta_low_s, snapshot.eta_high_s):
        parts.append(f"eta {eta}")
    parts += [per_second(snapshot.rate_per_s), f"running {snapshot.running:,}", f"queued {snapshot.queued:,}"]
    parts += [f"overdue {snapshot.overdue:,}"] if snapshot.overdue else []
    parts += _ends(snapshot)
    return ", ".join(parts)


def done_text(snapshot: RunSnapshot) -> str:
    """Return how many tasks have ended, of how many where that is known."""
    if not snapshot.total:
        return f"{snapshot.ended:,} done"
    return f"{snapshot.ended:,}/{snapshot.total:,} {percent(snapshot.ended, snapshot.total)}"


def held_text(reason: str) -> str:
    """Return why nothing more is started, on one line for people; a pool that was paused is not throttled."""
    return "paused: nothing new is started" if reason == "paused" else f"throttled: {reason}"


def alert_text(alert: Alert) -> str:
    """Return an alert that stands."""
    return f"alert: {alert.message}"


def overdue_text(task: RunningTask) -> str:
    """Return that a task is past its soft timeout, and goes on."""
    said = [f"overdue: {task.label or task.task_id} {task.name} runs for {duration(task.running_s)}"]
    said += [f"at {int(task.progress * 100)}%"] if task.progress is not None else []
    return ", ".join([*said, task.message] if task.message else said)


def failure_head(group: FailureGroup) -> str:
    """Return count, type and reason of a kind of failure."""
    name = group.type.rpartition(".")[2]
    return f"{group.count:,}x {name} ({group.reason})" if group.reason else f"{group.count:,}x {name}"


def _verdict(summary: RunSummary) -> Entry:
    snapshot = summary.snapshot
    stages = len(snapshot.stages)
    tasks = f"{snapshot.ended:,} task{'' if snapshot.ended == 1 else 's'}"
    # A task is one stage of one input: said where there are several, for who started the run counts its inputs.
    parts = [f"{tasks} in {stages} stages" if stages > 1 else tasks, *_ends(snapshot)]
    if snapshot.elapsed_s > 0:
        parts.append(per_second(snapshot.ended / snapshot.elapsed_s))
    text = f"longshore run {snapshot.run_id} {summary.state} in {duration(snapshot.elapsed_s)}: {', '.join(parts)}"
    if summary.error:
        text += f"; {summary.error}"
    well = summary.state == "completed" and not snapshot.failed
    data = {"state": summary.state, "error": summary.error, **_counts(snapshot)}
    return Entry("run_summary", text, data, "bold green" if well else "bold red")


def _ends(snapshot: RunSnapshot) -> list[str]:
    parts = [f"ok {snapshot.completed:,}"]
    if snapshot.retried:
        parts.append(f"retried {snapshot.retried:,}")
    if snapshot.failed:
        parts.append(
            f"FAILED {snapshot.failed:,}" + (f" (timed out {snapshot.timed_out:,})" if snapshot.timed_out else "")
        )
    if snapshot.cancelled:
        parts.append(f"cancelled {snapshot.cancelled:,}")
    return parts


def failure_text(group: FailureGroup) -> str:
    """Return one kind of failure with its message and the first few it happened to."""
    text = f"{failure_head(group)}: {group.message[:200]}" if group.message else failure_head(group)
    return f"{text} - {_labels(group)}" if group.labels else text


def _labels(group: FailureGroup) -> str:
    shown: Sequence[str] = group.labels[:3]
    more = group.count - len(shown)
    return ", ".join(label[:80] for label in shown) + (f" +{more:,} more" if more > 0 else "")


def _sink_text(sink: SinkHealth) -> str:
    text = f"sink {sink.name}: {sink.state} - {sink.errors:,} errors, {sink.dropped:,} events dropped"
    return f"{text}, last: {sink.last_error[:200]}" if sink.last_error else text


def _note(text: str) -> Entry:
    return Entry("note", f"note: {text}", {"note": text}, "yellow")


def _alert(alert: Alert, state: str) -> dict[str, Any]:  # Any: JSON-safe values
    plain = {name: getattr(alert, name) for name in ("subject", "message", "value", "threshold")}
    return {"alert": alert.name, "state": state, **plain}


def _counts(snapshot: RunSnapshot) -> dict[str, Any]:  # Any: JSON-safe values
    names = (
        "elapsed_s",
        "total",
        "submitted",
        "queued",
        "running",
        "retrying",
        "overdue",
        "completed",
        "failed",
        "timed_out",
    )
    more = ("cancelled", "retried", "rate_per_s", "eta_low_s", "eta_high_s", "throttled")
    return {name: getattr(snapshot, name) for name in (*names, *more)}


def _plain(record: FailureGroup | SinkHealth) -> dict[str, Any]:  # Any: JSON-safe values
    plain: dict[str, Any] = msgspec.to_builtins(record)
    # A line's own `type` says what it tells; that of a failure is its error, as in the events.
    return {"error" if name == "type" else name: value for name, value in plain.items()}
