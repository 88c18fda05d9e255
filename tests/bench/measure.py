"""Rounds: every side of a row once, each in a fresh process, after a look at who else uses the machine."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import psutil
from kinds import Row

COMMAND = Path(__file__).with_name("run.py")
QUIET_CORES = 0.15
"""Foreign CPU use, in cores, below which a round may begin."""
WINDOW_S = 0.25
ROUND_LIMIT_S = 600.0


@dataclass
class Measured:
    """What was measured of a row: the figures of each side by round, and what else there is to say."""

    row: Row
    n: int
    values: dict[str, list[float]] = field(default_factory=dict)
    extras: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Of each side the figures beside the first, by name."""
    stray_cores: list[float] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    """Sides that could not be asked, and why."""

    def figures(self, side: str, name: str) -> list[float]:
        """Return the figures of a side that go by this name."""
        return self.values.get(side, []) if name == "value" else self.extras.get(side, {}).get(name, [])


def foreign_cores(window_s: float = WINDOW_S) -> float:
    """Return how many cores were busy while this process slept."""
    before, began = psutil.cpu_times(), monotonic()
    sleep(window_s)
    after = psutil.cpu_times()
    idle = sum(getattr(after, name, 0.0) - getattr(before, name, 0.0) for name in ("idle", "iowait"))
    elapsed = monotonic() - began
    return float(max(0.0, (psutil.cpu_count() or 1) - idle / elapsed))


def wait_for_quiet(patience_s: float) -> float:
    """Wait until nobody else uses the CPU, at most `patience_s`; return the cores then in foreign use."""
    deadline = monotonic() + patience_s
    while (busy := foreign_cores()) > QUIET_CORES and monotonic() < deadline:
        pass
    return busy


@contextmanager
def surroundings() -> Iterator[tuple[str, dict[str, str]]]:
    """Give a folder and an environment in which no settings of the user's are found."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
        yield empty, {**environment, "XDG_CONFIG_HOME": empty}


def one_round(python: str, side: str, n: int) -> tuple[float, dict[str, float]]:
    """Return the figures of one side, measured in a fresh process; RuntimeError carries its last words."""
    with surroundings() as (empty, environment):
        done = subprocess.run(
            [python, str(COMMAND), "--one", side, "--n", str(n)],
            capture_output=True,
            text=True,
            cwd=empty,
            env=environment,
            timeout=ROUND_LIMIT_S,
            check=False,
        )
    if done.returncode != 0 or not done.stdout.strip():
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}, nothing said"]
        raise RuntimeError(last[0])
    figures = json.loads(done.stdout.splitlines()[-1])
    return float(figures["value"]), figures["extra"]


def measure_row(
    row: Row,
    n: int,
    *,
    python: str,
    packages: Mapping[str, str | None],
    rounds: int,
    patience_s: float,
    say: Callable[[str], None],
) -> Measured:
    """Run the rounds of one row.

    A side that fails once is left out from then on, and its error kept; one whose package is missing is not asked.
    """
    missing = {side: f"{name} is not installed" for side, name in row.packages.items() if packages.get(name) is None}
    measured = Measured(row, n, {side: [] for side in row.sides}, not_run=missing)
    for number in range(1, rounds + 1):
        for side in row.sides:
            if side in measured.errors or side in missing:
                continue
            measured.stray_cores.append(busy := wait_for_quiet(patience_s))
            try:
                value, extra = one_round(python, side, n)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                measured.errors[side] = str(error)
                say(f"row {row.key} round {number} {side}: failed: {error}")
                continue
            measured.values[side].append(value)
            for name, figure in extra.items():
                measured.extras.setdefault(side, {}).setdefault(name, []).append(figure)
            say(f"row {row.key} round {number} {side}: {value:.4g} {row.figure.unit} (foreign CPU {busy:.2f} cores)")
    return measured
