"""One scenario under way: its folder, its figures, and what of them was missed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Figure = float | int | str

METHODS = ("zygote", "interpreter")
"""Ways in which worker processes are started: like forkserver, and like spawn."""
CORE = ("lost", "run_again", "recorded_twice", "bystanders", "orphans", "leaks")
"""Figures of every scenario; each is to be 0."""


class Skipped(Exception):
    """The scenario can't be tried here; the message says why."""


@dataclass
class Trial:
    """What a scenario is given, and gives."""

    long: bool
    folder: Path
    seed: int
    figures: dict[str, Figure] = field(default_factory=lambda: dict.fromkeys(CORE, 0))
    missed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pools: int = 0

    def __post_init__(self) -> None:
        """Make the dice."""
        self.dice = random.Random(self.seed)

    def pick(self, short: T, long: T) -> T:
        """Return what this form asks for."""
        return long if self.long else short

    def add(self, name: str, number: float = 1) -> None:
        """Add to a figure."""
        value = self.figures.get(name, 0)
        self.figures[name] = (value if isinstance(value, int | float) else 0) + number

    def worst(self, name: str, number: float) -> None:
        """Keep the largest."""
        value = self.figures.get(name, 0.0)
        self.figures[name] = round(max(value if isinstance(value, int | float) else 0.0, number), 3)

    def tell(self, name: str, value: Figure) -> None:
        """Set a figure."""
        self.figures[name] = value

    def expect(self, holds: object, what: str) -> None:
        """Note what was missed; the scenario goes on."""
        if not holds and what not in self.missed:
            self.missed.append(what)

    def expect_within(self, name: str, limit_s: float) -> None:
        """Note a time that was missed; in the long form only, for the short one shares its machine."""
        value = self.figures.get(name, 0.0)
        if self.long and isinstance(value, int | float):
            self.expect(value <= limit_s, f"{name} is {value:.2f} and may be {limit_s:g}")

    def conclude(self) -> None:
        """Judge the figures that every scenario has."""
        for name in CORE:
            self.expect(not self.figures[name], f"{name} is {self.figures[name]} and may be 0")

    @contextmanager
    def chaos(self, points: str) -> Iterator[None]:
        """Have the processes that are started within held up or ended at these points."""
        names = ("LONGSHORE_CHAOS", "LONGSHORE_CHAOS_SEED")
        os.environ.update(zip(names, (points, str(self.seed)), strict=True))
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]
