"""How many tasks a stream has in hand: as many as keep workers busy, and no more than memory is allowed for."""

from __future__ import annotations

from typing import Any

from longshore._runtime.feeding import WINDOW_BYTES, WINDOW_LEAST, WINDOW_MOST, Window
from longshore.task import Outcome, TaskState

KIB, MIB = 1 << 10, 1 << 20


def outcomes(value: Any, count: int) -> list[Outcome]:
    return [Outcome(f"t{n}", None, n, "work", TaskState.COMPLETED, value) for n in range(count)]


def fed(values: list[Any], least: int = 4, count: int = 64) -> Window:
    """Return a window that saw so many results of each value, all within no time."""
    window = Window(0.0, lambda: least)
    for value in values:
        window.ended(outcomes(value, count), 0.0)
    return window


def test_quick_small_results_widen_it() -> None:
    """Small results that come quickly double it, up to its most."""
    assert fed([1]).size == 2 * WINDOW_LEAST
    assert fed(["text"] * 100, count=5000).size == WINDOW_MOST


def test_large_results_narrow_it_at_once() -> None:
    """A large result bounds what may wait for the consumer, at the latest when 64 more have come."""
    window = fed([1] * 3000)
    for _ in range(64):
        window.ended(outcomes(bytes(MIB), 1), 0.0)
    assert window.size == WINDOW_BYTES // MIB - 1  # bytes take a few more than they hold
    assert fed([bytes(MIB)], count=1).size == WINDOW_BYTES // MIB - 1
    assert fed([[bytes(100 * KIB)] * 10], count=1).size <= WINDOW_BYTES // MIB


def test_workers_are_kept_busy() -> None:
    """However large results are, as many tasks are in hand as the workers need."""
    assert fed([bytes(100 * MIB)], least=8, count=1).size == 8


def test_it_widens_again() -> None:
    """After large results it is wide again once small ones have come for a while."""
    window = fed([bytes(MIB)] * 100, count=1)
    assert window.size < WINDOW_LEAST
    for _ in range(100):
        window.ended(outcomes(1, 64), 0.0)
    assert window.size == WINDOW_MOST


def test_results_that_refuse_to_be_measured() -> None:
    """An object that raises whatever it is asked counts as small."""

    class Refuses:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __sizeof__(self) -> int:
            raise RuntimeError

    assert fed([Refuses()]).size == 2 * WINDOW_LEAST
