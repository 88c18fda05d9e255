"""What the pages on workers and events print is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "said", "lines"),
    [
        ("how-to/workers.md", "a page 2432902008176640000\nasync-0 idle None ", 13),
        ("how-to/process-workers.md", "division by zero\nstep 1 of 0\n", 2),
        ("how-to/gpus.md", "first: GPU (0,), CUDA sees 0\n", 1),
        ("events.md", "", 0),
    ],
)
def test_the_example_runs_as_it_is_printed(
    page: str, said: str, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page has one example, and it does what the page says."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    exec(compile(example, page, "exec"), {"__name__": "example"})
    out, err = capsys.readouterr()
    assert out.startswith(said)
    assert out.count("\n") == lines
    assert err == ""
