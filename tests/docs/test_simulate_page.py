"""What the page on simulating shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from longshore.cli import run_command

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/simulate.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started, it tells what the machines lost cost, and loses no task."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert re.fullmatch(r"\d+ s, [\d.]+ s of work in vain, 10000 tasks completed\n", run_example(str(code)))


def test_the_options_it_names_are_those_of_the_command(capsys: object) -> None:
    """Every option of the page is in the help of the command."""
    assert run_command(["simulate", "--help"]) == 0
    told = capsys.readouterr().out  # type: ignore[attr-defined]  # pytest's
    named = set(re.findall(r"(--[a-z][a-z-]+)", PAGE))
    assert named <= set(re.findall(r"(--[a-z][a-z-]+)", told))
    assert {"--workers", "--memory-gb", "--lose", "--order"} <= named
