"""What the page on resuming says is true: its commands run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/how-to/resume.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    """Run one after the other beside its function, each ends as it should, and mended inputs end well."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "job.py").write_text(code, encoding="utf-8")
    (tmp_path / "texts").mkdir()
    for name, text in {"a": "one two", "b": ""}.items():
        (tmp_path / "texts" / name).write_text(text)
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    ends = []
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).splitlines():
        words = shlex.split(line, comments=True)
        if "--failed" in words:
            (tmp_path / "texts" / "b").write_text("three")
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environ, capture_output=True, timeout=50, check=False
        )
        ends.append((" ".join(words[1:3]), done.returncode))
    assert ends == [
        ("run job:count", 1),
        ("runs list", 0),
        ("failures last", 1),
        ("resume last", 0),
        ("run job:count", 0),
        ("runs list", 0),
        ("runs prune", 0),
        ("runs prune", 0),
    ]
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["input"]: line["result"] for line in told} == {"texts/a": {"words": 2}, "texts/b": {"words": 1}}
