"""Which metrics there are, with which labels, and that they say what happened."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from longshore.events import AnyEvent, Event, TaskProgress
from longshore.records import PoolStats, SinkHealth, StageSnapshot
from longshore_prometheus import PrometheusSink
from longshore_prometheus._exposition import Exposition
from longshore_prometheus._figures import FRESH_S, RunFigures
from longshore_prometheus._labels import OTHER, VALUE_CHARS, Labels, cleaned
from longshore_prometheus._tally import RESULTS, Tally, restarted_for
from msgspec.structs import replace

Events = Mapping[str, Callable[..., AnyEvent]]
Run = Any  # the fixtures' classes: test modules cannot import a conftest
Scrape = Callable[..., Any]
README = Path(__file__).parents[1] / "README.md"
METRICS = {
    "longshore_tasks": ("counter", {"stage", "result"}),
    "longshore_task_duration_seconds": ("histogram", {"stage"}),
    "longshore_task_queue_seconds": ("histogram", {"stage"}),
    "longshore_tasks_in_progress": ("gauge", {"stage"}),
    "longshore_tasks_queued": ("gauge", {"stage"}),
    "longshore_tasks_retrying": ("gauge", {"stage"}),
    "longshore_queue_depth": ("gauge", {"executor", "priority"}),
    "longshore_task_retries": ("counter", {"stage", "error_type"}),
    "longshore_workers": ("gauge", {"backend", "state"}),
    "longshore_worker_restarts": ("counter", {"reason"}),
    "longshore_worker_rss_bytes": ("gauge", {"worker"}),
    "longshore_resource_usage_ratio": ("gauge", {"resource"}),
    "longshore_resource_limit_ratio": ("gauge", {"resource"}),
    "longshore_resource_limit_bytes": ("gauge", {"resource"}),
    "longshore_throttled_seconds": ("counter", {"reason"}),
    "longshore_eta_seconds": ("gauge", {"bound"}),
    "longshore_last_progress_timestamp_seconds": ("gauge", set()),
    "longshore_sink_events_dropped": ("counter", {"sink"}),
    "longshore_build": ("info", {"version", "python"}),
}


@pytest.mark.requirement("req:L02")
def test_names_types_and_labels(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape, events: Events
) -> None:
    """Every metric has its name, type and labels, no other is there, and the README lists each."""
    run.full()
    sink = served(worker_memory=True)
    sink.on_events([events["completed"](), Event("worker_error", {"signal": 9})])
    exposed = scrape(sink, openly=True)
    assert exposed.types == {name: kind for name, (kind, _) in METRICS.items()}
    labels: dict[str, set[str]] = {name: set() for name in METRICS}
    for name, pairs in exposed.samples:
        family = next(one for one in sorted(METRICS, key=len, reverse=True) if name.startswith(one))
        labels[family] |= {label for label, _ in pairs} - {"le"}
    assert labels == {name: wanted for name, (_, wanted) in METRICS.items()}
    listed = re.findall(
        r"^\| `(longshore_\w+?)(?:_total|_info)?(?:\{([\w, ]*)\})?` \|", README.read_text("utf-8"), re.M
    )
    assert {name: set(filter(None, said.split(", "))) for name, said in listed} == labels


@pytest.mark.requirement("req:L02")
def test_values_are_those_of_the_run(run: Run, served: Callable[..., PrometheusSink], scrape: Scrape) -> None:
    """What is under way, the queue, workers, machine and sinks are told in base units, tasks of one name together."""
    run.full()
    exposed = scrape(served(worker_memory=True))
    assert exposed["longshore_tasks_in_progress"] == {("parse",): 5.0}
    assert exposed["longshore_tasks_queued"] == {("parse",): 5.0}
    assert exposed["longshore_tasks_retrying"] == {("parse",): 1.0}
    assert exposed["longshore_task_retries_total"] == {("ValueError", "parse"): 2.0}
    depths = exposed["longshore_queue_depth"]
    assert len(depths) == 10
    assert {labels: depth for labels, depth in depths.items() if depth} == {
        ("threads", "high"): 2.0,
        ("processes", "normal"): 3.0,
    }
    workers = exposed["longshore_workers"]
    assert {labels: count for labels, count in workers.items() if count} == {
        ("threads", "busy"): 1.0,
        ("processes", "idle"): 1.0,
    }
    assert exposed["longshore_worker_rss_bytes"] == {("p1",): 5e6}
    assert exposed["longshore_resource_usage_ratio"] == {("cpu",): 0.25, ("memory",): 0.25, ("gpu.0",): 0.5}
    assert exposed["longshore_resource_limit_ratio"] == {("cpu",): 0.8, ("memory",): 0.75}
    assert exposed["longshore_resource_limit_bytes"] == {("memory",): 1.5e9}
    assert exposed["longshore_throttled_seconds_total"] == {("cpu",): 0.0, ("memory",): 1.5, ("disk_io",): 0.0}
    assert exposed["longshore_eta_seconds"] == {("low",): 3.0, ("high",): 5.0}
    assert exposed["longshore_sink_events_dropped_total"] == {("jsonl",): 7.0}


def test_memory_of_workers_is_told_only_if_asked_for(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape
) -> None:
    """A time series for each worker is there by choice."""
    run.full()
    assert "longshore_worker_rss_bytes" not in scrape(served()).types


@pytest.mark.parametrize(
    ("kind", "arguments", "result"),
    [
        ("completed", (), "success"),
        ("cancelled", (), "cancellation"),
        ("failed", ("ValueError",), "failure"),
        ("failed", ("longshore.errors.DocumentError",), "failure"),
        ("failed", ("longshore.errors.WorkerDied",), "error"),
        ("failed", ("longshore.errors.MemoryLimitExceeded",), "error"),
        ("failed", ("longshore.errors.PayloadError",), "error"),
        ("failed", ("longshore.errors.TaskTimeout", "parse", "timed_out"), "timeout"),
        ("failed", (None,), "failure"),
    ],
)
def test_results(
    served: Callable[..., PrometheusSink],
    scrape: Scrape,
    events: Events,
    kind: str,
    arguments: tuple[str, ...],
    result: str,
) -> None:
    """An end counts once, under its result; the others of its stage are there as 0, for rates from the first on."""
    sink = served()
    sink.on_events([events[kind](*arguments)])
    counts = scrape(sink)["longshore_tasks_total"]
    assert counts == {(each, "parse"): float(each == result) for each in RESULTS}


def test_ends_that_were_dropped_are_counted(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape, events: Events
) -> None:
    """What the sink was never told of, since too much waited for it, is in the totals all the same (fault:E1)."""
    stage = StageSnapshot(name="parse", executor="threads", completed=10, failed=7, timed_out=4, cancelled=2)
    run.snapshot = replace(run.snapshot, stages=[stage])
    sink = served(linger_s=60.0)
    sink.on_events([events["completed"](), events["failed"]("longshore.errors.WorkerDied")])
    name = "longshore_tasks_total"
    during = scrape(sink)[name]
    assert during == {
        ("success", "parse"): 10.0,
        ("failure", "parse"): 0.0,
        ("error", "parse"): 1.0,
        ("timeout", "parse"): 4.0,
        ("cancellation", "parse"): 2.0,
    }
    sink.close(run.summary())
    assert scrape(sink)[name] == {**during, ("failure", "parse"): 2.0}


def test_histograms(served: Callable[..., PrometheusSink], scrape: Scrape, events: Events) -> None:
    """A bucket counts what is at most its bound; those that ended uncancelled are in them, and their times add up."""
    sink = served(buckets_s=(0.1, 1.0))
    sink.on_events([events["completed"](duration_s=value) for value in (0.05, 0.1, 0.5, 7.0)])
    sink.on_events([events["failed"]("ValueError"), events["cancelled"]()])
    exposed = scrape(sink)
    name = "longshore_task_duration_seconds"
    buckets = {bound: exposed.get(f"{name}_bucket", stage="parse", le=bound) for bound in ("0.1", "1.0", "+Inf")}
    assert buckets == {"0.1": 2.0, "1.0": 4.0, "+Inf": 5.0}
    assert exposed.get(f"{name}_count", stage="parse") == 5.0
    assert exposed.get(f"{name}_sum", stage="parse") == pytest.approx(7.85)
    assert exposed.get("longshore_task_queue_seconds_sum", stage="parse") == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"killed_for": "timeout", "signal": 9}, "timeout"),
        ({"reason": "out_of_memory", "signal": 9}, "out_of_memory"),
        ({"signal": 11}, "signal"),
        ({"exit_code": 3}, "exit"),
        ({"abandoned_threads": 1}, "left_behind"),
        ({"left_behind": 1}, "left_behind"),
        ({"error": "gone"}, "unknown"),
        ({"reason": "start_failed"}, None),
        ({"killed_for": "stop"}, None),
    ],
)
def test_workers_that_are_replaced_count_by_why(data: dict[str, object], reason: str | None) -> None:
    """In a word of a few; one that never began, or is not replaced, is no restart."""
    assert restarted_for(data) == reason


def test_progress_moves_the_time_of_the_last_one(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape
) -> None:
    """Before anything happened it is the run's beginning; then when a task ended or said how far it is."""
    sink = served()
    name = "longshore_last_progress_timestamp_seconds"
    began = run.info.started.timestamp()
    assert scrape(sink)[name] == {(): began}
    sink.on_events([TaskProgress(1, run.info.started.replace(minute=30), "t", 1, 0.5)])
    assert scrape(sink)[name] == {(): began + 26 * 60}


