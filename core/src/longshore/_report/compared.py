"""A comparison of two runs as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from longshore._report.compare import Changes, Comparison
from longshore._report.html import page
from longshore._report.markdown import table
from longshore._report.records import StageUse
from longshore._report.words import code, moment, number, percent, prose, seconds

_LISTED = 20
_SCRIPTS = ("parts.js", "compare.js")


def compared_html(comparison: Comparison) -> str:
    """Return the page, of the same make as a report's."""
    title = f"{comparison.first.name}: two runs compared"
    return page(comparison, title=title, said=" ".join(comparison.words), scripts=_SCRIPTS)


def compared_markdown(comparison: Comparison) -> str:
    """Return about a page of Markdown."""
    changes = (
        ("Newly failing", comparison.newly_failing),
        ("Newly passing", comparison.newly_passing),
        ("Slower", comparison.slower),
        ("Faster", comparison.faster),
    )
    parts = [_head(comparison), _totals(comparison), _stages(comparison), *(_single(*each) for each in changes)]
    return "\n\n".join("\n".join(part) for lines in parts if (part := list(lines))) + "\n"


def _head(comparison: Comparison) -> Iterator[str]:
    yield f"# {code(comparison.first.name, 60)}: two runs compared"
    yield ""
    for which, run in (("first", comparison.first), ("second", comparison.second)):
        yield f"- {which}: {code(run.run_id)} of {moment(run.started)}, {run.state}"
    yield ""
    for text in comparison.words:
        yield f"- {prose(text)}"


def _totals(comparison: Comparison) -> Iterator[str]:
    one, other = comparison.first_totals, comparison.second_totals
    counts = ("tasks", "completed", "failed", "timed_out", "cancelled", "unfinished", "retried", "failed_inputs")
    rows = [(name.replace("_", " "), f"{getattr(one, name):,}", f"{getattr(other, name):,}", "") for name in counts]
    for name, shown in (("wall", "wall_s"), ("waited", "wait_s"), ("worked", "run_s"), ("CPU", "cpu_s")):
        first, second = getattr(one, shown), getattr(other, shown)
        rows.append((name, seconds(first), seconds(second), _change(first, second)))
    rows.append(
        ("a second", number(one.rate_per_s), number(other.rate_per_s), _change(one.rate_per_s, other.rate_per_s))
    )
    yield "## In all"
    yield ""
    yield from table(("", "first", "second", "change"), rows, 3)
    yield ""
    alone = f"{comparison.only_first:,} in the first only, {comparison.only_second:,} in the second only"
    yield f"{comparison.matched:,} tasks are in both; {alone}."


def _stages(comparison: Comparison) -> Iterator[str]:
    yield "## Stages"
    yield ""
    rows = []
    for change in comparison.stages:
        first, second = _figures(change.first), _figures(change.second)
        changed = _change(first[1], second[1]) if first[1] is not None and second[1] is not None else "–"
        rows.append(
            (
                *(code(change.name, 60), code(change.executor), first[0], second[0]),
                *(seconds(first[1]), seconds(second[1]), changed, seconds(first[2]), seconds(second[2])),
            )
        )
    head = ("stage", "on", "worked", "then", "mean", "then", "change", "p95", "then")
    yield from table(head, rows, 7)


def _figures(stage: StageUse | None) -> tuple[str, float | None, float | None]:
    return ("–", None, None) if stage is None else (seconds(stage.run_s), stage.mean_s, stage.p95_s)


def _single(title: str, changes: Changes) -> Iterator[str]:
    if not changes.count:
        return
    yield f"## {title}: {changes.count:,}"
    yield ""
    rows = [
        (
            code(row.key, 80),
            code(row.name, 60),
            f"{row.first_state} → {row.second_state}".replace("_", " "),
            seconds(row.first_s),
            seconds(row.second_s),
        )
        for row in changes.rows[:_LISTED]
    ]
    yield from table(("input", "stage", "state", "ran", "then"), rows, 2)
    if changes.count > len(rows):
        yield ""
        yield f"And {changes.count - len(rows):,} more."


def _change(first: float, second: float) -> str:
    if first <= 0:
        return "–"
    part = second / first - 1
    return f"{'−' if part < 0 else '+'}{percent(abs(part))}"
