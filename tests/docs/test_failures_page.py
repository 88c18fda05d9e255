"""What the page on failures shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from longshore import CircuitBreaker, Settings

PAGE = (Path(__file__).parents[2] / "docs/how-to/failures.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
[TABLE] = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """Copied into a file and started, it waits for its breaker, gets its answers, and finds one kind of failure."""
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
    assert done.stdout == "['answer 1', 'answer 2']\n1 kind of failure\n"


def test_the_table_is_what_the_empty_one_means() -> None:
    """The numbers that are shown are the defaults."""
    shown = Settings.model_validate(tomllib.loads(TABLE)["tool"]["longshore"]).breaker
    assert shown is not None
    assert shown.rule() == CircuitBreaker()
