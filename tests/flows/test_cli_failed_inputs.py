"""Inputs of `longshore run` that fail though no task of theirs does: whoever tells of the run later counts them."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

Command = Any  # the fixture's class: test modules cannot import a conftest
QUIET = ("--progress", "none", "--executor", "threads")


def told(inside: Command) -> dict[str, Any]:  # Any: JSON
    """Return the report on the last run."""
    made: dict[str, Any] = json.loads(inside("report", "--json", "-")[1])
    return made


@pytest.mark.slow
def test_a_name_that_is_no_file_is_told_of_by_all(inside: Command) -> None:
    """Runs, failures and every form of the report have it; once it is a file and went well, none has."""
    inside.inputs({"a": "1"})
    code, _, _ = inside("run", "job:picky", "-", "-o", "out.jsonl", *QUIET, stdin=b"in/a\nin/gone\n")
    assert code == 1
    code, failed, errors = inside("failures")
    assert code == 1
    assert "1 x FileNotFoundError outside of tasks" in failed
    assert "in/gone" in failed
    assert "1 failure of 1 kind in run" in errors
    assert "resume" in errors
    [group] = json.loads(inside("failures", "--json")[1])
    assert (group["count"], group["inputs"], group["stages"]) == (1, ["in/gone"], [])
    assert "1 completed, 1 input failed outside of tasks" in inside("runs", "list")[1]
    assert json.loads(inside("runs", "list", "--json")[1])[0]["failed_inputs"] == 1
    report = told(inside)
    assert (report["verdict"]["good"], report["verdict"]["exit_code"]) == (False, 1)
    assert "All 1 tasks" not in report["verdict"]["text"]
    assert "1 input failed outside of tasks" in report["verdict"]["text"]
    assert (report["totals"]["failed"], report["totals"]["failed_inputs"]) == (0, 1)
    assert [(row["key"], row["error"]) for row in report["failed_tasks"]] == [("in/gone", "FileNotFoundError")]
    assert "| `FileNotFoundError` | `missing` | – | `in/gone` | 1 |" in inside("report")[1]
    suite = ElementTree.fromstring(inside("report", "--junit", "-")[1])[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite.findall("testcase")] == ["in/gone"]
    inside.inputs({"gone": "2"})
    assert inside("resume", "last", "--failed", "--progress", "none")[0] == 0
    assert inside("failures")[0] == 0
    assert told(inside)["verdict"]["good"]


@pytest.mark.slow
def test_what_is_refused_before_it_is_a_task_is_told_of(inside: Command) -> None:
    """A stage whose condition raises is no task: the input has failed all the same, beside one whose task did."""
    inside.inputs(["a", "b", "c"])
    (inside.folder / "stages.py").write_text(
        "def chosen(context):\n    if context.document_id.endswith('c'):\n        raise KeyError('no such language')\n"
        "    return True\n"
        "def read(context):\n    if context.document_id.endswith('b'):\n        raise ValueError('it is locked')\n"
    )
    (inside.folder / "longshore.toml").write_text(
        '[pipelines.p]\nstages = [{ name = "read", processor = "stages:read", condition = "stages:chosen" }]\n'
    )
    assert inside("run", "p", "in", "-o", "out.jsonl", *QUIET)[0] == 1
    report = told(inside)
    assert (report["totals"]["failed"], report["totals"]["failed_inputs"]) == (1, 1)
    assert sorted(row["key"] for row in report["failed_tasks"]) == ["in/b", "in/c"]
    assert sum(group["count"] for group in report["failures"]) == 2
    code, failed, _ = inside("failures")
    assert code == 1
    assert "1 x KeyError outside of tasks" in failed
