"""`longshore runs` and `longshore failures`: what is recorded is shown, and goes only where that is asked for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

Command = Any  # the fixtures' classes: test modules cannot import a conftest
QUIET = ("--progress", "none", "--executor", "threads")


def begin(inside: Command, count: int = 1, /, **contents: str) -> list[str]:
    """Run so often, and return the runs' ids, the newest first."""
    inside.inputs(contents or {"a": "1"})
    ids = [re.search(r"recorded as run (\S+)", inside("run", "job:picky", "in", *QUIET)[2]) for _ in range(count)]
    return [found[1] for found in ids if found is not None][::-1]


def listed(inside: Command) -> list[dict[str, Any]]:  # Any: JSON
    """Return what `runs list --json` tells."""
    told: list[dict[str, Any]] = json.loads(inside("runs", "list", "--json")[1])
    return told


def folder_of(inside: Command, run_id: str) -> Path:
    """Return where a run is kept."""
    path: Path = inside.folder / "state" / "longshore" / "runs" / run_id
    return path


def damage(folder: Path) -> None:
    """Write over the beginning of a run's database."""
    (folder / "journal.db").write_bytes(b"no database" * 100)
    (folder / "journal.db-wal").unlink(missing_ok=True)


@pytest.mark.requirement("req:H19")
def test_a_run_is_recorded_without_being_asked(inside: Command) -> None:
    """It is listed with its state and counts, and shown with what it was begun with."""
    [run_id] = begin(inside, a="1", b="raise")
    [run] = listed(inside)
    assert {name: run[name] for name in ("run", "what", "state", "counts", "inputs", "tasks")} == {
        "run": run_id,
        "what": "job:picky",
        "state": "completed",
        "counts": {"completed": 1, "failed": 1},
        "inputs": 2,
        "tasks": 2,
    }
    code, told, _ = inside("runs", "list")
    assert (code, run_id in told, "1 completed, 1 failed" in told) == (0, True, True)
    code, told, _ = inside("runs", "show", run_id[:-1])
    assert (code, f"longshore resume {run_id}" in told) == (0, True), told


def test_nothing_is_recorded_where_that_is_not_wanted(inside: Command) -> None:
    """By `--no-journal`, or settings; a dry run has nothing to record."""
    inside.inputs({"a": "1"})
    for more in (("--no-journal",), ("--set", "journal=false"), ("--dry-run",)):
        code, _, told = inside("run", "job:picky", "in", *QUIET, *more)
        assert (code, "recorded" in told) == (0, False), told
    assert inside("runs", "list") == (5, "", "longshore: no run is recorded\n")
    assert inside("run", "job:picky", "in", "--journal", "here", "--no-journal")[0] == 2


def test_without_the_plugin_a_run_goes_without_a_journal(inside: Command) -> None:
    """One line says what to install; only who names a journal is refused."""
    inside.inputs({"a": "1"})
    off = ("--set", 'plugins.disable=["sqlite"]')
    code, out, told = inside("run", "job:picky", "in", *QUIET, *off)
    assert (code, len(out.splitlines())) == (0, 1), told
    assert told.count("pip install longshore-sqlite") == 1
    code, _, told = inside("run", "job:picky", "in", *QUIET, *off, "--journal", "here")
    assert (code, "sqlite" in told) == (4, True), told


def test_a_default_place_that_cannot_be_used_costs_the_record_only(inside: Command) -> None:
    """The run goes on without, and says so; one that was asked for is an error."""
    (inside.folder / "file").write_text("in the way")
    inside.inputs({"a": "1"})
    code, out, told = inside("run", "job:picky", "in", *QUIET, XDG_STATE_HOME=str(inside.folder / "file"))
    assert (code, len(out.splitlines()), "nothing is recorded" in told) == (0, 1, True), told
    code, out, told = inside("run", "job:picky", "in", *QUIET, "--journal", "file/runs")
    assert (code, out) == (4, ""), told


def test_the_summary_for_machines_has_the_id(inside: Command) -> None:
    """Its lines stay JSON, all of them."""
    inside.inputs({"a": "1"})
    _, _, told = inside("run", "job:picky", "in", "--progress", "json", "--executor", "threads")
    [last] = [json.loads(text) for text in told.splitlines() if '"inputs_summary"' in text]
    assert last["run"] == listed(inside)[0]["run"]


def test_a_damaged_run_is_named_and_harms_no_other(inside: Command) -> None:
    """It is listed as damaged with the reason, and goes by `--state damaged` only."""
    new, old = begin(inside, 2)
    damage(folder_of(inside, old))
    told = {run["run"]: run for run in listed(inside)}
    assert {run_id: run["state"] for run_id, run in told.items()} == {new: "completed", old: "damaged"}
    assert "journal.db" in told[old]["reason"]
    for command in (("runs", "show", old), ("failures", old), ("resume", old)):
        code, _, errors = inside(*command)
        assert (code, "journal.db" in errors) == (4, True), errors
    assert inside("runs", "prune", "--keep", "1")[:2] == (0, "")
    assert inside("runs", "prune", "--state", "damaged")[:2] == (0, f"{old}\n")
    assert [run["run"] for run in listed(inside)] == [new]


