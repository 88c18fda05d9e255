"""From measured rounds to lines of a table: medians, spreads, ratios, verdicts; as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from measure import Measured
from rows import Limit, Peer

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
        return f"{self.median:.3g}{unit} ({self.low:.3g}-{self.high:.3g})"


@dataclass(frozen=True)
class Line:
    """One comparison: a side of ours with a peer, or with a limit."""

    row: str
    work: str
    ours: str
    against: str
    mine: Spread
    theirs: Spread | None
    ratio: Spread | None
    floor: float
    goal: float
    verdict: str
    """"goal met", "floor met" or "missed"."""


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest."""
    return Spread(median(values), min(values), max(values))


def lines(measured: Measured, python: tuple[int, int]) -> list[Line]:
    """Return one line per comparison for which both sides were measured."""
    row, found = measured.row, []
    for ours in row.ours:
        mine = measured.values[ours]
        if mine and row.limit is not None:
            found.append(_against_limit(measured, ours, row.limit))
        for peer in row.peers:
            if mine and measured.values[peer.side]:
                found.append(_against_peer(measured, ours, peer, python))
    return found


def _against_peer(measured: Measured, ours: str, peer: Peer, python: tuple[int, int]) -> Line:
    mine, theirs = measured.values[ours], measured.values[peer.side]
    # Round by round, since load hits the sides of a round alike; a side that failed has fewer rounds.
    ratio = spread([slow / fast for fast, slow in zip(mine, theirs, strict=False)])
    goal = peer.goal_on(python)
    verdict = _verdict(ratio.median >= goal, ratio.median >= peer.floor)
    return Line(
        measured.row.key,
        f"{measured.n:,} {measured.row.work}",
        ours,
        peer.title,
        spread(mine),
        spread(theirs),
        ratio,
        peer.floor,
        goal,
        verdict,
    )


def _verdict(goal: bool, floor: bool) -> str:
    return "goal met" if goal else "floor met" if floor else "missed"


def _against_limit(measured: Measured, ours: str, limit: Limit) -> Line:
    mine = spread(measured.values[ours])
    verdict = _verdict(mine.median <= limit.goal, mine.median <= limit.floor)
    work = f"{measured.row.work} (n = {measured.n:,}), {limit.unit}"
    return Line(measured.row.key, work, ours, "at most", mine, None, None, limit.floor, limit.goal, verdict)


def cells(line: Line) -> tuple[str, ...]:
    """Return the cells of one line of the table, in the order of HEADINGS."""
    unit, times = (" s", "x") if line.ratio else ("", "")
    return (
        line.row,
        line.work,
        line.ours,
        line.against,
        line.mine.text(unit),
        line.theirs.text(unit) if line.theirs else "",
        line.ratio.text("x") if line.ratio else "",
        f"{line.floor:g}{times}",
        f"{line.goal:g}{times}",
        line.verdict,
    )


def markdown(found: Sequence[Line], about: dict[str, Any]) -> str:
    """Return the table and what was measured where. (Any: JSON-safe values.)"""
    facts = [f"- {name}: {value}" for name, value in about.items()]
    head = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    body = [f"| {' | '.join(cells(line))} |" for line in found]
    return "\n".join([*facts, "", *head, *body, ""])


def as_json(found: Sequence[Line], all_measured: Sequence[Measured], about: dict[str, Any]) -> dict[str, Any]:
    """Return everything, every round included. (Any: JSON-safe values.)"""
    rows = [
        {
            "row": measured.row.key,
            "n": measured.n,
            "values": measured.values,
            "told": measured.told,
            "foreign_cores": measured.stray_cores,
            "errors": measured.errors,
        }
        for measured in all_measured
    ]
    return {"about": about, "lines": [asdict(line) for line in found], "rows": rows}


def machine() -> str:
    """Return what the measurements ran on, in a few words."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
