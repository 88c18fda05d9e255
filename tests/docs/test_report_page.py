"""What the page on reports says is true: its commands run as they stand there, and say what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/how-to/report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    """Run one after the other beside its function, each ends as it should; the report has the parts that are shown."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "job.py").write_text(code, encoding="utf-8")
    (tmp_path / "texts").mkdir()
    for name in "abcdefgh":
        (tmp_path / "texts" / name).write_text("a word " * 20)
    (tmp_path / "texts" / "empty").write_text("")
    (tmp_path / "texts" / "long").write_text("many words " * 150)
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    ends, told = [], []
    [block] = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            timeout=50,
            check=False,
        )
        ends.append(done.returncode)
        told.append(done.stdout.decode())
    assert ends == [1, 0, 0, 0, 1, 0]
    [shown] = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert unnumbered(told[1]).keys() >= unnumbered(shown).keys()
    names = ("report.html", "failed.xml", "report.json", "trace.json", "flame.json", "changes.md")
    assert [name for name in names if not (tmp_path / name).stat().st_size] == []
    which = re.findall(r"^- (?:first|second): (`\S+`)", (tmp_path / "changes.md").read_text(), flags=re.MULTILINE)
    assert len(set(which)) == 2, "two runs are compared"


def unnumbered(text: str) -> dict[str, None]:
    """Return the lines without what differs from run to run."""
    return {re.sub(r"[\d.]+( m?s)?|`\d+T\w+-\w+`", "N", line): None for line in text.splitlines()}
