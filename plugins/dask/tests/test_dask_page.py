"""What the page on Dask prints is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs/how-to/dask.md"


@pytest.mark.slow
def test_dask_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """The page's example is a whole program, and prints what stands below it."""
    text = PAGE.read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    script = tmp_path / "squares.py"
    script.write_text(example, "utf-8")
    (tmp_path / "longshore.toml").write_text("probes = []\n")  # whatever else this machine does
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)
