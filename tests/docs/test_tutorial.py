"""The tutorial is true: done from its first line to its last, in a clean environment, from the wheels built here."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial.md"


@pytest.fixture
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of our wheels: that which LONGSHORE_WHEELS names, or one that is filled here."""
    if "LONGSHORE_WHEELS" in os.environ:
        return Path(os.environ["LONGSHORE_WHEELS"])
    folder = tmp_path_factory.mktemp("wheels")
    command = ["sh", ".ci/uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return folder


@pytest.fixture
def environ(environ: dict[str, str], wheels: Path) -> dict[str, str]:
    """Return an environment without this one's packages, in which pip finds our wheels beside the ordinary index."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    home = Path.home()
    for name, path in {"PIP_CONFIG_FILE": home / ".config/pip/pip.conf", "PIP_CACHE_DIR": home / ".cache/pip"}.items():
        if path.exists():
            kept.setdefault(name, str(path))
    links = " ".join(filter(None, [str(wheels), kept.get("PIP_FIND_LINKS")]))
    quiet = {"PIP_QUIET": "1"}  # with the page's own: what this machine's indexes warn of is not its reader's
    return {**environ, **kept, **quiet, "PIP_FIND_LINKS": links, "PATH": os.environ["PATH"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_nothing_to_a_plugin_by_its_commands_alone(reader: Any) -> None:
    """Copied line by line they all work, and print what the page shows; steps and time are told, and never judged."""
    began = time.monotonic()
    reader.follow(PAGE)
    took_s = time.monotonic() - began
    print(f"the tutorial: {reader.steps} steps in {took_s:.0f} s")


def test_the_page_says_how_many_steps_there_are(blocks: Callable[[Path], Sequence[Any]]) -> None:
    """As many as the commands that a reader copies."""
    commands = [line for block in blocks(PAGE) if block.language == "sh" for line in block.text.splitlines()]
    said = re.search(r"(\d+) commands", PAGE.read_text(encoding="utf-8"))
    assert said is not None
    assert int(said[1]) == len(commands)
