"""The computed fleet: it does all its work, within its memory, and the same again when it is computed again."""

from __future__ import annotations

import importlib.util
import json
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
Fleet, main = _fleet.Fleet, _fleet.main


@pytest.mark.requirement("req:G13")
def test_the_same_readings_give_the_same_decisions() -> None:
    """Replayed with the same dice, every start and every end is the same; with others it is not."""
    one, again, other = (Fleet(20, 300, seed).simulation().run() for seed in (3, 3, 4))
    assert one.completed == again.completed == other.completed == 300
    assert one.decisions == again.decisions != other.decisions
    assert one.shed == again.shed


def test_what_nobody_declared_is_kept_below_the_limit_by_what_was_learnt() -> None:
    """Tasks that take more than their worker's share run fewer at a time, though they say nothing of it."""
    simulation = Fleet(40, 1000, 5).simulation()
    told = simulation.run()
    assert told.completed == 1000
    assert told.peak_memory_mb < 0.875 * 40 * _fleet.MB_PER_WORKER
    assert told.shed == 0
    assert {entry[0] for entry in simulation.engine.learnt()["kinds"]} >= {"light", "heavy", "declared"}


def test_a_controller_that_takes_its_time_keeps_workers_waiting() -> None:
    """At 1 ms a task it hands out a thousand a second, however many workers there are; one in time costs nothing."""
    slow, fast = (Fleet(100, 3000, ran_s=0.02, controller_us=us).simulation().run() for us in (1000.0, 0.0))
    assert slow.completed == fast.completed == 3000
    assert slow.makespan_s >= 3.0 > fast.makespan_s
    assert slow.idle.median_s > fast.idle.p99_s == 0.0


def test_for_programs_it_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json all figures, and with lost machines what of the work was in vain."""
    assert main(["--workers", "50", "--tasks", "2000", "--mix", "plain", "--ran-s", "1", "--lose", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["completed"] == 2000
    assert found["lost_s"] > 0.0
    assert found["starts"] > 2000
    assert 0.0 < found["busy_share"] <= 1.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_workers_and_a_million_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """All end, and it is said how many decisions a second that took."""
    assert main([]) == 0
    assert "starts decided per second" in capsys.readouterr().out
