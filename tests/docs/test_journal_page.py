"""What the page on journals says is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/how-to/journal.md").read_text(encoding="utf-8")


def test_its_program_goes_on_as_it_is_printed(tmp_path: Path) -> None:
    """Each task runs the first time, and is restored the second time."""
    code = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "longshore.toml").write_text(f'probes = []\n[journals.sqlite]\npath = "{tmp_path / "runs"}"\n')
    program = tmp_path / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    words = [line.rpartition(" ")[2] for line in done.stdout.splitlines()]
    assert words == ["ran"] * 5 + ["restored"] * 5
