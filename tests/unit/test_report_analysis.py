"""What a report says of runs whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from longshore._report.gather import Handover, report
from longshore._report.records import Report
from longshore._report.spans import Steps, most_at_once
from longshore.records import MetricsPoint, ResourceUse, RunHistory, ThrottleBand, WorkerCount

Script = Any  # the fixture's class: test modules cannot import a conftest
Scripts = Callable[[], Script]


def kinds(made: Report) -> list[str]:
    return [finding.kind for finding in made.findings]


def text_of(made: Report, kind: str) -> str:
    return next(finding.text for finding in made.findings if finding.kind == kind)


def test_busy_workers_are_named_as_the_limit(script: Scripts) -> None:
    """Two workers that never rest: the stage with most of the work is the limit, with its share and their number."""
    run = script()
    for worker in range(2):
        for at in range(9):
            run.task(at, at + 1, worker=f"process-{worker}", key=f"{worker}-{at}")
        run.task(9, 10, name="chunk", worker=f"process-{worker}")
    made = report(run.source())
    assert kinds(made) == ["workers"]
    text = text_of(made, "workers")
    assert text == (
        "“extract” was the limit: the 2 workers of processes were busy 100% of the wall time, for 90% of that with it."
    )
    assert [(use.workers, use.busy_share) for use in made.executors] == [(2, 1.0)]
    assert (made.totals.tasks, made.totals.wall_s, made.totals.run_s, made.totals.rate_per_s) == (20, 10.0, 20.0, 2.0)


def test_more_workers_are_worth_what_work_and_span_allow(script: Scripts) -> None:
    """16 s of work on two workers, the longest task 3 s: four need 4 s at least, and more than six are no use."""
    run = script()
    run.task(0, 3)
    for at in range(5):
        run.task(3 + at, 4 + at)
    for at in range(8):
        run.task(at, at + 1, worker="process-1")
    forecast = report(run.source()).forecast
    assert forecast is not None
    assert (forecast.work_s, forecast.span_s, forecast.workers) == (16.0, 3.0, 2)
    assert [(one.workers, one.least_s, one.most_s) for one in forecast.options] == [
        (1, 16.0, 16.0),
        (2, 8.0, 9.5),
        (4, 4.0, 6.25),
        (8, 3.0, 4.625),
    ]
    assert "With 4 workers of processes instead of 2 the same work would take 4.0 s at least, instead of 8.0 s" in (
        forecast.text
    )
    assert "more than 6 could not shorten it" in forecast.text


def test_what_more_workers_need_is_said(script: Scripts) -> None:
    """Cores where tasks mostly used the CPU, and memory as the largest worker took."""
    run = script()
    for worker in range(2):
        for at in range(10):
            run.task(at, at + 1, worker=f"process-{worker}", cpu_s=0.9, memory_mb=100.0 * (1 + worker))
    forecast = report(run.source()).forecast
    assert forecast is not None
    assert forecast.text.endswith(
        "They need cores: tasks used the CPU 90% of the time they ran. "
        "And memory: 400 MB more, if each takes what the largest did."
    )


def test_one_long_task_is_named(script: Scripts) -> None:
    """What took two thirds of the wall time is said to be what the run cannot be shorter than."""
    run = script()
    run.task(0, 9, key="big.pdf")
    run.task(0, 1, worker="process-1")
    run.task(11, 12, worker="process-1")
    made = report(run.source())
    assert kinds(made)[0] == "longest"
    assert made.findings[0].text.startswith("One task took 75% of the wall time (9.0 s): “big.pdf”.")


def test_the_stages_of_a_document_are_one_chain(script: Scripts) -> None:
    """What has to be done in turn for one document counts together, attempts that failed as well."""
    run = script()
    run.task(2, 5, key="a", group="documents-1", tries=[(0, 2)])
    run.task(5, 9, key="a", group="documents-1", name="chunk")
    run.task(9, 10, key="b", group="documents-1", name="chunk")
    made = report(run.source())
    assert made.findings[0].kind in ("longest", "workers")
    assert made.forecast is not None
    assert made.forecast.span_s == 9.0
    assert text_of(made, "longest").startswith("The 2 stages of one document took 90% of the wall time (9.0 s): “a”.")


def test_what_held_work_back_is_told_by_reason(script: Scripts) -> None:
    """Bands that differ in their figures only are one reason; where two overlap, the time counts once."""
    run = script()
    run.task(0, 1)
    run.task(9, 10)
    bands = [("memory 13.1 of 14.0 GiB", 1, 4), ("memory 12.9 of 14.0 GiB", 3, 5), ("cpu 95 %", 6, 6.5)]
    history = RunHistory(
        bands=[ThrottleBand(reason=why, began=run.moment(a), ended=run.moment(b)) for why, a, b in bands]
    )
    made = report(run.source(history=history))
    assert [(held.reason, held.seconds, held.times) for held in made.throttled] == [
        ("memory 13.1 of 14.0 GiB", 4.0, 2),
        ("cpu 95 %", 0.5, 1),
    ]
    assert text_of(made, "throttled") == (
        "Work was held back for 4.0 s, 40% of the wall time: memory 13.1 of 14.0 GiB."
    )


def test_attempts_made_again_are_counted_with_their_time(script: Scripts) -> None:
    """Three seconds of four were run for nothing: that is said, in all and by stage."""
    run = script()
    run.task(3, 4, tries=[(0, 1), (1, 3)])
    made = report(run.source())
    assert made.retries is not None
    assert (made.retries.attempts, made.retries.run_s, made.retries.share) == (2, 3.0, 0.75)
    assert [(stage.retried, stage.lost_s, stage.run_s) for stage in made.stages] == [(2, 3.0, 4.0)]
    assert "2 attempts that failed and were made again took 3.0 s of the workers, 75%" in text_of(made, "retries")


def test_waits_before_attempts_made_again_are_told(script: Scripts) -> None:
    """Nearly all of the time one task waited to be tried again: that is said, and that more workers are no use."""
    run = script()
    run.task(7.5, 7.51, key="a", tries=[(0, 0.01), (1, 1.01), (3, 3.01)], fails="no")
    run.task(0.01, 0.02, key="b", tries=[(0.01, 0.01)], worker="process-1")
    made = report(run.source())
    assert kinds(made) == ["waits"]
    assert text_of(made, "waits") == (
        "Tasks that had failed waited to be tried again, 7.5 s in all with their ways to workers; "
        "one for 99% of the wall time (7.5 s): “a”."
    )
    assert made.retries is not None
    assert (made.retries.wait_s, made.retries.longest_wait_of) == (pytest.approx(7.47), "a")
    assert made.forecast is not None
    assert made.forecast.text.endswith("no number of them shortens what a task waits to be tried again.")
    assert all(7.47 <= one.least_s + 1e-6 <= one.most_s for one in made.forecast.options)


def test_waits_are_not_blamed_where_workers_were_short(script: Scripts) -> None:
    """A task that had to wait for a worker, or for a run to be begun again, did not wait to be tried again alone."""
    run = script()
    run.task(9, 10, key="a", tries=[(0, 1)])
    for at in range(1, 9):
        run.task(at, at + 1)
    assert kinds(report(run.source())) == ["workers", "retries"]
    again = script()
    again.task(9, 10, tries=[(0, 1)])
    source = again.source()
    twice = report(replace(source, run=msgspec.structs.replace(source.run, generation=2)))
    assert (kinds(twice), twice.retries and twice.retries.wait_s) == (["retries"], 0.0)


def test_shorter_waits_are_not_told_as_slow_feeding(script: Scripts) -> None:
    """Where a task waited a fifth of the time to be tried again, it is not said that work came in too slowly."""
    run = script()
    run.task(2.1, 2.2, tries=[(0, 0.1)], submitted=0)
    run.task(9.9, 10, submitted=9.9)
    made = report(run.source())
    assert kinds(made) == ["mixed"]
    assert made.findings[0].text.endswith("and tasks waited 2.0 s in all to be tried again.")


def test_time_is_split_into_waiting_starting_and_working(script: Scripts) -> None:
    """Per stage: in the queue, on the way to a worker that was ready, at work."""
    run = script()
    run.task(2, 5, submitted=0)
    run.task(5, 6, submitted=1)
    handovers = {("extract", "processes"): Handover(1.5, 2)}
    [stage] = report(run.source(handovers=handovers)).stages
    assert (stage.wait_s, stage.start_s, stage.run_s) == (6.0, 1.5, 4.0)
    assert report(run.source()).stages[0].start_s is None, "not recorded is not zero"


def test_workers_without_work_say_that_it_came_slowly(script: Scripts) -> None:
    """Where nothing was short and tasks did not wait, the input was the limit."""
    run = script()
    for at in range(0, 100, 10):
        run.task(at, at + 1, submitted=at)
    made = report(run.source())
    assert kinds(made) == ["feeding"]
    assert "work came in more slowly than it was done" in made.findings[0].text


@pytest.mark.parametrize(
    ("state", "fails", "code", "told"),
    [
        ("completed", None, 0, "All 2 tasks completed in 2.0 s, 1 a second. All went well (exit code 0)."),
        ("completed", "no", 1, "1 of 2 tasks completed and 1 failed in 2.0 s, 1 a second. Some failed (exit code 1)."),
        (
            "failed",
            None,
            4,
            "Failed: all 2 tasks completed in 2.0 s, 1 a second. The pool itself failed (exit code 4).",
        ),
        ("interrupted", None, None, "Interrupted: all 2 tasks completed in 2.0 s"),
        ("stopped", None, None, "Stopped: all 2 tasks completed in 2.0 s"),
    ],
)
def test_the_verdict_is_a_sentence(script: Scripts, state: str, fails: str | None, code: int | None, told: str) -> None:
    """State, counts, time, and what the command ended with."""
    run = script()
    run.task(0, 1)
    run.task(1, 2, fails=fails)
    verdict = report(run.source(state, commanded=True)).verdict
    assert verdict.text.startswith(told), verdict.text
    assert (verdict.exit_code, verdict.good) == (code, code == 0)
    of_a_program = report(run.source(state)).verdict
    assert (of_a_program.exit_code, "exit code" in of_a_program.text) == (None, False)


def test_resources_are_told_with_their_peak_and_limit(script: Scripts) -> None:
    """In percent where that is known, else in their unit; workers that history counted are counted."""
    run = script()
    run.task(0, 4)
    use = [(1, 40.0), (2, 74.0), (3, 50.0)]
    points = [
        MetricsPoint(
            at=run.moment(at),
            queued=3,
            usage={"memory": ResourceUse(percent, 75.0, percent), "disk_io": ResourceUse(None, None, at * 2.0, "MB/s")},
            workers={"processes": WorkerCount(8, 1)},
        )
        for at, percent in use
    ]
    made = report(run.source(history=RunHistory(points_fine=points)))
    told = {line.resource: (line.unit, line.peak, line.peak_at - run.zero, line.limit) for line in made.resources}
    assert told == {
        "memory": ("%", 74.0, 2.0, 75.0),
        "disk_io": ("MB/s", 6.0, 3.0, None),
        "queued tasks": ("", 3.0, 1.0, None),
    }
    assert [use.workers for use in made.executors] == [8]


def test_a_run_that_goes_on_lasts_until_now(script: Scripts) -> None:
    """Its figures are up to the moment of looking, in which what runs is at work."""
    run = script()
    run.task(0, 1)
    made = report(run.source("running", now=run.zero + 4))
    assert (made.totals.wall_s, made.executors[0].busy_share) == (4.0, 0.25)
    assert (
        made.verdict.text
        == "Running: 1 of 1 task completed in 4.0 s, 0.25 a second. It goes on; this is how it stands."
    )


def test_an_empty_run_has_a_report(script: Scripts) -> None:
    """Nothing was done: no figure is made up, and nothing divides by zero."""
    made = report(script().source("interrupted"))
    assert (made.totals.tasks, made.findings, made.forecast) == (0, [], None)


def test_lists_are_bounded_and_say_so(script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed tasks beyond the most that are listed are counted."""
    monkeypatch.setattr("longshore._report.gather.FAILED_MOST", 3)
    run = script()
    for at in range(5):
        run.task(at, at + 1, fails="no", key=str(at))
    made = report(run.source())
    assert ([task.key for task in made.failed_tasks], made.failed_left_out) == (["0", "1", "2"], 2)
    assert [(group.count, list(group.keys)) for group in made.failures] == [(5, ["0", "1", "2", "3", "4"])]


def test_steps_share_out_what_overlaps_them() -> None:
    """A span counts for each step by its part; all of it is there in the end, and what lies outside is not."""
    steps = Steps(10.0, 2.0, 4)
    for start, end in ((10.5, 11.0), (11.0, 17.0), (5.0, 12.0), (17.5, 30.0)):
        steps.add(start, end)
    assert steps.means() == [1.75, 1.0, 1.0, 0.75]


def test_lives_that_follow_each_other_are_one_at_once() -> None:
    """A worker that takes another's place makes no two."""
    assert most_at_once([(0, 2), (2, 4), (1, 3)]) == 2
    assert most_at_once([]) == 0
