"""A report as Markdown: for the summary of a CI job, an issue, a chat. No text that is not ours acts in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from longshore._report.records import Report, StageUse
from longshore._report.words import code, moment, number, percent, plural, prose, seconds
from longshore.runs import FailureView

_FAILURES, _SLOWEST, _SETTINGS = 20, 20, 30


def markdown(report: Report) -> str:
    """Return the report; about as long as two pages, whatever the run's size."""
    parts = [
        _head(report),
        _limits(report),
        _stages(report.stages),
        _throttled(report),
        _resources(report),
        _failures(report),
        _slowest(report),
        _environment(report),
    ]
    return "\n\n".join("\n".join(part) for lines in parts if (part := list(lines))) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> Iterator[str]:
    """Yield a table; the last `numbers` columns are set to the right."""
    yield f"| {' | '.join(head)} |"
    left = len(head) - numbers
    yield f"|{'|'.join(['---'] * left + ['---:'] * numbers)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _head(report: Report) -> Iterator[str]:
    run = report.run
    yield f"# {'✅' if report.verdict.good else '❌'} {code(run.name, 60)}: run {code(run.run_id)}"
    yield ""
    yield f"**{prose(report.verdict.text)}**"
    yield ""
    again = f", begun {run.generation} times" if run.generation > 1 else ""
    host = f" on {code(run.host)}" if run.host else ""
    yield f"From {moment(run.started)} to {moment(run.ended)}{host}{again}."
    for note in report.notes:
        yield f"> {prose(note)}"


def _limits(report: Report) -> Iterator[str]:
    if not report.findings:
        return
    yield "## What it took its time for"
    yield ""
    for finding in report.findings:
        yield f"- {prose(finding.text)}"
    if report.forecast is not None:
        yield f"- {prose(report.forecast.text)}"
    lost = report.retries
    if lost is not None and lost.attempts and not any(finding.kind == "retries" for finding in report.findings):
        cost = f"{plural(lost.attempts, 'attempt')} made again cost {seconds(lost.run_s)} ({percent(lost.share)})"
        waited = f", and waited {seconds(lost.wait_s)} in all for it" if lost.wait_s >= 0.1 else ""
        yield f"- {cost}{waited}."
    if report.executors:
        yield ""
        rows = [
            (code(use.name), f"{use.workers:,}", seconds(use.busy_s), percent(use.busy_share))
            for use in report.executors
        ]
        yield from table(("executor", "workers", "worked", "busy"), rows, 3)


def _stages(stages: Sequence[StageUse]) -> Iterator[str]:
    if not stages:
        return
    yield "## Stages"
    yield ""
    head = ("stage", "on", "tasks", "failed", "retried", "waited", "started", "worked", "mean", "p95", "at once")
    yield from table(head, [_stage(stage) for stage in stages], 9)


def _stage(stage: StageUse) -> tuple[str, ...]:
    return (
        code(stage.name, 60),
        code(stage.executor),
        f"{stage.tasks:,}",
        f"{stage.failed + stage.timed_out:,}",
        f"{stage.retried:,}",
        seconds(stage.wait_s),
        seconds(stage.start_s),
        f"{seconds(stage.run_s)} ({percent(stage.work_share)})",
        seconds(stage.mean_s),
        seconds(stage.p95_s),
        number(stage.mean_concurrency),
    )


def _throttled(report: Report) -> Iterator[str]:
    if not report.throttled:
        return
    yield "## Held back"
    yield ""
    rows = [(prose(held.reason), seconds(held.seconds), f"{held.times:,}") for held in report.throttled]
    yield from table(("why", "for", "times"), rows, 2)


def _resources(report: Report) -> Iterator[str]:
    if not report.resources:
        return
    yield "## Resources at their peak"
    yield ""
    rows = [
        (
            code(line.resource),
            f"{number(line.peak)} {line.unit}",
            "–" if line.limit is None else f"{number(line.limit)} {line.unit}",
            moment(line.peak_at),
        )
        for line in report.resources
    ]
    yield from table(("resource", "peak", "limit", "at"), rows)


def _failures(report: Report) -> Iterator[str]:
    if not report.failures:
        return
    yield "## Failures"
    yield ""
    rows = [_failure(group) for group in report.failures[:_FAILURES]]
    yield from table(("what", "message", "in", "inputs", "count"), rows, 1)
    if len(report.failures) > _FAILURES:
        yield ""
        yield f"And {plural(len(report.failures) - _FAILURES, 'more kind')}."


def _failure(group: FailureView) -> tuple[str, ...]:
    first = group.message.strip().split("\n")[0]
    keys = ", ".join(code(key, 60) for key in group.keys[:3])
    stages = ", ".join(code(name, 60) for name in group.names) or "–"
    what = f"{code(group.type, 80)}{' ☠' if group.died else ''}{' ⏱' if group.state == 'timed_out' else ''}"
    return what, code(first), stages, keys, f"{group.count:,}"


def _slowest(report: Report) -> Iterator[str]:
    if not report.slowest:
        return
    yield "## Slowest"
    yield ""
    rows = [
        (
            code(row.key if row.key is not None else row.task_id, 80),
            code(row.name, 60),
            row.state.replace("_", " "),
            f"{row.attempt:,}",
            seconds(row.run_s),
            "–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:,.0f} MB",
        )
        for row in report.slowest[:_SLOWEST]
    ]
    yield from table(("input", "stage", "state", "attempt", "ran", "memory"), rows, 3)


def _environment(report: Report) -> Iterator[str]:
    where = report.environment
    yield "## With what"
    yield ""
    versions = ", ".join(f"{code(name)} {code(version)}" for name, version in where.versions.items())
    yield f"- Versions: {versions or '–'}"
    yield f"- Settings that are not the defaults (SHA-256 of all: {code(where.settings_hash[:16])}):"
    settings = list(flat(where.settings))
    for name, value in settings[:_SETTINGS]:
        yield f"  - {code(f'{name} = {json.dumps(value, ensure_ascii=False)}')}"
    if len(settings) > _SETTINGS:
        yield f"  - and {len(settings) - _SETTINGS} more"
    if not settings:
        yield "  - none"


def flat(settings: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield settings by dotted names."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, settings
