"""What the pages on sharing, logging, notebooks and executors show is true: each example prints what is below it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NAMES = ("share-and-presets.md", "logging.md", "notebooks.md", "limits-and-context.md", "futures.md")
EXAMPLES = [
    (name, number, code, said)
    for name in NAMES
    for number, (code, said) in enumerate(
        re.findall(
            r"^```python\n(.*?)^```\n+```text\n(.*?)^```$",
            (PAGES / name).read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"), [example[2:] for example in EXAMPLES], ids=[f"{name}-{number}" for name, number, *_ in EXAMPLES]
)
def test_an_example_prints_what_is_shown(tmp_path: Path, code: str, said: str) -> None:
    """Copied into a file and started, an example prints exactly the text below it, and nothing on stderr."""
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_every_example_is_checked() -> None:
    """No Python example of these pages stands without what it prints."""
    blocks = sum((PAGES / name).read_text(encoding="utf-8").count("```python\n") for name in NAMES)
    assert blocks == len(EXAMPLES)
