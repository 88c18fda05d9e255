"""Failed tasks as JUnit XML, which the viewers of CI systems read: one test case each, and the counts of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from longshore._report.records import RunFacts, Totals
from longshore._report.untasked import FailedInput
from longshore._report.words import xml_text
from longshore.runs import TaskDetail


def junit(
    run: RunFacts, totals: Totals, failed: Iterable[TaskDetail], inputs: Sequence[FailedInput] = ()
) -> Iterator[str]:
    """Yield the file in pieces: well-formed XML whatever the names are, as long as there are failures.

    `tests` counts all tasks that ended, listed or not. What failed is a failure, what timed out an error, what was
    cancelled skipped. Inputs that failed though no task of theirs did are cases of their own, and so is a run that
    failed itself, as an error.
    """
    broken = run.state == "failed"
    ended = totals.tasks - totals.unfinished + len(inputs) + broken
    late = sum(one.state == "timed_out" for one in inputs)
    counts = _attributes(
        name=run.name,
        tests=ended,
        failures=totals.failed + len(inputs) - late,
        errors=totals.timed_out + late + broken,
        skipped=totals.cancelled,
        time=f"{totals.wall_s:.3f}",
    )
    more = _attributes(
        timestamp=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        hostname=run.host,
        id=run.run_id,
    )
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{counts}>\n<testsuite{counts}{more}>\n<properties>\n'
    for name in ("tasks", "completed", "failed", "timed_out", "cancelled", "unfinished", "retried", "failed_inputs"):
        yield f"<property{_attributes(name=name, value=getattr(totals, name))}/>\n"
    yield "</properties>\n"
    if broken:
        yield _run_case(run)
    for detail in failed:
        yield _case(detail)
    for one in inputs:
        yield _input_case(run.name, one)
    yield "</testsuite>\n</testsuites>\n"


def _run_case(run: RunFacts) -> str:
    said = _attributes(type=run.error_type or "unknown", message=run.error or "why is not recorded")
    return f"<testcase{_attributes(classname=run.name, name=run.run_id, time='0.000')}><error{said}/></testcase>\n"


def _case(detail: TaskDetail) -> str:
    task = detail.task
    name = task.key if task.key is not None else task.task_id
    head = _attributes(classname=task.name, name=name, time=f"{task.run_s or 0.0:.3f}")
    message = detail.message or task.note or task.reason or ""
    kind = "error" if task.state == "timed_out" else "failure"
    said = _attributes(type=task.error or "unknown", message=message.strip().split("\n")[0])
    told = detail.traceback or message
    tail = f"<system-out>{_text(detail.output_tail)}</system-out>" if detail.output_tail else ""
    return f"<testcase{head}><{kind}{said}>{_text(told)}</{kind}>{tail}</testcase>\n"


def _input_case(name: str, failed: FailedInput) -> str:
    kind = "error" if failed.state == "timed_out" else "failure"
    said = _attributes(type=failed.type, message=failed.reason)
    head = _attributes(classname=name, name=failed.key, time="0.000")
    return f"<testcase{head}><{kind}{said}>{_text(failed.reason)}</{kind}></testcase>\n"


def _attributes(**values: object) -> str:
    return "".join(f' {name}="{_attribute(str(value))}"' for name, value in values.items())


def _attribute(text: str) -> str:
    marks = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
    return escape(xml_text(text), marks)


def _text(text: str) -> str:
    return escape(xml_text(text), {"\r": "&#13;"})
