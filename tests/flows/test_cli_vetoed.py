"""What the command tells of inputs that a hook refused: the reason, everywhere, and that they failed."""

from __future__ import annotations

import json
from typing import Any

Command = Any  # the fixture's class: test modules cannot import a conftest

HOOK = """
import os
from longshore.hookspecs import hookimpl

class Closed:
    @hookimpl
    def admit(self, task):
        return "not by day" if task.key == "in/a" and not os.path.exists("night") else None
"""


def test_what_a_hook_refuses_has_failed_with_its_reason(inside: Command, fake_distributions: Any) -> None:
    """The terminal, the line of the output, `failures` and `report` all have it; `resume --failed` asks again."""
    fake_distributions.add("acme-closed", HOOK, hooks={"closed": "Closed"})
    inside.inputs({"a": "1", "b": "2"})
    (inside.folder / "longshore.toml").write_text('hooks = ["closed"]\n')
    quiet = ("--progress", "none", "--executor", "threads")
    code, _, errors = inside("run", "job:picky", "in", "-o", "out.jsonl", *quiet)
    assert code == 1
    assert "a hook refused job:picky: not by day" in errors
    told = [json.loads(line) for line in (inside.folder / "out.jsonl").read_text().splitlines()]
    reasons = {entry["input"]: entry["error"] and entry["error"]["reason"] for entry in told}
    assert reasons == {"in/a": "a hook refused job:picky: not by day", "in/b": None}
    code, failed, _ = inside("failures", "last")
    assert code == 1
    assert "a hook refused job:picky: not by day" in failed
    assert "in/a" in failed
    code, report, _ = inside("report", "last")
    assert code == 0
    assert "1 of 2 tasks completed and 1 failed" in report
    assert "went well" not in report
    (inside.folder / "night").touch()
    assert inside("resume", "last", "--failed", "--progress", "none")[0] == 0
    assert inside("failures", "last")[0] == 0