def test_names_past_the_limit_share_one_stage(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape, events: Events
) -> None:
    """However many names tasks have, so many are told apart, in counts and gauges alike, and none goes uncounted."""
    run.snapshot = replace(
        run.snapshot, stages=[StageSnapshot(name=f"n{number}", executor="threads", running=1) for number in range(9)]
    )
    sink = served(max_stages=3)
    sink.on_events([events["completed"](f"n{number}") for number in range(500)])
    exposed = scrape(sink)
    ended = {stage: count for (result, stage), count in exposed["longshore_tasks_total"].items() if result == "success"}
    assert ended == {"n0": 1.0, "n1": 1.0, "n2": 1.0, OTHER: 497.0}
    assert exposed["longshore_tasks_in_progress"] == {("n0",): 1.0, ("n1",): 1.0, ("n2",): 1.0, (OTHER,): 6.0}


@pytest.mark.parametrize("openly", [False, True])
def test_no_name_can_break_the_exposition(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape, events: Events, openly: bool
) -> None:
    """Whatever tasks, errors, workers and sinks are called, the exposition is valid and says them as one line (E5)."""
    hostile = ['a"} 1\nlongshore_forged 1', "\x1b[2J", "\ud800x", "‮gnp", "back\\slash", "", "x" * 10_000]
    run.full()
    run.snapshot = replace(
        run.snapshot,
        stages=[StageSnapshot(name=name, executor="threads", retries={name: 1}) for name in hostile],
        sinks=[SinkHealth(name=name) for name in hostile],
    )
    run.stats = PoolStats(throttled_s=dict.fromkeys(hostile, 1.0), queue={name: {"HIGH": 1} for name in hostile})
    run.workers = [replace(run.workers[1], worker_id=name, executor=name) for name in hostile]
    sink = served(worker_memory=True)
    sink.on_events([events["completed"](name) for name in hostile])
    exposed = scrape(sink, openly=openly)
    assert set(exposed.types) <= set(METRICS) | {f"{name}_info" for name in METRICS}
    stages = {stage for _, stage in exposed["longshore_tasks_total"]}
    assert len(stages) == len(hostile)
    assert all(stage.isprintable() and len(stage) <= 8 * VALUE_CHARS for stage in stages)
    assert "\\x1b[2J" in stages


