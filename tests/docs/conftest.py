"""What the tests of pages share: running an example as a reader would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run_example(tmp_path: Path) -> Callable[[str], str]:
    """Return what copies code into a file of an empty folder, starts it, and returns what it says if all goes well."""

    def run(code: str) -> str:
        (tmp_path / "example.py").write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", "example.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run
