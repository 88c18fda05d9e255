"""Promises of `longshore bench`; what it measures is nobody's business here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from longshore._bench_advice import Cell, Cost, Spread

Inside = Any  # the fixture's class: test modules cannot import a conftest

QUICK = ("--quick", "--workers", "1")


@pytest.mark.slow
def test_a_function_is_measured_and_something_recommended_for_it(inside: Inside) -> None:
    """On stdout there is nothing but the figures and what follows from them, whatever the function prints."""
    inside.inputs(["a.txt", "b.txt"])
    code, out, errors = inside("bench", "job:size", "in", *QUICK, "--executor", "threads", "--json")
    assert code == 0, errors
    told = json.loads(out)
    (work,) = told["works"]
    (cell,) = work["measured"]
    assert (work["name"], work["inputs"]) == ("job:size", 2)
    assert (cell["executor"], cell["workers"], cell["failed"]) == ("threads", 1, 0)
    assert 0 < cell["per_s"]["low"] <= cell["per_s"]["median"] <= cell["per_s"]["high"]
    assert cell["tasks"] > 0
    assert [cost["executor"] for cost in told["costs"]] == ["threads"]
    assert (work["recommended"]["executor"], work["recommended"]["workers"]) == ("threads", 1)
    assert told["about"]["usable_cpus"] >= 1


@pytest.mark.slow
def test_a_plain_function_is_compared_in_threads_and_processes(inside: Inside) -> None:
    """Both are in the table, the recommendation has its reasons, and a command to run comes last."""
    inside.inputs(["a.txt"])
    code, out, errors = inside("bench", "job:size", "in", "--quick", "--workers", "2", NO_COLOR="1")
    assert code == 0, errors
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith(("threads ", "processes "))]
    assert [row for row in rows if row[1] in "12"] == [[n, w] for n in ("threads", "processes") for w in "12"]
    assert "\nrecommended: " in out
    assert out.count("\n  - ") >= 2
    assert out.splitlines()[-1].startswith("  longshore run job:size in --executor ")
    assert "\x1b" not in out + errors
    assert "\r" not in errors


@pytest.mark.slow
def test_without_a_function_there_is_a_recommendation_for_each_kind_of_work(inside: Inside) -> None:
    """Doing nothing, computing and waiting are measured in turn, in the executors asked for."""
    code, out, errors = inside("bench", *QUICK, "--executor", "asyncio", "--executor", "threads", "--json")
    assert code == 0, errors
    works = json.loads(out)["works"]
    assert [work["name"] for work in works] == ["nothing", "1 ms of CPU", "5 ms of waiting"]
    assert all(work["recommended"]["reasons"] for work in works)
    assert {cell["executor"] for work in works for cell in work["measured"]} == {"asyncio", "threads"}


@pytest.mark.slow
def test_a_function_that_ends_its_process_is_told_of(inside: Inside) -> None:
    """In threads it would end the command as well: one line says so, and what can be measured is."""
    inside.inputs(["a.txt"])
    (inside.folder / "deadly.py").write_text(
        "import os\ndef crash(path):\n    if 'LONGSHORE_WORKER' not in os.environ:\n        os.kill(os.getpid(), 11)\n"
    )
    code, out, errors = inside("bench", "deadly:crash", "in", *QUICK)
    assert code == 0, errors
    how = "was killed by signal 11 (SIGSEGV)"
    assert f"deadly:crash ended the process that it ran in: that {how}; it can't be measured in threads" in errors
    assert "recommended: processes" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("documents", "in"), "documents: what is measured is a function, written as module:function"),
        (("job:size",), "say what job:size is to be called with: longshore bench job:size INPUT..."),
        (("job:sise", "in"), "job has no 'sise'; did you mean 'size'?"),
        (("job:size", "missing.txt"), "no such file or folder: missing.txt"),
        (("job:wait", "in", "--executor", "threads"), "job:wait is a coroutine: it can't be run in threads"),
        (("job:size", "in", "--executor", "asyncio"), "job:size is no coroutine: it can't be run in asyncio"),
        (("--executor", "ray"), "--executor ray: what can be measured is asyncio, threads, processes"),
        (("--workers", "0"), "--workers 0: at least one is needed"),
        (("--rounds", "0"), "--rounds 0: at least one is needed"),
        (("--rounds", "many"), "Try: longshore bench --help"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    inside: Inside, arguments: tuple[str, ...], words: str
) -> None:
    """One line says what is wrong and what to write instead: exit 2, nothing on stdout."""
    inside.inputs(["a.txt"])
    code, out, errors = inside("bench", *arguments)
    assert (code, out) == (2, "")
    assert words in errors


def test_a_folder_without_files_leaves_nothing_to_do(inside: Inside) -> None:
    """As with `run`, that is an exit code of its own."""
    inside.inputs([])
    code, out, errors = inside("bench", "job:size", "in", *QUICK)
    assert (code, out) == (5, "")
    assert "there is nothing to measure with" in errors


def test_the_help_teaches_by_examples(inside: Inside) -> None:
    """The help says that the function is called many times, what the exit codes are, and three ways to call it."""
    _, out, _ = inside("bench", "--help")
    assert "called many times over" in out
    assert out.count("longshore bench") >= 3
    assert "Ends with 0" in out


COSTS = {
    "threads": Cost(executor="threads", stream_s=2e-6, p50_s=60e-6, p99_s=1e-4),
    "processes": Cost(executor="processes", stream_s=3e-6, p50_s=120e-6, p99_s=3e-4),
}


def cell(executor: str, workers: int, per_s: float, failed: int = 0) -> Cell:
    """Return a measurement of tasks that take 5 ms of waiting."""
    rates = Spread(per_s, per_s * 0.9, per_s * 1.1)
    facts = {"executor": executor, "workers": workers, "per_s": rates, "ran_s": 5e-3, "cpu_s": 1e-4, "tasks": 100}
    return Cell(**facts, failed=failed, error="ValueError: always" if failed else None)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Cell]], list[tuple[Any, ...]]]:
    """Have these figures be what is measured; the list gets what was asked to be measured."""

    def given(cells: Sequence[Cell]) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []

        async def costs(executors: Sequence[str], plan: Any, teller: Any) -> dict[str, Cost]:
            asked.append((*executors, plan.rounds, plan.cell_s, plan.workers))
            return {name: COSTS[name] for name in executors}

        def apart(target: str, work: Any, plan: Any, teller: Any) -> list[Cell]:
            teller.doing(f"{target}: threads x 1", "threads")
            teller.problem("threads can't be used here: no more threads")
            teller.doing(f"{target}: processes x 1", "processes")
            return list(cells)

        async def here(work: Any, plan: Any, teller: Any) -> list[Cell]:
            return list(cells)

        monkeypatch.setattr("longshore._bench.measure_costs", costs)
        monkeypatch.setattr("longshore._bench.measure_work", here)
        monkeypatch.setattr("longshore._bench_apart.measure_apart", apart)
        return asked

    return given


def test_figures_are_told_with_a_command_that_follows_from_them(
    inside: Inside, measured: Callable[[Sequence[Cell]], list[tuple[Any, ...]]]
) -> None:
    """A row for each cell, the gain over one worker, the recommendation with its reasons, and what to run, last."""
    inside.inputs(["a.txt", "b.txt"])
    asked = measured([cell("threads", 1, 200.0), cell("threads", 16, 3000.0), cell("processes", 16, 3010.0)])
    code, out, errors = inside("bench", "job:size", "in", "--rounds", "7", "--workers", "16")
    assert code == 0, errors
    assert asked == [("threads", "processes", 7, 0.3, 16)]
    rows = [line.split() for line in out.splitlines() if line.startswith(("threads ", "processes "))]
    assert [row[0] for row in rows] == ["threads", "processes", "threads", "threads", "processes"]
    assert "15.00 x" in out
    assert "recommended: threads, 16 workers, 1 input a call" in out
    assert out.splitlines()[-1] == "  longshore run job:size in --executor threads --workers 16"
    assert "longshore: threads can't be used here: no more threads" in errors


def test_figures_for_machines_are_those_for_people(
    inside: Inside, measured: Callable[[Sequence[Cell]], list[tuple[Any, ...]]]
) -> None:
    """As JSON: the machine, the costs, each work with its figures and recommendation; `--quick` is one round."""
    asked = measured([cell("threads", 1, 200.0), cell("threads", 16, 3000.0)])
    code, out, errors = inside("bench", "--quick", "--executor", "threads", "--json")
    assert code == 0, errors
    assert asked == [("threads", 1, 0.1, None)]
    told = json.loads(out)
    assert told["rounds"] == 1
    assert [work["name"] for work in told["works"]] == ["nothing", "1 ms of CPU", "5 ms of waiting"]
    assert {work["recommended"]["workers"] for work in told["works"]} == {16}
    assert told["works"][0]["measured"][0]["per_s"] == pytest.approx({"median": 200, "low": 180, "high": 220})


@pytest.mark.parametrize(("cells", "row"), [([], "it could not be run"), ([cell("threads", 1, 9.0, 100)], "threads")])
def test_without_a_task_that_ended_well_nothing_is_recommended(
    inside: Inside, measured: Callable[[Sequence[Cell]], list[tuple[Any, ...]]], cells: list[Cell], row: str
) -> None:
    """Be it that all failed or that nothing could be run: exit code 1, and it is said."""
    inside.inputs(["a.txt"])
    measured(cells)
    code, out, errors = inside("bench", "job:size", "in")
    assert code == 1, errors
    assert "nothing is recommended for job:size: no task ended well" in out
    assert row in out


def test_on_a_terminal_what_is_measured_is_one_line_that_is_cleared(
    inside: Inside, measured: Callable[[Sequence[Cell]], list[tuple[Any, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written over, and gone before anything else is said; the machine's load is noted where it disturbs."""
    inside.inputs(["a.txt"])
    measured([cell("threads", 1, 200.0)])
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (1e6, 0.0, 0.0))
    code, _, errors = inside("bench", "job:size", "in", TERM="xterm")
    assert code == 0, errors
    first, second = errors.index("threads x 1"), errors.index("processes x 1")
    assert "\r" in errors[first:second]
    assert errors.rstrip(" ").endswith("\r")
    assert "note: the machine is busy, with a load of 1000000.0" in errors


def test_in_a_log_it_is_said_now_and_then(
    inside: Inside, measured: Callable[[Sequence[Cell]], list[tuple[Any, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line when the last one is five seconds old, not one for each measurement."""
    inside.inputs(["a.txt"])
    measured([cell("threads", 1, 200.0)])
    now = iter([0.0, 1.0, 6.0])
    monkeypatch.setattr(import_module("longshore.cli.progress"), "time", SimpleNamespace(monotonic=lambda: next(now)))
    code, _, errors = inside("bench", "job:size", "in")
    assert code == 0, errors
    assert "threads x 1" not in errors
    assert "   6 s  job:size: processes x 1\n" in errors
