"""A run that ends with a fault: it is recorded as failed, with the reason, and whoever tells of it later says so."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from longshore.cli.lines import Lines
from longshore.errors import LongshoreError

Command = Any  # the fixture's class: test modules cannot import a conftest
QUIET = ("--progress", "none")
NEVER = "a asks for more than there can ever be"
TABLE = '[pipelines.x]\nstages = [{ name = "a", processor = "job:size", resources = { gpu = 1 } }]\n[probes]\n'


@pytest.mark.slow
def test_what_asks_for_more_than_there_can_ever_be_fails_the_run(inside: Command) -> None:
    """It ends at once, before any input; runs, reports and failures tell why, and resume goes on with all of them."""
    inside.inputs(["a", "b", "c", "d"])
    (inside.folder / "longshore.toml").write_text(TABLE)
    code, _, errors = inside("run", "x", "in", "-o", "out.jsonl", "--executor", "threads", "--report", "r.md", *QUIET)
    assert code == 4
    assert NEVER in (inside.folder / "r.md").read_text()
    assert NEVER in errors
    assert not (inside.folder / "out.jsonl").exists()
    [run] = json.loads(inside("runs", "list", "--json")[1])
    assert (run["state"], NEVER in run["reason"], run["inputs"]) == ("failed", True, 4)
    assert NEVER in inside("runs", "show", "last")[1]
    assert f"to go on with it: longshore resume {run['run']}" in inside("doctor", "--run", "last")[1]
    report = json.loads(inside("report", "--json", "-")[1])
    assert (report["verdict"]["good"], report["verdict"]["exit_code"]) == (False, 4)
    assert "4 inputs have no result. It ended with a fault: a asks" in report["verdict"]["text"]
    assert report["totals"]["left_inputs"] == 4
    assert report["run"]["error_type"] == "longshore.errors.ResourceUnavailable"
    suite = ElementTree.fromstring(inside("report", "--junit", "-")[1])[0]
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    code, told, errors = inside("failures")
    assert code == 1
    assert told.startswith(f"the run itself failed: {NEVER}")
    assert "resume" in errors
    [group] = json.loads(inside("failures", "--json")[1])
    assert (group["count"], group["inputs"], group["type"]) == (1, [], "longshore.errors.ResourceUnavailable")
    (inside.folder / "named.py").write_text("def name(context):\n    return context.document_id\n")
    again = 'pipelines.x.stages=[{name="a", processor="named:name"}]'
    resumed = inside("resume", "last", "--set", again, *QUIET)
    assert resumed[0] == 0, resumed
    assert len((inside.folder / "out.jsonl").read_text().splitlines()) == 4
    assert json.loads(inside("report", "--json", "-")[1])["verdict"]["good"]
    assert inside("failures")[0] == 0


@pytest.mark.slow
def test_a_fault_in_the_midst_counts_the_inputs_without_a_line(
    inside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that can take no more fails the run; the input whose line could not be written is one of those left."""
    inside.inputs(["a", "b", "c"])
    whole, written = Lines.write, list[str]()

    def write(lines: Lines, line: str) -> None:
        written.append(line)
        if len(written) == 2:
            raise LongshoreError("the output cannot be written: No space left on device")
        whole(lines, line)

    monkeypatch.setattr(Lines, "write", write)
    assert inside("run", "job:size", "in", "-o", "out.jsonl", "--executor", "threads", *QUIET)[0] == 4
    report = json.loads(inside("report", "--json", "-")[1])
    assert (report["run"]["state"], report["totals"]["left_inputs"]) == ("failed", 2)
    assert "No space left on device (exit code 4)" in report["verdict"]["text"]
    monkeypatch.undo()
