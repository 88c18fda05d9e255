"""The page of promises is what the fault suite wrote: every scenario is on it, and none is kept from the reader."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def scenarios() -> set[str]:
    """Return the ids of all scenarios."""
    found = set()
    for path in (ROOT / "tests/faults/scenarios").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "scenario":
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_scenario_has_its_row() -> None:
    """Whoever adds a scenario runs the long form, which writes the page anew."""
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([A-Z]+\d*) \|", page, re.MULTILINE)) == scenarios()


def test_what_it_ran_on_is_named() -> None:
    """Version, machine, Python and seed are said, so that the figures can be compared."""
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    for name in ("taken", "longshore", "machine", "python", "seed"):
        assert re.search(rf"^- {name}: \S", page, re.MULTILINE), name
