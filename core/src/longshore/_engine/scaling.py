"""How many workers an executor has between two bounds: what waits for one lets it grow, what nobody uses shrink.

Grows when all its workers have been busy for GROW_AFTER_S while something that could start waited and nothing was
short; shrinks to the most that was used at once within `idle_s`. So a swing that is shorter moves nothing, and after
each change it looks for as long again. Asked by the engine after what may start has started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from longshore._engine.config import ScaleBounds
from longshore._engine.dispatch import Dispatch
from longshore._engine.ledger import MEMORY, objection
from longshore._engine.messages import Command, ExecutorUp, Scale, Tell
from longshore._engine.place import Place
from longshore.events import Happened
from longshore.records import WorkerScale

GROW_AFTER_S = 1.0
"""For so long work has to wait for a worker, without a break, before there are more."""
GROWTH = 0.5
"""There are more by this part at once, and by one at least."""
SHORT_IDLE_S = 5.0
"""While memory is short, what has not been used for so long goes already."""
LATE_S = 30.0
"""Workers that are not there so long after they were asked for are told of."""
LOOK_S = 0.1
"""It looks no more often: what is used for less is not always seen."""


class _Scaled:
    """One executor whose workers follow its load."""

    __slots__ = (
        "bounds",
        "busy",
        "changed_at",
        "grown",
        "last",
        "looked_at",
        "peaks",
        "pending",
        "shrunk",
        "waits_since",
        "workers",
    )

    def __init__(self, bounds: ScaleBounds, workers: int, now: float) -> None:
        self.bounds = bounds
        self.workers = workers
        self.busy = 0
        self.changed_at = now
        self.looked_at = -inf
        self.pending = False  # whether something has happened since it was looked at
        self.waits_since: float | None = None
        self.peaks: deque[tuple[float, int]] = deque()  # the most that were busy from each of these times on, falling
        self.grown = self.shrunk = 0
        self.last: str | None = None

    def used(self, busy: int, now: float) -> None:
        """Note how many are busy; as many as before were until now."""
        for count in (self.busy, busy):
            while self.peaks and self.peaks[-1][1] <= count:
                self.peaks.pop()
            self.peaks.append((now, count))
        self.busy = busy

    def most_used(self, within_s: float, now: float) -> int:
        """Return how many were busy at once within the last seconds."""
        while self.peaks[0][0] <= now - within_s and len(self.peaks) > 1:
            self.peaks.popleft()
        return self.peaks[0][1]


class Scaling:
    """The executors that have bounds; `used` is false where none has, and then nothing is to be asked of it."""

    __slots__ = ("_bounds", "_scaled", "_short")

    def __init__(self, bounds: Mapping[str, ScaleBounds]) -> None:
        """Take the bounds by executor; equal ones leave nothing to decide."""
        self._bounds = {name: one for name, one in bounds.items() if one.min_workers < one.max_workers}
        self._scaled: dict[str, _Scaled] = {}
        self._short = False

    @property
    def used(self) -> bool:
        """Whether anything may change."""
        return bool(self._bounds)

    def up(self, stimulus: ExecutorUp, dispatch: Dispatch, now: float) -> None:
        """Take note of an executor that has come."""
        bounds = self._bounds.get(stimulus.executor)
        if bounds is not None and stimulus.executor not in self._scaled:
            workers = max(bounds.min_workers, min(stimulus.slots, bounds.max_workers))
            self._scaled[stimulus.executor] = _Scaled(bounds, workers, now)
            dispatch.places[stimulus.executor].grows_to = bounds.max_workers

    def keep(self, executor: str, dispatch: Dispatch) -> None:
        """Leave an executor as it is from now on: somebody has set its workers by hand."""
        self._bounds.pop(executor, None)
        if self._scaled.pop(executor, None) is not None:
            dispatch.places[executor].grows_to = None

    def see(self, dispatch: Dispatch, now: float, *, paused: bool) -> list[Command]:
        """Look at each executor; return what changes."""
        self._short = dispatch.here.brakes(MEMORY)
        out: list[Command] = []
        for name, scaled in self._scaled.items():
            scaled.pending = now < scaled.looked_at + LOOK_S and now < self._due(scaled)
            if not scaled.pending:
                scaled.looked_at = now
                out += self._look(scaled, dispatch.places[name], dispatch, now, paused=paused)
        return out

    def _look(
        self, scaled: _Scaled, place: Place, dispatch: Dispatch, now: float, *, paused: bool
    ) -> Iterable[Command]:
        busy = place.busy()
        scaled.used(busy, now)
        waits = 0 if paused else self._missing(scaled, place, dispatch, now)
        if not waits:
            scaled.waits_since = None
        elif scaled.waits_since is None:
            scaled.waits_since = now
        elif now - scaled.waits_since >= GROW_AFTER_S:
            more = min(waits, max(1, int(scaled.workers * GROWTH)), scaled.bounds.max_workers - scaled.workers)
            why = f"{waits} task{'s' if waits > 1 else ''} waited {GROW_AFTER_S:g} s for a worker"
            return _change(scaled, place, more, why, now)
        within_s = self._idle_s(scaled)
        used = scaled.most_used(within_s, now)
        fewer = max(scaled.bounds.min_workers, used)
        there = place.slots - place.lent
        lacks = used >= there < scaled.workers  # those that are there are all used: the others are still to come
        if fewer < scaled.workers and not lacks and now - scaled.changed_at >= within_s:
            why = f"at most {used} {'was' if used == 1 else 'were'} used in {within_s:g} s"
            return _change(scaled, place, fewer - scaled.workers, why, now)
        return ()

    def _missing(self, scaled: _Scaled, place: Place, dispatch: Dispatch, now: float) -> int:
        """Return how many tasks wait for nothing but a worker that there could be; 0 where more would be of no use."""
        there = place.slots - place.lent
        if scaled.workers >= scaled.bounds.max_workers or there < scaled.workers or scaled.busy < there:
            return 0
        site = dispatch.sites[place.site]
        if site.parks or site.ledger.closed:
            return 0
        return min(dispatch.spare(place), waiting_for_workers(place, dispatch, now))

    def _idle_s(self, scaled: _Scaled) -> float:
        return min(scaled.bounds.idle_s, SHORT_IDLE_S) if self._short else scaled.bounds.idle_s

    def _due(self, scaled: _Scaled) -> float:
        """Return when this one wants to be looked at though nothing happens."""
        if scaled.pending:
            return scaled.looked_at + LOOK_S
        grow = inf if scaled.waits_since is None else scaled.waits_since + GROW_AFTER_S
        if scaled.workers <= scaled.bounds.min_workers or not scaled.peaks:
            return grow
        within_s = self._idle_s(scaled)
        return min(grow, max(scaled.changed_at, scaled.peaks[0][0]) + within_s)

    @property
    def due(self) -> float:
        """When the engine is to be called though nothing happens; infinite for never."""
        return min(map(self._due, self._scaled.values()), default=inf)

    def told(self) -> dict[str, WorkerScale]:
        """Return how it stands with each executor; from any thread."""
        return {
            name: WorkerScale(
                workers=one.workers, min_workers=one.bounds.min_workers, max_workers=one.bounds.max_workers,
                grown=one.grown, shrunk=one.shrunk, last=one.last,
            )
            for name, one in list(self._scaled.items())
        }  # fmt: skip

    def late(self, dispatch: Dispatch, now: float) -> list[str]:
        """Return in words which executors have long had fewer workers than they were to have; from any thread."""
        return [
            f"executor {name} was to have {one.workers} workers {now - one.changed_at:.0f} s ago, and has {there}"
            for name, one in list(self._scaled.items())
            if now - one.changed_at >= LATE_S
            and (there := dispatch.places[name].slots - dispatch.places[name].lent) < one.workers
        ]


def _change(scaled: _Scaled, place: Place, by: int, why: str, now: float) -> Iterable[Command]:
    before, scaled.workers = scaled.workers, scaled.workers + by
    scaled.changed_at, scaled.waits_since = now, None
    scaled.grown += max(0, by)
    scaled.shrunk += max(0, -by)
    scaled.last = why
    data = {"executor": place.name, "workers": scaled.workers, "before": before, "reason": why}
    return Scale(place.name, scaled.workers), Tell(Happened("workers_scaled", data))


def waiting_for_workers(place: Place, dispatch: Dispatch, now: float) -> int:
    """Return how many tasks of a place would start if it had more workers, by what holds each lane just now."""
    count, ledger = 0, dispatch.sites[place.site].ledger
    for lane in place.lanes:
        waiting = lane.count()
        if not waiting or (lane.group is not None and lane.group.name in dispatch.holding):
            continue
        if lane.exact:
            opens = lane.gate.opens_at(now)
            if opens is None or opens > now or objection(ledger.lacks, lane.choices) is not None:
                continue
            bounds = [
                most - running
                for most, running in ((lane.most, lane.running), (lane.gate.limit, lane.gate.running))
                if most is not None
            ]
            waiting = min([waiting, *bounds])
        count += max(0, waiting)
    return count
