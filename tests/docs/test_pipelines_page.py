"""What the page on pipelines shows is true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/pipelines.md").read_text(encoding="utf-8")


def code(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.slow
def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """Copied into a file and started, it reads one document, and of two more the one that is there."""
    (tmp_path / "example.py").write_text(code("python"), encoding="utf-8")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = done.stdout.splitlines()
    words = len((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert first.startswith(f"completed 1.0 {{'words': {words}, 'title': '# ")
    assert sorted(others) == [
        "LICENSE completed {'read': 'completed', 'words': 'completed', 'title': 'completed'}",
        "no such file failed {'read': 'failed', 'words': 'skipped', 'title': 'skipped'}",
    ]


def test_the_table_is_one_that_is_understood(tmp_path: Path) -> None:
    """The settings it shows are valid, and plan as the page says."""
    from longshore import Settings, WorkerPool

    table = tomllib.loads(code("toml"))["tool"]["longshore"]
    for stage in table["pipelines"]["pages"]["stages"]:
        stage["processor"] = "os.path:basename"
        stage.pop("condition", None)
    read, title = WorkerPool(settings=Settings.model_validate({"probes": [], **table})).plan("pages")
    assert (read.attempts, read.max_parallel, title.after, title.critical) == (3, 4, ("read",), False)
