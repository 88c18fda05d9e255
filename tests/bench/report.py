"""From measured rounds to lines of a table: medians, spreads, ratios, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from kinds import Limit, Peer, Row
from measure import Measured

HEADINGS = (
    "row",
    "work",
    "ours",
    "against",
    "ours: median (min-max)",
    "theirs",
    "ratio",
    "floor",
    "goal",
    "verdict",
)


@dataclass(frozen=True)
class Spread:
    """A median, with the smallest and the largest of what it is the median of."""

    median: float
    low: float
    high: float

    def text(self, unit: str) -> str:
        """Return it for people."""
        return f"{_number(self.median)}{unit} ({_number(self.low)}-{_number(self.high)})"


@dataclass(frozen=True)
class Line:
    """One comparison: a side of ours with a peer, or with a limit. Without `mine` or `theirs`, that was not run."""

    row: str
    work: str
    ours: str
    against: str
    unit: str
    mine: Spread | None
    theirs: Spread | None
    ratio: Spread | None
    floor: float | None
    goal: float | None
    verdict: str
    """"goal met", "floor met", "missed", "goal missed, no floor", or why there is none."""
    beside: str = ""


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest."""
    return Spread(median(values), min(values), max(values))


def lines(measured: Measured, python: tuple[int, int]) -> list[Line]:
    """Return one line per comparison; of a side that failed, or was not run, none but the one that says so."""
    row = measured.row
    if row.not_yet is not None:
        return [Line(row.key, row.work, "", "", "", None, None, None, None, None, f"not yet: {row.not_yet}")]
    found = [line for ours in row.ours if measured.values[ours] for line in _of_side(measured, ours, python)]
    return [*found, *_not_run(measured, python)]


def _of_side(measured: Measured, ours: str, python: tuple[int, int]) -> Iterator[Line]:
    for limit in measured.row.limits:
        yield _against_limit(measured, ours, limit)
    for peer in measured.row.peers:
        if measured.values[peer.side]:
            yield _against_peer(measured, ours, peer, python)


def _not_run(measured: Measured, python: tuple[int, int]) -> Iterator[Line]:
    row = measured.row
    for peer in row.peers:
        if peer.side in measured.not_run:
            why, goal = f"not run: {measured.not_run[peer.side]}", peer.goal_on(python)
            yield Line(row.key, _work(measured), "", peer.title, "", None, None, None, peer.floor, goal, why)


def _work(measured: Measured) -> str:
    return f"{measured.n:,} {measured.row.work}" if measured.row.counted else measured.row.work


def _against_peer(measured: Measured, ours: str, peer: Peer, python: tuple[int, int]) -> Line:
    figure = measured.row.figure
    mine, theirs = measured.values[ours], measured.values[peer.side]
    # Round by round, since load hits the sides of a round alike; a side that failed has fewer rounds.
    ratio = spread([figure.times_better(a, b) for a, b in zip(mine, theirs, strict=False)])
    goal = peer.goal_on(python)
    verdict = _verdict(ratio.median >= goal, None if peer.floor is None else ratio.median >= peer.floor)
    return Line(
        measured.row.key,
        _work(measured),
        ours,
        peer.title,
        figure.unit,
        spread(mine),
        spread(theirs),
        ratio,
        peer.floor,
        goal,
        verdict,
        _beside(measured, ours, peer.side),
    )


def _against_limit(measured: Measured, ours: str, limit: Limit) -> Line:
    figure = limit.figure
    mine = spread(measured.figures(ours, figure.name))
    verdict = _verdict(figure.meets(mine.median, limit.goal), figure.meets(mine.median, limit.floor))
    bound = "at least" if figure.more_is_better else "at most"
    return Line(
        measured.row.key,
        _work(measured),
        ours,
        f"{bound}, {limit.title}",
        figure.unit,
        mine,
        None,
        None,
        limit.floor,
        limit.goal,
        verdict,
    )


def _beside(measured: Measured, ours: str, theirs: str) -> str:
    """Return what else is to be told of both sides."""
    told = []
    for figure in measured.row.beside:
        pair = [measured.figures(side, figure.name) for side in (ours, theirs)]
        if all(pair):
            numbers = " and ".join(_number(median(values)) for values in pair)
            told.append(f"{figure.name.replace('_', ' ')} {numbers} {figure.unit}")
    return "; ".join(told)


def _verdict(goal: bool, floor: bool | None) -> str:
    if goal:
        return "goal met"
    return "goal missed, no floor" if floor is None else "floor met" if floor else "missed"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cells(line: Line) -> tuple[str, ...]:
    """Return the cells of one line of the table, in the order of HEADINGS."""
    unit = f" {line.unit}" if line.unit else ""
    bound = "x" if line.ratio or line.mine is None else unit
    return (
        line.row,
        line.work,
        line.ours,
        line.against + (f" ({line.beside})" if line.beside else ""),
        line.mine.text(unit) if line.mine else "",
        line.theirs.text(unit) if line.theirs else "",
        line.ratio.text("x") if line.ratio else "",
        "" if line.floor is None else f"{line.floor:g}{bound}",
        "" if line.goal is None else f"{line.goal:g}{bound}",
        line.verdict,
    )


def table(found: Sequence[Line]) -> list[str]:
    """Return the lines of a Markdown table."""
    head = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    return [*head, *(f"| {' | '.join(cells(line))} |" for line in found)]


def row_order(rows: Sequence[Row]) -> dict[str, int]:
    """Return the place of each row in a table, by its key."""
    return {row.key: place for place, row in enumerate(rows)}