@pytest.mark.slow
@given(st.text())
def test_cleaned_names_are_printable(raw: str) -> None:
    """A value of a label is never empty, and printable as UTF-8 whatever the name was; a plain name stays itself."""
    value = cleaned(raw)
    assert value
    assert value.isprintable()
    value.encode("utf-8")
    if raw.isprintable() and 0 < len(raw) <= VALUE_CHARS:
        assert value == raw


def test_names_that_look_alike_share_a_series(
    served: Callable[..., PrometheusSink], scrape: Scrape, events: Events
) -> None:
    """Two names that are cut to the same value count together, and the exposition stays valid."""
    long = "x" * VALUE_CHARS
    sink = served()
    sink.on_events([events["completed"](long + "a"), events["completed"](long + "b")])
    assert sum(scrape(sink)["longshore_tasks_total"].values()) == 2.0
    assert Labels(9).of(long + "a") == Labels(9).of(long + "b")


SAFE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@SAFE
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(RESULTS)), max_size=5), max_size=8)
)
def test_counters_only_rise(run: Run, events: Events, batches: list[list[tuple[str, str]]]) -> None:
    """From one scrape to the next no count falls, and at each the counts are those of all ends so far (fault:E7)."""
    make = {
        "success": lambda name: events["completed"](name),
        "failure": lambda name: events["failed"]("ValueError", name),
        "error": lambda name: events["failed"]("longshore.errors.WorkerDied", name),
        "timeout": lambda name: events["failed"]("x", name, "timed_out"),
        "cancellation": lambda name: events["cancelled"](name),
    }
    tally = Tally((0.1,), Labels(2))
    before, true = Counter[tuple[str, str]](), Counter[str]()
    for batch in batches:
        tally.fold([make[result](name) for name, result in batch])
        true.update(result for _, result in batch)
        totals = tally.read().stages
        after = Counter({(name, result): n for name, one in totals.items() for result, n in one.results.items()})
        assert all(after[key] >= before[key] for key in before)
        for result in RESULTS:
            assert sum(one.results[result] for one in totals.values()) == true[result]
        observed = sum(sum(one.ran.counts) for one in totals.values())
        assert observed == sum(true.values()) - true["cancellation"]
        before = after


