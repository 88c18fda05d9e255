"""The computed fleet: it does all its work, within its memory, and the same again when it is computed again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _loaded() -> ModuleType:
    """Return the program as a module: test folders are no packages."""
    spec = importlib.util.spec_from_file_location("bench_fleet", Path(__file__).with_name("fleet.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_fleet = _loaded()
fleet, main = _fleet.fleet, _fleet.main


@pytest.mark.requirement("req:G13")
def test_the_same_readings_give_the_same_decisions() -> None:
    """Replayed with the same dice, every start and every end is the same; with others it is not."""
    one, again, other = (fleet(20, 300, seed).run() for seed in (3, 3, 4))
    assert one.completed == again.completed == other.completed == 300
    assert one.decisions == again.decisions != other.decisions
    assert one.shed == again.shed


def test_what_nobody_declared_is_kept_below_the_limit_by_what_was_learnt() -> None:
    """Tasks that take more than their worker's share run fewer at a time, though they say nothing of it."""
    simulation = fleet(40, 1000, 5)
    told = simulation.run()
    assert told.completed == 1000
    assert told.peak_memory_mb < 0.875 * 40 * _fleet.MB_PER_WORKER
    assert told.shed == 0
    assert {entry[0] for entry in simulation.engine.learnt()["kinds"]} >= {"light", "heavy", "declared"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_workers_and_a_million_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """All end, and it is said how many decisions a second that took."""
    assert main([]) == 0
    assert "starts decided per second" in capsys.readouterr().out
