"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_is_about_twenty_lines() -> None:
    """It fits on a screen."""
    assert len([line for line in code("python")[0].splitlines() if line.strip()]) <= 20


def test_set_up_is_two_commands_and_the_second_runs_the_tests() -> None:
    """The section "Set up" holds exactly two commands, and the project's own checks take them from there."""
    section = README.split("\n## Set up\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    first, second = block.splitlines()
    assert "longshore run documents docs/examples/documents" in first
    assert second.endswith("pytest")
