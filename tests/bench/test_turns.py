"""The measuring of slow subscribers works; what it measures is nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TURNS = Path(__file__).with_name("turns.py")


def test_goes_with_and_without_a_subscriber_are_taken_in_turn() -> None:
    """It ends though the subscriber never comes back by itself, with a line for each kind of go."""
    command = [sys.executable, str(TURNS), "--n", "100", "--goes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()[2:]] == ["| nobody", "| a slow subscriber"]