def test_that_no_run_can_be_shown_is_told_as_it_is(inside: Command) -> None:
    """That none is recorded, that those there are damaged, and that the place is not there are three things."""
    for command in (("runs", "show", "last"), ("resume", "last"), ("failures", "20260131")):
        code, _, errors = inside(*command)
        assert (code, "no run is recorded" in errors) == (2, True), errors
    [old] = begin(inside, 1)
    damage(folder_of(inside, old))
    for command in (("runs", "show", "last"), ("resume", "last")):
        code, _, errors = inside(*command)
        assert (code, "damaged" in errors, f"`longshore runs show {old}`" in errors) == (2, True, True), errors
    for command in (("runs", "list"), ("runs", "show", "last"), ("report", "last")):
        code, _, errors = inside(*command, "--journal", "nowhere")
        assert (code, "nowhere: it is not there" in errors) == (2, True), errors


def test_prune_deletes_what_all_conditions_name(inside: Command) -> None:
    """By number, age and state; `--dry-run` deletes nothing; without a condition it does nothing."""
    third, second, first = begin(inside, 3)
    assert inside("runs", "prune")[0] == 2
    assert inside("runs", "prune", "--older-than", "soon")[0] == 2
    assert inside("runs", "prune", "--state", "running")[0] == 2
    assert inside("runs", "prune", "--older-than", "1h")[:2] == (0, "")
    assert inside("runs", "prune", "--keep", "1", "--state", "failed")[:2] == (0, "")
    assert inside("runs", "prune", "--keep", "1", "--dry-run")[:2] == (0, f"{second}\n{first}\n")
    assert len(listed(inside)) == 3
    assert inside("runs", "prune", "--keep", "2", "--older-than", "0s")[:2] == (0, f"{first}\n")
    assert not folder_of(inside, first).exists()
    code, told, _ = inside("runs", "prune", "--state", "completed", "--json")
    assert (code, json.loads(told)) == (0, {"removed": [third, second], "kept": {}, "dry_run": False})


@pytest.mark.slow
def test_a_run_that_is_held_is_never_pruned(longshore: Command) -> None:
    """It is shown as running, and kept whatever is asked; killed, it is interrupted, and may go."""
    longshore.inputs(["a", "b"])
    process = longshore.start("run", "job:held", "in", "--progress", "none", "--executor", "threads")
    wait_until(lambda: bool(list(longshore.folder.glob("started-*"))), "a running task")
    assert json.loads(longshore("runs", "list", "--json").stdout)[0]["state"] == "running"
    pruned = longshore("runs", "prune", "--keep", "0")
    assert (pruned.returncode, pruned.stdout) == (0, b"")
    assert b"is kept: a process has it" in pruned.stderr
    process.kill()
    process.wait(30)
    [run] = json.loads(longshore("runs", "list", "--json").stdout)
    assert run["state"] == "interrupted"
    pruned = longshore("runs", "prune", "--state", "interrupted")
    assert pruned.stdout.decode().split() == [run["run"]]


def test_failures_that_are_the_same_are_told_together(inside: Command) -> None:
    """By type, message without what varies, and place: with their number, an example and the first inputs."""
    (inside.folder / "job.py").write_text(
        "import pathlib\ndef picky(path):\n    text = pathlib.Path(path).read_text()\n"
        "    if text == 'odd':\n        raise KeyError(path)\n"
        "    raise ValueError(f'{path} has {len(text)} signs')\n"
    )
    begin(inside, **{f"v{number}": "x" * number for number in range(7)}, odd="odd")
    code, told, errors = inside("failures")
    assert code == 1
    assert re.findall(r"^(\d+) x (\S+) in job:picky", told, flags=re.MULTILINE) == [
        ("7", "ValueError"),
        ("1", "KeyError"),
    ]
    assert "... and 2 more" in told
    assert "resume" in errors
    assert "--failed" in errors
    code, told, _ = inside("failures", "last", "--json")
    groups = json.loads(told)
    assert [(group["count"], group["type"], len(group["inputs"])) for group in groups] == [
        (7, "ValueError", 7),
        (1, "KeyError", 1),
    ]
    assert "signs" in groups[0]["message"]
    assert len(groups[0]["fingerprint"]) == 12
    assert "raise ValueError" in inside("failures", "--traceback")[1]


def test_failures_that_were_made_good_are_told_no_more(inside: Command) -> None:
    """Once another try has completed, there is nothing to tell."""
    [run_id] = begin(inside, a="raise")
    assert inside("failures", run_id)[0] == 1
    (inside.folder / "in" / "a").write_text("fine")
    assert inside("resume", run_id, "--failed")[0] == 0
    code, told, errors = inside("failures", run_id)
    assert (code, told, "nothing failed" in errors) == (0, "", True), errors


def test_what_is_listed_is_read_only(inside: Command) -> None:
    """Listing and showing change no file of a run."""
    [run_id] = begin(inside)
    folder = folder_of(inside, run_id)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    before = {path.name: (path.stat().st_mtime, path.stat().st_size) for path in folder.iterdir()}
    for command in (("runs", "list"), ("runs", "show", run_id), ("failures", run_id), ("runs", "prune", "--keep", "9")):
        inside(*command)
    after = {path.name: (path.stat().st_mtime, path.stat().st_size) for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
