"""Who is woken for what is handed over: nobody who looks by itself in a moment."""

from __future__ import annotations

import select
import time
from math import inf
from typing import Any

import pytest
from longshore_processes.bell import Bell


def doze(seconds: float) -> float:
    """Sleep, and return for how long."""
    time.sleep(seconds)
    return seconds


def is_rung(bell: Bell) -> bool:
    """Tell whether somebody listening would wake."""
    return bool(select.select([bell], [], [], 0)[0])


def test_who_looks_soon_is_not_woken() -> None:
    """A look within 20 ms is relied on, one that is past due as well; a later one is not, nor none."""
    bell = Bell()
    try:
        for looks_at, rung in ((5.02, False), (4.9, False), (5.1, True), (inf, True)):
            bell.looks_at = looks_at
            bell.ring_unless_soon(5.0)
            assert is_rung(bell) is rung, looks_at
            bell.heard()
            assert not is_rung(bell)
    finally:
        bell.close()


@pytest.mark.slow
def test_what_is_handed_over_one_by_one_is_run(yard: Any) -> None:
    """Attempts that come while others wait are all run, though nobody may have been woken for them."""
    ids = [task_id for number in range(60) for task_id in yard.submit(doze, [0.001 * (number % 4)])]
    outcomes = yard.wait(ids)
    assert [outcome.value for outcome in outcomes] == [0.001 * (number % 4) for number in range(60)]
