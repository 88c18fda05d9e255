"""What a row of the benchmark is: the work, the figure that each side gives, our sides, what is expected of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number that a side gives: its unit, and which way is better."""

    unit: str
    name: str = "value"
    """"value" is what a side returns; any other is what it returns beside that, under this name."""
    more_is_better: bool = False

    def times_better(self, ours: float, theirs: float) -> float:
        """Return how many times better ours is."""
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        return better / worse if worse else float("inf")

    def meets(self, value: float, bound: float | None) -> bool:
        """Tell whether a value is as good as the bound; there may be none."""
        return bound is None or (value >= bound if self.more_is_better else value <= bound)


SECONDS = Figure("s")


@dataclass(frozen=True)
class Peer:
    """Another way to do the same work, and how many times better ours has to be: at least, and as a goal."""

    side: str
    title: str
    floor: float | None
    goal: float
    goal_eager: float | None = None
    """The goal where asyncio can start a task eagerly (Python 3.12 and later), if it is another one."""
    package: str | None = None
    """What has to be installed for it, if anything has."""

    def goal_on(self, python: tuple[int, int]) -> float:
        """Return the goal on this version of Python."""
        return self.goal_eager if self.goal_eager is not None and python >= (3, 12) else self.goal


@dataclass(frozen=True)
class Limit:
    """A bound on a figure of ours alone, whatever others do: the worst that will do, and the goal."""

    title: str
    figure: Figure
    floor: float
    goal: float


@dataclass(frozen=True)
class Row:
    """One kind of work: our sides, what they are compared with, the limits they have to keep."""

    key: str
    work: str
    ours: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    limits: tuple[Limit, ...] = ()
    figure: Figure = SECONDS
    n: int = 100_000
    small_n: int = 500
    counted: bool = True
    """Whether n counts tasks, and belongs before the name of the work; else it is seconds or repetitions."""
    beside: tuple[Figure, ...] = ()
    """Figures to be told beside the ratio, of both sides, that nothing is expected of."""
    not_yet: str | None = None
    """Why it can't be measured yet, if it can't."""

    @property
    def sides(self) -> tuple[str, ...]:
        """All sides, in the order of a round."""
        return self.ours + tuple(peer.side for peer in self.peers)

    @property
    def packages(self) -> dict[str, str]:
        """What has to be installed for a side, of those that need something."""
        return {peer.side: peer.package for peer in self.peers if peer.package is not None}
