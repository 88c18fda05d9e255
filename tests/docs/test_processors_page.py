"""What the page on processors shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/how-to/processors.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_processor_does_what_is_printed_below_it(tmp_path: Path) -> None:
    """The two files, written as they stand there, print what is shown; `validate_input` fits into the class."""
    processor, program, addition = blocks("python")
    (tmp_path / "scales.py").write_text(f"{processor}\n{addition}", encoding="utf-8")
    (tmp_path / "weigh.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "weigh.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == (blocks("text")[0], "")
