"""Traces of a run: each attempt where and when it was, and nothing nested that did not run within another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from longshore._report import writing
from longshore._report.gather import report

Script = Any  # the fixture's class: test modules cannot import a conftest
Scripts = Callable[[], Script]
Event = dict[str, Any]  # Any: JSON


def chrome(run: Script) -> list[Event]:
    source = run.source()
    told: dict[str, Any] = json.loads("".join(writing.REPORTS["chrome"](source, report(source))))
    events: list[Event] = told["traceEvents"]
    return events


def speedscope(run: Script) -> dict[str, Any]:
    source = run.source()
    told: dict[str, Any] = json.loads("".join(writing.REPORTS["speedscope"](source, report(source))))
    return told


def test_each_worker_has_a_track_with_its_attempts(script: Scripts) -> None:
    """A process for an executor, a thread for a worker, both named; times are microseconds since the beginning."""
    run = script()
    run.task(1, 2, key="a", worker="process-0")
    run.task(2.5, 4, key="b", worker="process-1", fails="no")
    run.task(5, 6, key="c", worker="thread-0", executor="threads", tries=[(0, 1.5)])
    events = chrome(run)
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    executors = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    told = [
        (executors[e["pid"]], names[e["pid"], e["tid"]], e["args"]["input"], e["cat"], e["ts"], e["dur"])
        for e in events
        if e["ph"] == "X"
    ]
    assert told == [
        ("processes", "process-0", "a", "completed", 1_000_000, 1_000_000),
        ("processes", "process-1", "b", "failed", 2_500_000, 1_500_000),
        ("threads", "thread-0", "c", "failed", 0, 1_500_000),
        ("threads", "thread-0", "c", "completed", 5_000_000, 1_000_000),
    ]


def test_attempts_that_overlap_on_a_worker_do_not_nest(script: Scripts) -> None:
    """What runs at once on one worker goes to tracks of its own, by begin and end with an id; each keeps its times."""
    run = script()
    for start, end in ((0, 4), (1, 2), (1.5, 6), (5, 7)):
        run.task(start, end, executor="asyncio", worker="async-0")
    events = chrome(run)
    whole = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X")
    assert all(end <= start for (_, end), (start, _) in pairwise(whole))
    begun = {e["id"]: e["ts"] for e in events if e["ph"] == "b"}
    apart = [(begun[e["id"]], e["ts"]) for e in events if e["ph"] == "e"]
    assert sorted(whole + apart) == [(0, 4e6), (1e6, 2e6), (1.5e6, 6e6), (5e6, 7e6)]


def test_what_a_worker_told_of_together_is_laid_in_turn(script: Scripts) -> None:
    """Short tasks whose ends became known in one moment ran one after the other before it, and keep their lengths."""
    run = script()
    run.task(0, 1)
    for _ in range(10):
        run.task(1.99, 2.0)
    events = [e for e in chrome(run) if e["ph"] in "Xb"]
    assert {e["ph"] for e in events} == {"X"}
    spans = sorted((e["ts"], e["dur"]) for e in events)[1:]
    assert spans == [(1_900_000 + 10_000 * place, 10_000) for place in range(10)]


def test_a_late_word_of_an_end_makes_no_overlap(script: Scripts) -> None:
    """An end that was told a little late is moved back to where the next one on that worker begins."""
    run = script()
    run.task(0.01, 1.01)
    run.task(1.0, 2.0)
    assert [(e["ph"], e["ts"], e["dur"]) for e in chrome(run) if e["ph"] in "Xb"] == [
        ("X", 0, 1_000_000),
        ("X", 1_000_000, 1_000_000),
    ]


def test_how_many_ran_at_once_is_a_counter(script: Scripts) -> None:
    """By stage, a point for each step."""
    run = script()
    run.task(0, 2)
    run.task(0, 2, worker="process-1")
    counters = [e for e in chrome(run) if e["ph"] == "C"]
    assert {e["args"]["extract"] for e in counters} == {2.0}
    assert [e["ts"] for e in counters[:2]] == [0, 50_000]


def test_speedscope_frames_open_and_close_in_turn(script: Scripts) -> None:
    """Evented as its format asks: sorted by time, each frame closed before the one it was opened in, none left open."""
    run = script()
    for start, end in ((0, 4), (1, 2), (1.5, 6), (5, 7)):
        run.task(start, end, executor="asyncio", worker="async-0", key=f"k{start}")
    told = speedscope(run)
    assert told["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = [frame["name"] for frame in told["shared"]["frames"]]
    seen: dict[str, float] = defaultdict(float)
    for profile in told["profiles"]:
        assert (profile["type"], profile["unit"]) == ("evented", "seconds")
        stack: list[tuple[int, float]] = []
        last = profile["startValue"]
        for event in profile["events"]:
            assert event["at"] >= last
            last = event["at"]
            if event["type"] == "O":
                stack.append((event["frame"], event["at"]))
            else:
                frame, began = stack.pop()
                assert frame == event["frame"]
                seen[frames[frame]] += event["at"] - began
        assert (stack, last) == ([], profile["endValue"])
    assert seen == {"extract": 11.5, "k0": 4.0, "k1": 1.0, "k1.5": 4.5, "k5": 2.0}
    names = [profile["name"] for profile in told["profiles"]]
    assert names == ["asyncio: async-0", "asyncio: async-0 (2)", "asyncio: async-0 (3)"]


def test_a_trace_is_bounded_and_says_what_is_not_in_it(script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earliest attempts are kept, and the others counted."""
    monkeypatch.setattr(writing, "SPANS_MOST", 3)
    run = script()
    for at in range(5):
        run.task(at, at + 1)
    source = run.source()
    told = json.loads("".join(writing.REPORTS["chrome"](source, report(source))))
    assert told["otherData"]["attempts_left_out"] == 2
    assert [e["ts"] for e in told["traceEvents"] if e["ph"] == "X"] == [0, 1_000_000, 2_000_000]