def test_the_pool_is_asked_no_more_often_than_figures_grow_old(run: Run) -> None:
    """A flood of scrapes costs one question and one text in half a second; the last figures are told at once."""
    now = [100.0]
    figures = RunFigures(run.info, Tally((0.1,), Labels(9)), clock=lambda: now[0])

    class Collector:
        written = 0

        def collect(self) -> list[Any]:
            self.written += 1
            figures.read()
            return []

    collector = Collector()
    exposition = Exposition(collector, clock=lambda: now[0])
    for _ in range(5):
        exposition.write("")
    assert (run.asked, collector.written) == (1, 1)
    now[0] += FRESH_S
    exposition.write("")
    assert (run.asked, collector.written) == (2, 2)
    figures.conclude(run.summary())
    exposition.over = True
    exposition.write("")
    now[0] += 60.0
    exposition.write("")
    assert (run.asked, collector.written) == (2, 4)


def queried(expression: str) -> set[str]:
    """Return the names of metrics in a query."""
    return set(re.findall(r"\blongshore_\w+", expression))


def test_board_and_rules_ask_only_for_what_there_is(
    run: Run, served: Callable[..., PrometheusSink], scrape: Scrape, events: Events
) -> None:
    """Every query of the board and of the alerts names metrics that are served, and the board shows each of them."""
    run.full()
    sink = served(worker_memory=True)
    sink.on_events([events["completed"](), Event("worker_error", {"signal": 9})])
    there = {name for name, _ in scrape(sink).samples}
    package = files("longshore_prometheus")
    board = json.loads((package / "board.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = [one["definition"] for one in board["templating"]["list"] if one["type"] == "query"]
    asked = queried(" ".join([*expressions, *variables]))
    assert asked <= there
    assert queried((package / "rules.yml").read_text("utf-8")) <= there
    plain = {name for name in there if not name.endswith(("_sum", "_count"))}
    assert plain - asked == set()
