"""One executor, as the engine sees it: its workers, what it holds, and how far ahead it may be given more.

An executor with `slots` workers is given up to `slots * ahead` attempts, where `ahead` follows how long its tasks
take: attempts of a microsecond go out by the hundred, so that no worker waits for the engine, and one of a second by
itself, so that an urgent task waits for little.
"""

from __future__ import annotations

from longshore._engine.lanes import Lane, Rank
from longshore.task import Priority

AHEAD_S = 0.05
"""Seconds of work an executor holds for each of its workers: some batches of `longshore-processes`, and no more."""
AHEAD_MOST = 1024
WINDOW_MOST = 2048
"""Attempts an executor holds at most, unless it has more workers than that."""
_SMOOTHING = 0.3
_LAST: Rank = (len(Priority), 0.0, 0, 0)


class Place:
    """One executor, as the engine sees it."""

    __slots__ = (
        "ahead",
        "grows_to",
        "held",
        "lanes",
        "lent",
        "limit",
        "limits",
        "mean_s",
        "name",
        "queued",
        "runs_ahead",
        "site",
        "slots",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        """Make a place without workers; nothing starts there until it is up."""
        self.name = name
        self.site = ""
        """Where its workers are: empty is this machine."""
        self.slots = 0
        self.runs_ahead = True
        """Whether it gains from being given more attempts than it has workers."""
        self.limits = False
        """Whether it can be told to use fewer workers than it has."""
        self.limit: int | None = None
        """How many it was told to use at most, those of waiting tasks included; None: all."""
        self.held = 0
        self.waiting = 0
        """How many of its running tasks wait for other tasks of the pool, and so use no worker."""
        self.lent = 0
        """How many workers it was given for that, beyond its own."""
        self.grows_to: int | None = None
        """How many workers it may come to have, where that follows its load."""
        self.ahead = 1
        self.mean_s: float | None = None
        self.lanes: list[Lane] = []
        self.queued = [0] * len(Priority)
        """How many tasks wait, by priority."""

    def up(self, slots: int, runs_ahead: bool, limits: bool = False) -> None:
        """Have `slots` workers from now on."""
        self.slots = slots
        self.limits = limits
        self.runs_ahead = runs_ahead
        if not runs_ahead:
            self.ahead = 1

    def best(self, now: float) -> Rank:
        """Return the rank of what goes next here; the lowest of all when nothing waits."""
        return min((rank for lane in self.lanes if (rank := lane.best(now)) is not None), default=_LAST)

    def waits(self) -> bool:
        """Tell whether anything may be waiting here."""
        return any(map(Lane.waits, self.lanes))

    def busy(self) -> int:
        """Return how many of its workers may be running something."""
        most = self.slots if self.limit is None else min(self.slots, self.limit)
        return max(0, min(self.held, most) - self.waiting)

    def taken(self) -> str:
        """Return in words that all its workers are busy, and whether there may be more."""
        grows = self.grows_to is not None and self.slots < self.grows_to
        more = f"; there are more when that lasts, up to {self.grows_to}" if grows else ""
        return f"{self.slots} of {self.slots} workers of {self.name} are busy{more}"

    def wants(self) -> int:
        """Return how many would be, if it was told of no limit."""
        return max(0, min(self.held, self.slots) - self.waiting)

    def ended(self, count: int, ran_s: float) -> None:
        """Take `count` attempts off, and learn from the `ran_s` seconds they took together."""
        self.held -= count
        mean_s = ran_s / count
        self.mean_s = mean_s if self.mean_s is None else self.mean_s + _SMOOTHING * (mean_s - self.mean_s)
        if self.runs_ahead:
            wanted = int(AHEAD_S / max(self.mean_s, 1e-7))
            self.ahead = max(1, min(wanted, self.ahead * 2, AHEAD_MOST))

    def window(self, slots: int, *, alone: bool = False) -> int:
        """Return how many attempts it may hold when it may use `slots` workers; `alone`: no others wait."""
        if slots < self.slots and not (self.limits and alone and slots > 0):
            return slots  # the cap over all binds: nothing ahead, or more would run than it allows
        return max(slots, min(slots * self.ahead, WINDOW_MOST))
