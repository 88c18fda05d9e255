"""The engine's laws of what starts when: in which order, within which bounds, and no worker left idle for nothing."""

from __future__ import annotations

from collections.abc import Mapping

from longshore._engine.engine import Engine
from longshore.task import Priority, TaskState
from longshore.testing._model import ROUNDING, EngineModel, GateKey, Known

RATE_SLACK_S = 0.01


def without_memory(amounts: Mapping[str, float]) -> Mapping[str, float]:
    """Return what is reserved beside memory."""
    return {name: amount for name, amount in amounts.items() if name != "memory"}


class LawBroken(AssertionError):
    """The engine did what it never may; the message says which law and for which task."""


class OrderLaws:
    """The laws of what starts, held against the model; `EngineLaws` sets what is declared here, and asks."""

    engine: Engine
    model: EngineModel
    now: float
    _started: list[Known]
    _holding: set[str | None]
    _starts: dict[GateKey, list[float]]

    def _check_order(self, known: Known) -> None:
        """First in first out among equals; what outranks it and could start goes first."""
        name, mine = known.task.task_id, self.model.rank(known, self.now)
        lane = self.engine.lane_of(known.task)
        for other in self.model.live():
            if other is known or other.state is not TaskState.QUEUED or other.spec.executor != known.spec.executor:
                continue
            own_lane = self.engine.lane_of(other.task)
            alike = other.alike(known) and own_lane == lane
            if alike and other.spec.priority is known.spec.priority:
                self._law(known.order < other.order, "first in, first out", f"{name} before {other.task.task_id}")
            elif (other.plain and own_lane[5] is None) or (alike and not known.plain):
                ranks = mine <= self.model.rank(other, self.now)
                self._law(ranks, "the urgent go first", f"{name} before {other.task.task_id}")
            elif other.beside(known) and other.gate is None and not other.choices and own_lane[5] is None:
                ranks = known.spec.rank >= other.spec.rank
                self._law(ranks, "the higher rank of a group goes first", f"{name} before {other.task.task_id}")

    def _check_bounds(self, known: Known) -> None:
        """A task that is counted: a free worker, its number, its rate, and what it reserves."""
        name, spec = known.task.task_id, known.spec
        self._law(self.model.free(spec.executor) > 0, "what is counted is not handed out ahead", name)
        self._law(self.model.gate_is_open(known), "the concurrency limit holds", name)
        if spec.max_per_second is not None and known.gate is not None:
            starts = self._starts[known.gate]
            starts.append(self.now)
            for index, earlier in enumerate(starts):
                most = spec.max_per_second * (self.now - earlier + RATE_SLACK_S) + 1.0 + ROUNDING
                self._law(len(starts) - index <= most, "max_per_second holds over any window", name)
        self._law(self.model.fits(self.model.reserved[name]), "what is lent out never passes the capacity", name)

    def _check_lowered(self) -> None:
        """What was lent stays lent as it was; what was only guessed of its memory may have been too much."""
        for attempt in self.model.running():
            before, after = self.model.reserved[attempt.task_id], self.engine.lent_to(attempt.task_id)
            if before != after:
                same = without_memory(before) == without_memory(after) and before["memory"] > after["memory"]
                self._law(same and self.engine.lane_of(attempt)[5] is not None, "what is lent stays", attempt.task_id)
                self.model.reserved[attempt.task_id] = after

    def _check_pressed(self) -> None:
        """On a short machine nothing starts past the cap, and what is least urgent only when it waits alone."""
        most = self.engine.config.max_concurrent_tasks
        self._law(0 <= self.model.cap <= most, "the cap only ever lowers max_concurrent_tasks", str(self.model.cap))
        if self._started and self.model.cap < most:
            self._law(self.model.in_use() <= self.model.cap, "nothing starts past the cap of a short machine")
        for known in self._started if self.engine.parks else ():
            urgent = self.model.rank(known, self.now)[0] < Priority.LOW
            self._law(urgent or not self._urgent_wait(), "the least urgent are parked first", known.task.task_id)

    def _urgent_wait(self) -> bool:
        waiting = (known for known in self.model.live() if known.state is TaskState.QUEUED)
        return any(self.model.rank(known, self.now)[0] < Priority.LOW for known in waiting)

    def _check_no_idling(self) -> None:
        """A free worker and a task that could use it are never left together."""
        waiting = [known for known in self.model.live() if known.state is TaskState.QUEUED]
        waiting = [known for known in waiting if known.spec.group not in self._holding]
        for known in waiting:
            if self.model.free(known.spec.executor) <= 0 or self.engine.lacks(known.spec.resources) is not None:
                continue
            if self.engine.lane_of(known.task)[5] is not None:
                continue  # memory is set aside for it: how much, and how many at once, the engine alone knows
            if self.engine.parks and self.model.rank(known, self.now)[0] >= Priority.LOW and self._urgent_wait():
                continue
            wanted_too = any(other is not known and self._vies(other, known) for other in waiting)
            if known.plain or (self.model.gate_is_open(known) and self._fits(known) and not wanted_too):
                timed = known.spec.max_per_second is not None and self.engine.next_due() is not None
                self._law(timed, "no lost wake-up: a worker is free", known.task.task_id)

    def _vies(self, other: Known, known: Known) -> bool:
        """Tell whether what one wants may be kept for the other, which has waited longer for it and more."""
        wanted, takes = ({name for amounts in one.choices for name in amounts} for one in (known, other))
        if self.engine.lane_of(other.task)[5] is not None:
            return not wanted.isdisjoint({"memory", *takes})
        return other.choices != known.choices and not wanted.isdisjoint(takes)

    def _fits(self, known: Known) -> bool:
        return not known.choices or any(map(self.model.fits, known.choices))

    def _law(self, holds: bool, law: str, which: str = "") -> None:
        if not holds:
            raise LawBroken(f"{law}: {which} at {self.now:g}" if which else f"{law} at {self.now:g}")
