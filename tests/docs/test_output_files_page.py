"""What the page on output files shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/output-files.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(run_example: RunExample, tmp_path: Path) -> None:
    """Copied into a file and started, it writes the file and says what is in it; nothing else is left."""
    assert run_example(EXAMPLE) == 'seven.json {"number": 7, "square": 49}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example.py", "seven.json"]
