"""`longshore resume`: a run of the command goes on with what it was begun with, and no input is repeated or lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore import LongshoreError
from longshore.cli.guard import guarded
from support.waiting import wait_until

Command = Any  # the fixtures' classes: test modules cannot import a conftest
Lines = Callable[[bytes | str], dict[str, dict[str, Any]]]  # Any: JSON

QUIET = ("--progress", "none", "--executor", "threads")
NOTED = """
import pathlib
def noted(path):
    with open("ran", "a") as file:
        file.write(path + "\\n")
    text = pathlib.Path(path).read_text()
    if text.startswith("bad"):
        raise ValueError(f"no good: {path}")
    return text
"""


@pytest.fixture
def noting(inside: Command) -> Command:
    """Return the command, with a function that writes down which inputs it is called with."""
    (inside.folder / "job.py").write_text(NOTED)
    return inside


def ran(folder: Path) -> list[str]:
    """Return the names of the inputs that were run since this was asked last."""
    path = folder / "ran"
    names = [os.path.basename(name) for name in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(names)


def output(folder: Path) -> bytes:
    """Return what stands in the file of results."""
    return (folder / "out.jsonl").read_bytes()


def run_id(errors: str) -> str:
    """Return the id that a run has told."""
    found = re.search(r"recorded as run (\S+)", errors)
    assert found, errors
    return found[1]


def test_what_has_its_line_is_not_run_again(noting: Command) -> None:
    """A run that had come to its end has nothing left; its lines stay as they are, and its exit code counts them."""
    noting.inputs({"a": "1", "b": "bad"})
    code, _, errors = noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    before = output(noting.folder)
    assert (code, ran(noting.folder)) == (1, ["a", "b"])
    code, _, told = noting("resume", run_id(errors))
    assert (code, ran(noting.folder), output(noting.folder)) == (1, [], before)
    assert "2 of 2 inputs have their line" in told


@pytest.mark.skipif(os.name == "nt", reason="files are not guarded on Windows")
def test_a_file_that_another_run_writes_is_refused(noting: Command, lines: Lines) -> None:
    """`run` and `resume` are refused before any input is run; the file stays as it is, and is free afterwards."""
    noting.inputs({"a": "1", "b": "bad"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    before = output(noting.folder)
    ran(noting.folder)
    for command in (("run", "job:noted", "in", "-o", "out.jsonl", *QUIET), ("resume", "last", "--failed")):
        with guarded(str(noting.folder / "out.jsonl")) as guard:
            guard.tell("20260131T091500-3fa2c1")
            code, _, told = noting(*command)
        assert (code, ran(noting.folder), output(noting.folder)) == (2, [], before), told
        assert f"run 20260131T091500-3fa2c1, in process {os.getpid()}" in told
    code, _, told = noting("resume", "last", "--failed")
    assert (code, ran(noting.folder)) == (1, ["b"]), told


def test_failed_inputs_run_again_where_that_is_asked_for(noting: Command, lines: Lines) -> None:
    """`--failed` takes the line of what failed away, and what ran again has the only one."""
    noting.inputs({"a": "1", "b": "bad"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    ran(noting.folder)
    (noting.folder / "in" / "b").write_text("good")
    os.utime(noting.folder / "in" / "b", (1, 1))
    code, _, told = noting("resume", "last", "--failed")
    assert (code, ran(noting.folder)) == (0, ["b"]), told
    assert {name: line["status"] for name, line in lines(output(noting.folder)).items()} == {
        "a": "completed",
        "b": "completed",
    }


def test_a_lost_file_of_results_is_written_anew_from_the_journal(noting: Command) -> None:
    """Nothing runs again for it: all results are recorded."""
    noting.inputs({"a": "1", "b": "2", "c": "bad"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    before = sorted(output(noting.folder).splitlines())
    ran(noting.folder)
    (noting.folder / "out.jsonl").unlink()
    assert noting("resume", "last")[0] == 1
    assert ran(noting.folder) == []
    assert sorted(output(noting.folder).splitlines()) == before


def test_without_a_file_all_lines_are_given_once_more(noting: Command, lines: Lines) -> None:
    """On stdout nobody knows what became of the lines of the first time."""
    noting.inputs({"a": "1", "b": "2"})
    _, first, _ = noting("run", "job:noted", "in", *QUIET)
    ran(noting.folder)
    code, second, _ = noting("resume", "last")
    assert (code, lines(second), ran(noting.folder)) == (0, lines(first), [])


def test_changed_inputs_are_said_and_run_again_once(noting: Command, lines: Lines) -> None:
    """By size, time or content; what is gone is said, and keeps its result. Going on once more, nothing is left."""
    noting.inputs({"a": "1", "b": "2", "c": "3"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    ran(noting.folder)
    (noting.folder / "in" / "a").write_text("x")
    (noting.folder / "in" / "c").unlink()
    code, _, told = noting("resume", "last")
    assert (code, ran(noting.folder)) == (0, ["a"]), told
    assert "1 inputs have changed since, and run again: in/a" in told
    assert "1 inputs are gone, and fail if they have no result: in/c" in told
    results = {name: line["result"] for name, line in lines(output(noting.folder)).items()}
    assert results == {"a": "x", "b": "2", "c": "3"}
    (noting.folder / "out.jsonl").unlink()
    code, _, told = noting("resume", "last")
    assert (code, ran(noting.folder)) == (0, []), told
    assert {name: line["result"] for name, line in lines(output(noting.folder)).items()} == results


def test_a_changed_input_is_not_taken_for_the_old_one_after_another_interruption(
    noting: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it has changed is recorded as the run goes on, so that it counts where that was cut off at once."""
    from longshore.cli import work

    noting.inputs({"a": "1", "b": "2"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    ran(noting.folder)
    (noting.folder / "in" / "a").write_text("x")

    async def cut_off(self: object, pool: object) -> None:
        raise LongshoreError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(work._Work, "_feed", cut_off)
        noting("resume", "last")
    assert noting("resume", "last")[0] == 0
    assert ran(noting.folder) == ["a"]


def test_a_touched_input_of_the_same_content_is_the_same(noting: Command) -> None:
    """Where the content is recorded, since the file was young, it decides."""
    noting.inputs({"a": "1"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    ran(noting.folder)
    os.utime(noting.folder / "in" / "a", (1, 1))
    assert noting("resume", "last")[0] == 0
    assert ran(noting.folder) == []


def test_settings_and_options_are_those_of_the_run(noting: Command) -> None:
    """Others are said and not used; `--set` gives others."""
    noting.inputs({"a": "1"})
    (noting.folder / "longshore.toml").write_text("[workers]\ndefault_timeout = 50\n")
    noting("run", "job:noted", "in", "-o", "out.jsonl", "--retries", "2", *QUIET)
    (noting.folder / "longshore.toml").write_text("[workers]\ndefault_timeout = 40\n")
    (noting.folder / "out.jsonl").unlink()
    _, _, told = noting("resume", "last")
    assert "settings have changed since, and those of the run are used: workers.default_timeout" in told
    shown = json.loads(noting("runs", "show", "last", "--json")[1])
    assert shown["settings"]["workers"]["default_timeout"] == 50
    noting("resume", "last", "--set", "workers.default_timeout=30")
    shown = json.loads(noting("runs", "show", "last", "--json")[1])
    assert (shown["settings"]["workers"]["default_timeout"], shown["begun"]) == (30, 3)


def test_each_note_is_told_once(noting: Command) -> None:
    """By the terminal's sink, or without it by the command; for machines nothing but JSON is."""
    noting.inputs({"a": "1"})
    noting("run", "job:noted", "in", "--executor", "threads")
    for progress in ("lines", "none"):
        _, _, told = noting("resume", "last", "--progress", progress)
        assert told.count("1 result was recorded before, and its task not run again") == 1, told
    _, _, told = noting("resume", "last", "--progress", "json")
    assert all(json.loads(text) for text in told.splitlines())


def test_the_limit_of_failures_counts_anew(noting: Command) -> None:
    """A run that --max-failures has stopped goes on until as many have failed again, and says so."""
    noting.inputs({f"{number:03}": "bad" for number in range(200)})
    run = ("run", "job:noted", "in", "-o", "out.jsonl", "--max-failures", "5", "--workers", "1", *QUIET)
    assert noting(*run)[0] == 3
    assert len(ran(noting.folder)) < 200
    code, _, told = noting("resume", "last")
    assert code == 3, told
    assert re.search(r"--max-failures counts from here: \d+ that failed before are not in it", told)
    assert len(ran(noting.folder)) >= 5


def test_changed_code_is_said_and_results_are_kept(noting: Command) -> None:
    """Who mends a function for what failed does not want to do all the rest again."""
    noting.inputs({"a": "1", "b": "bad"})
    noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)
    ran(noting.folder)
    (noting.folder / "job.py").write_text(NOTED.replace('startswith("bad")', 'startswith("worse")'))
    code, _, told = noting("resume", "last", "--failed")
    assert (code, ran(noting.folder)) == (0, ["b"])
    assert "the code of job:noted has changed since" in told


def test_a_pipeline_goes_on_as_it_was_recorded(noting: Command, lines: Lines) -> None:
    """Its stages are those of the settings then, also where these have gone."""
    noting.inputs({"a": "1", "b": "2"})
    (noting.folder / "stages.py").write_text(
        "def first(context):\n    return 1\ndef second(context):\n    return context.previous_results['one'] + 1\n"
    )
    (noting.folder / "longshore.toml").write_text(
        '[pipelines.two]\nstages = [{name = "one", processor = "stages:first"}, '
        '{name = "two", processor = "stages:second", after = ["one"]}]\n'
    )
    noting("run", "two", "in", "-o", "out.jsonl", *QUIET)
    before = lines(output(noting.folder))
    assert {line["result"] for line in before.values()} == {2}
    for name in ("out.jsonl", "longshore.toml"):
        (noting.folder / name).unlink()
    assert noting("resume", "last")[0] == 0
    assert lines(output(noting.folder)) == before


def test_names_that_are_no_utf_8_go_on(noting: Command) -> None:
    """Such a file is an input like any other: recorded, run once, and known again."""
    folder = noting.inputs({"a": "1"})
    Path(os.fsdecode(os.fsencode(folder) + b"/x\xff")).write_text("bad")
    assert noting("run", "job:noted", "in", "-o", "out.jsonl", *QUIET)[0] == 1
    before = output(noting.folder)
    (noting.folder / "ran").unlink()
    (noting.folder / "out.jsonl").unlink()
    assert noting("resume", "last")[0] == 1
    assert not (noting.folder / "ran").exists()
    assert sorted(output(noting.folder).splitlines()) == sorted(before.splitlines())


def test_a_run_that_nobody_can_mean_is_refused(noting: Command) -> None:
    """No run, an unknown one, or the beginning of several: exit code 2, and what to do."""
    noting.inputs({"a": "1"})
    assert noting("resume", "last")[0] == 2
    noting("run", "job:noted", "in", *QUIET)
    noting("run", "job:noted", "in", *QUIET)
    code, _, told = noting("resume", "2")
    assert (code, "is the beginning of 2 runs" in told) == (2, True), told
    code, _, told = noting("resume", "none-such")
    assert (code, "there is no run none-such" in told) == (2, True), told


def test_a_run_of_another_program_is_left_to_it(noting: Command) -> None:
    """The command has no list of its work: it says what goes on with it."""
    import asyncio

    from longshore import WorkerPool

    async def program() -> None:
        async with WorkerPool(journal="sqlite") as pool:
            await (await pool.submit(len, "four"))

    asyncio.run(program())
    code, _, told = noting("resume", "last")
    assert (code, "was begun by a program of its own" in told) == (2, True), told


@pytest.mark.slow
@pytest.mark.parametrize("executor", [pytest.param("threads", marks=pytest.mark.long), "processes"])
def test_a_drained_run_says_how_to_go_on_and_goes_on(longshore: Command, lines: Lines, executor: str) -> None:
    """The first Ctrl-C names the command; while it drains nobody else may have the run; then that does the rest."""
    names = [f"{number:03}" for number in range(20)]
    longshore.inputs(names)
    options = ("--executor", executor, "--workers", "2", "--progress", "none", "--journal", "kept here")
    process = longshore.start("run", "job:held", "in", "-o", "out.jsonl", *options)
    wait_until(lambda: len(list(longshore.folder.glob("started-*"))) >= 2, "two running tasks")
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: b"to go on: longshore resume" in process.stderr.readline(), "the answer to the signal")
    held = longshore("resume", "last", "--journal", "kept here")
    assert (held.returncode, b"is under way" in held.stderr) == (2, True), held.stderr
    (longshore.folder / "go").touch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    found = re.search(rb"to go on: longshore resume (\S+) --journal '([^']*)'", errors)
    assert found, errors
    shown = json.loads(longshore("runs", "show", "last", "--json", "--journal", "kept here").stdout)
    assert shown["state"] == "stopped"
    for mark in longshore.folder.glob("started-*"):
        mark.unlink()
    done = longshore("resume", found[1], "--journal", found[2])
    assert done.returncode == 0, done.stderr
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert {line["status"] for line in told.values()} == {"completed"}
    assert sorted(told) == names
    assert len(list(longshore.folder.glob("started-*"))) < len(names)


STAGES = """
import pathlib, time
def noted(stage, context):
    with open("ran", "a") as file:
        file.write(f"{stage} {context.document_id}\\n")
def first(context):
    noted("one", context)
    return len(context.document_id)
def second(context):
    noted("two", context)
    until = time.monotonic() + 60
    while not pathlib.Path("go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return context.previous_results["one"] + 1
"""


@pytest.mark.slow
@pytest.mark.requirement("req:J07")
def test_a_killed_pipeline_runs_its_unfinished_stages_only(longshore: Command, lines: Lines) -> None:
    """After kill -9 stages whose results are recorded are not run again; those that were under way are."""
    longshore.inputs(["a", "b", "c", "d"])
    (longshore.folder / "stages.py").write_text(STAGES)
    (longshore.folder / "longshore.toml").write_text(
        '[pipelines.two]\nstages = [{name = "one", processor = "stages:first"}, '
        '{name = "two", processor = "stages:second", after = ["one"]}]\n'
    )
    ran = longshore.folder / "ran"
    process = longshore.start("run", "two", "in", "-o", "out.jsonl", "--workers", "8", "--progress", "none")
    wait_until(lambda: ran.exists() and ran.read_text().count("two in/") == 4, "the second stages")
    process.kill()
    process.wait(30)
    assert ran.read_text().count("one in/") == 4
    ran.unlink()
    (longshore.folder / "go").touch()
    done = longshore("resume", "last")
    assert done.returncode == 0, done.stderr
    assert sorted(ran.read_text().split()) == sorted([*["two"] * 4, "in/a", "in/b", "in/c", "in/d"])
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert [line["result"] for line in told.values()] == [5, 5, 5, 5]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
@pytest.mark.timeout(120)
def test_a_run_killed_again_and_again_loses_and_repeats_nothing(longshore: Command, lines: Lines, seed: int) -> None:
    """Killed with -9 five times at any moment, then left alone: one line an input, the right one (fault:J1)."""
    import random

    dice = random.Random(seed)
    names = [f"{number:03}" for number in range(80)]
    longshore.inputs({name: f"text {name}" for name in names})
    (longshore.folder / "job.py").write_text(
        "import pathlib, time\ndef slow(path):\n    time.sleep(0.02)\n    return pathlib.Path(path).read_text()\n"
    )
    begin = ("run", "job:slow", "in", "-o", "out.jsonl", "--workers", "2", "--progress", "none")
    for turn in range(5):
        process = longshore.start(*(begin if turn == 0 else ("resume", "last")))
        runs = longshore.folder / "state" / "longshore" / "runs"
        wait_until(lambda: process.poll() is not None or bool(list(runs.glob("*/journal.db"))), "the journal")  # noqa: B023
        time.sleep(dice.uniform(0.2, 1.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    done = longshore("resume", "last")
    assert done.returncode == 0, done.stderr
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert {name: line["result"] for name, line in told.items()} == {name: f"text {name}" for name in names}
