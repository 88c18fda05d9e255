"""Promises of `longshore bench`; what it measures is nobody's business here."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
def test_what_fails_is_told_and_nothing_is_recommended(inside: Inside) -> None:
    """Where every task fails, the first error stands on stderr, and the exit code says so."""
    inside.inputs(["a.txt"])
    code, out, errors = inside("bench", "job:always_fails", "in", *QUICK, "--executor", "threads")
    assert code == 1, errors
    assert "every task failed in threads: ValueError: always" in errors
    assert "nothing is recommended for job:always_fails: no task ended well" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "how"),
    [("os._exit(3)", "exited with code 3"), ("os.kill(os.getpid(), 11)", "was killed by signal 11 (SIGSEGV)")],
)
def test_a_function_that_ends_its_process_is_told_of(inside: Inside, body: str, how: str) -> None:
    """In threads it would end the command as well: one line says so, and what can be measured is."""
    inside.inputs(["a.txt"])
    (inside.folder / "deadly.py").write_text(
        f"import os\ndef crash(path):\n    if 'LONGSHORE_WORKER' not in os.environ:\n        {body}\n"
    )
    code, out, errors = inside("bench", "deadly:crash", "in", *QUICK)
    assert code == 0, errors
    assert f"deadly:crash ended the process that it ran in: that {how}; it can't be measured in threads" in errors
    assert "recommended: processes" in out


@pytest.mark.slow
def test_one_that_can_run_nowhere_else_has_no_recommendation(inside: Inside) -> None:
    """A coroutine function runs in a process of ours only: nothing is recommended for one that ends it."""
    inside.inputs(["a.txt"])
    (inside.folder / "fatal.py").write_text("import os\nasync def crash(path):\n    os._exit(3)\n")
    code, out, errors = inside("bench", "fatal:crash", "in", *QUICK)
    assert code == 1, errors
    assert "can't be measured in asyncio" in errors
    assert "nothing is recommended for fatal:crash" in out


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
