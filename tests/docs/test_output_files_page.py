"""What the page on output files shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/how-to/output-files.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """Copied into a file and started, it writes the file and says what is in it; nothing else is left."""
    (tmp_path / "example.py").write_text(EXAMPLE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == 'seven.json {"number": 7, "square": 49}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example.py", "seven.json"]
