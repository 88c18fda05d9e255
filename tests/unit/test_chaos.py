"""Points at which a process may be held up or ended: nothing where nobody asks, the same for the same seed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from longshore import chaos

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _without_chaos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGSHORE_CHAOS", raising=False)
    monkeypatch.delenv("LONGSHORE_CHAOS_SEED", raising=False)
    chaos._seed.cache_clear()


def passes(monkeypatch: pytest.MonkeyPatch, who: str, seed: str) -> list[bool]:
    monkeypatch.setenv("LONGSHORE_CHAOS", "worker.before-items:0.5:0.25")
    monkeypatch.setenv("LONGSHORE_CHAOS_SEED", seed)
    chaos._seed.cache_clear()
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    pause, found = chaos.point("worker.before-items"), []
    for _ in range(50):
        before = len(waited)
        pause(who)
        found.append(len(waited) > before)
    assert set(waited) == {0.25}
    return found


def test_nothing_is_done_where_nobody_asks() -> None:
    """Without the variable every point is the same function, which does nothing."""
    assert len({chaos.point(name) for name in chaos.POINTS}) == 1


def test_other_points_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point that is not named does nothing, also when another is."""
    untouched = chaos.point("pool.before-report")
    monkeypatch.setenv("LONGSHORE_CHAOS", "worker.before-items:1:0")
    assert chaos.point("pool.before-report") is untouched
    assert chaos.point("worker.before-items") is not untouched


def test_the_same_seed_makes_the_same_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one worker and seed the passes at which it waits are the same; another worker's, or seed's, are others."""
    first = passes(monkeypatch, "process-1", "7")
    assert first == passes(monkeypatch, "process-1", "7")
    assert first != passes(monkeypatch, "process-2", "7")
    assert first != passes(monkeypatch, "process-1", "8")
    assert 10 < sum(first) < 40


def test_a_seed_is_drawn_and_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a seed one is drawn, said once, and handed on to what is started from here."""
    monkeypatch.setenv("LONGSHORE_CHAOS", "worker.before-items:1:0,pool.before-report:1:0")
    monkeypatch.setenv("LONGSHORE_CHAOS_SEED", "")  # so that it is undone
    monkeypatch.delenv("LONGSHORE_CHAOS_SEED")
    for name in ("worker.before-items", "pool.before-report"):
        chaos.point(name)
    said = capsys.readouterr().err
    assert len(re.findall(r"LONGSHORE_CHAOS_SEED=[0-9a-f]{8}", said)) == 1


def test_a_process_can_be_ended_at_a_point() -> None:
    """`kill` instead of seconds ends the process by SIGKILL."""
    code = "from longshore.chaos import point; point('worker.holds-link')('w'); print('still here')"
    environment = {"LONGSHORE_CHAOS": "worker.holds-link:1:kill", "LONGSHORE_CHAOS_SEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


@pytest.mark.parametrize("text", ["worker.before-items", "worker.nowhere:1:1", "worker.before-items:often:1"])
def test_what_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A point that does not exist, or an entry that is none, is said, and not ignored."""
    monkeypatch.setenv("LONGSHORE_CHAOS", text)
    with pytest.raises(ValueError, match="LONGSHORE_CHAOS"):
        chaos.point("worker.before-items")


def test_every_point_is_passed_somewhere() -> None:
    """Each name in the list is asked for in the code exactly once, and no other is."""
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    asked = [name for path in sources for name in re.findall(r'\bpoint\("([\w.-]+)"\)', path.read_text("utf-8"))]
    assert sorted(asked) == sorted(chaos.POINTS)
