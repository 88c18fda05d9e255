"""What was measured of a run over its time, as a report has it: lines against limits, bands, workers; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from longshore._report.records import Band, Line
from longshore.records import MetricsPoint, RunHistory

POINTS_MOST = 1500
"""Points of a line: of more, each stretch of equal length gives its highest."""


def points_of(history: RunHistory) -> list[MetricsPoint]:
    """Return the points in order: the fine ones, and before them those by the minute."""
    fine = list(history.points_fine)
    since = fine[0].at if fine else None
    return [point for point in history.points_minute if since is None or point.at < since] + fine


def bands_of(history: RunHistory, end: float) -> list[Band]:
    """Return when work was held back; what has no end lasts until that of the run."""
    bands = []
    for band in history.bands:
        began = band.began.timestamp()
        ended = band.ended.timestamp() if band.ended is not None else end
        bands.append(Band(reason=band.reason, start=began, end=max(began, ended)))
    return bands


def workers_of(history: RunHistory) -> dict[str, int]:
    """Return by executor the most workers that it had, where it had any."""
    most: dict[str, int] = defaultdict(int)
    for point in points_of(history):
        for executor, count in point.workers.items():
            most[executor] = max(most[executor], count.total)
    return {executor: count for executor, count in most.items() if count > 0}


def lines_of(history: RunHistory) -> list[Line]:
    """Return each resource over time, and how many tasks waited."""
    points = points_of(history)
    names = {name: None for point in points for name in point.usage}
    lines = [line for name in names if (line := _line(name, points)) is not None]
    if points and any(point.queued for point in points):
        queued: list[tuple[float, float]] = [(point.at.timestamp(), float(point.queued)) for point in points]
        lines.append(_made("queued tasks", "", queued, None))
    return lines


def _line(name: str, points: Sequence[MetricsPoint]) -> Line | None:
    """Return a resource in percent where that is known for all of it, else in its own unit; None if never measured."""
    used = [(point.at.timestamp(), point.usage[name]) for point in points if name in point.usage]
    limits = [use.limit for _, use in used if use.limit is not None]
    if any(use.percent is None for _, use in used):
        return _made(name, used[0][1].unit, [(at, use.used) for at, use in used], None)
    return _made(name, "%", [(at, use.percent or 0.0) for at, use in used], limits[-1] if limits else None)


def _made(name: str, unit: str, points: Sequence[tuple[float, float]], limit: float | None) -> Line:
    peak_at, peak = max(points, key=lambda point: point[1])
    kept = _thinned(points)
    return Line(
        resource=name,
        unit=unit,
        at=[round(at, 3) for at, _ in kept],
        values=[round(value, 3) for _, value in kept],
        peak=peak,
        peak_at=peak_at,
        limit=limit,
    )


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(points) <= POINTS_MOST:
        return points
    size = -(-len(points) // POINTS_MOST)
    return [max(points[at : at + size], key=lambda point: point[1]) for at in range(0, len(points), size)]
