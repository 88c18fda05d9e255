"""Delays and deaths at named points, to try what happens in races: nothing at all where LONGSHORE_CHAOS is not set.

    LONGSHORE_CHAOS=worker.before-results:0.1:0.05,worker.holds-link:0.01:kill LONGSHORE_CHAOS_SEED=7 python ...

Each entry is a point, a probability, and seconds to wait there, or `kill` to end the process there by SIGKILL. Without
a seed one is drawn, and said on standard error: the same seed makes the same choices at the same passes of a point.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random

POINTS: Final = frozenset(
    {
        "journal.before-naming",
        "journal.before-commit",
        "journal.inside-commit",
        "journal.before-checkpoint",
        "journal.after-commit",
        "journal.before-spooling",
        "pool.before-report",
        "pool.before-settling",
        "supervisor.before-batch",
        "supervisor.before-results",
        "zygote.before-fork",
        "worker.before-arming",
        "worker.after-arming",
        "worker.before-items",
        "worker.before-results",
        "worker.holds-link",
        "worker.inside-frame",
    }
)
"""Where a process may be held up or ended; the part before the dot says in which."""
Pause = Callable[[str], None]
_VARIABLE: Final = "LONGSHORE_CHAOS"
_SEED: Final = "LONGSHORE_CHAOS_SEED"


class _Chance(NamedTuple):
    probability: float
    delay_s: float | None
    """None: end the process."""


def point(name: str) -> Pause:
    """Return what is to be called at this point, with the id of the worker where there is one, in order to be held up.

    Asked for once, before the point is first passed. ValueError where LONGSHORE_CHAOS is not as it should be.
    """
    if name not in POINTS:
        raise ValueError(f"there is no point {name!r}; there are {', '.join(sorted(POINTS))}")
    text = os.environ.get(_VARIABLE)
    chance = _parse(text).get(name) if text else None
    return _nothing if chance is None else _Point(name, chance, _seed(text or ""))


class _Point:
    """Draws for each pass; the dice of a worker are its own, so that forked ones don't all throw the same."""

    def __init__(self, name: str, chance: _Chance, seed: str) -> None:
        self._name = name
        self._chance = chance
        self._seed = seed
        self._dice: dict[str, Random] = {}

    def __call__(self, who: str) -> None:
        dice = self._dice.get(who)
        if dice is None:
            from random import Random  # here and below: nobody pays for it who does not ask for chaos

            dice = self._dice[who] = Random(f"{self._seed}:{self._name}:{who}")
        if dice.random() >= self._chance.probability:
            return
        if self._chance.delay_s is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            time.sleep(self._chance.delay_s)


def _nothing(who: str) -> None:
    """Go on."""


@cache
def _parse(text: str) -> dict[str, _Chance]:
    chances = {}
    for entry in text.split(","):
        try:
            name, probability, delay = entry.strip().split(":")
            chance = _Chance(float(probability), None if delay == "kill" else float(delay))
        except ValueError as error:
            raise ValueError(f"{_VARIABLE}: {entry!r} is not point:probability:seconds or :kill") from error
        if name not in POINTS:
            raise ValueError(f"{_VARIABLE}: there is no point {name!r}; there are {', '.join(sorted(POINTS))}")
        chances[name] = chance
    return chances


@cache
def _seed(text: str) -> str:
    """Return the seed, which the processes that are started from here share."""
    seed = os.environ.get(_SEED)
    if seed is None:
        import secrets

        seed = os.environ[_SEED] = secrets.token_hex(4)
        sys.stderr.write(f"longshore: chaos {text}, {_SEED}={seed}\n")
    return seed


__all__ = ["POINTS", "Pause", "point"]
