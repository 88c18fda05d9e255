"""What the page on resources shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from longshore import ResourceLimits

PAGE = (Path(__file__).parents[2] / "docs/how-to/resources.md").read_text(encoding="utf-8")


def code(language: str) -> str:
    """Return the page's one code block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_limits_it_shows_are_settings() -> None:
    """Each key exists, and together they make sense."""
    limits = tomllib.loads(code("toml"))["tool"]["longshore"]["limits"]
    made = ResourceLimits(**limits)
    assert (made.max_cpu_percent, made.warning_memory_percent) == (80, 65)


@pytest.mark.slow
def test_its_program_runs_as_it_is_printed() -> None:
    """It prints a result, an answer and a count."""
    program = [sys.executable, "-c", code("python")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    result, answer, count = done.stdout.splitlines()
    assert (result, count) == ("3", "0 queued")
    assert answer == "there is room" or answer.startswith("Insufficient")
