"""The scenarios there are, by their ids in the catalogue of faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from suite.trial import Trial

Call = Callable[[Trial], Awaitable[None] | None]


@dataclass(frozen=True)
class Scenario:
    """One way in which things go wrong, the promise it tries, and how long it may take before it counts as a hang."""

    id: str
    title: str
    promise: str
    call: Call
    short_s: float | None
    """None: it is part of the long form only."""
    long_s: float


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(
    id: str, title: str, promise: str, *, short_s: float | None = 40.0, long_s: float = 120.0
) -> Callable[[Call], Call]:
    """Enter a function in the list, under an id of the catalogue."""

    def enter(call: Call) -> Call:
        if id in SCENARIOS:
            raise ValueError(f"two scenarios are called {id}")
        SCENARIOS[id] = Scenario(id, title, promise, call, short_s, long_s)
        return call

    return enter
