"""What the README shows is true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """Copied into a file and started, the example counts two files and reports the missing one as failed."""
    (example,) = code("python")
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    words = len(README.split())
    said = sorted(done.stdout.splitlines())
    assert said[:2] == [
        f"LICENSE completed {len((ROOT / 'LICENSE').read_text().split())}",
        f"README.md completed {words}",
    ]
    assert said[2].startswith("no such file failed ")
    assert done.stderr == ""


def test_the_example_is_about_twenty_lines() -> None:
    """It fits on a screen."""
    assert len([line for line in code("python")[0].splitlines() if line.strip()]) <= 20


def test_set_up_is_two_commands_and_the_second_runs_the_tests() -> None:
    """The section "Set up" holds exactly two commands, and the project's own checks take them from there."""
    section = README.split("\n## Set up\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    first, second = block.splitlines()
    assert "longshore run documents docs/examples/documents" in first
    assert second.endswith("pytest")


def test_every_link_of_the_top_pages_leads_somewhere() -> None:
    """Relative links in the README, the contributing page and the docs point at files that exist."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "core/README.md", ROOT / "tests/README.md"]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
