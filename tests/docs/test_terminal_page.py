"""What the page on the terminal shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/how-to/terminal.md"


@pytest.mark.slow
def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """Copied into a file and started, the example prints what it says, and the run is told on standard error."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["above the view: work 0.05"] * 20
    assert "20 tasks, ok 20" in done.stderr
