"""A plain model of what an engine holds, slow and simple on purpose; `_laws` checks the engine by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from longshore._engine.config import EngineConfig
from longshore._engine.messages import Past
from longshore._engine.retry import kind_of
from longshore._engine.states import ENDS
from longshore.errors import MemoryLimitExceeded
from longshore.task import Attempt, Outcome, Priority, Task, TaskState

AGING_S = 2.0
ROUNDING = 1e-6

GateKey = tuple[str, float | None, int | None, str | None]


class Known:
    """What the model knows of one accepted task."""

    __slots__ = (
        "choices",
        "due",
        "executor",
        "expires_at",
        "forgiven",
        "gate",
        "held_to_mb",
        "number",
        "order",
        "plain",
        "queued_at",
        "spec",
        "state",
        "task",
    )

    def __init__(self, task: Task, now: float, order: int) -> None:
        """Know a task that was accepted `now`, as number `order`."""
        spec = task.spec
        self.task = task
        self.spec = spec
        self.state = TaskState.QUEUED
        self.number = 0
        self.forgiven = 0
        self.held_to_mb: float | None = None
        self.queued_at = task.queued_at if isinstance(task, Attempt) else now  # its wait began with its caller
        self.order = order
        self.due: float | None = None
        self.expires_at = None if spec.deadline_s is None else now + spec.deadline_s
        rate, limit = spec.max_per_second, spec.concurrent_limit
        self.gate: GateKey | None = None
        if rate is not None:
            self.gate = (spec.name, rate, limit, spec.group)
        elif limit is not None:
            self.gate = (spec.processor or spec.name, None, limit, None)
        choices = spec.resources.choices() if spec.resources is not None else ()
        amounts: list[Mapping[str, float]] = [choice.amounts() for choice in choices]
        self.choices = amounts if any(amounts) else []
        """What it reserves while it runs: one of these; none if it reserves nothing."""
        self.plain = self.gate is None and not self.choices and spec.group is None
        """Whether nothing but a free worker is needed for it to start."""

    def for_others(self, outcome: Outcome) -> bool:
        """Tell whether its attempt ended for what the engine thought it would take, or for what others took."""
        if outcome.error is None:
            return False
        own_mb = self.spec.memory_limit_mb
        guessed = self.held_to_mb is not None and (own_mb is None or self.held_to_mb < own_mb)
        beyond = guessed and issubclass(kind_of(outcome), MemoryLimitExceeded)
        return beyond or outcome.error.reason == "out_of_memory"

    def alike(self, other: Known) -> bool:
        """Tell whether the same things hold both back."""
        same = self.gate == other.gate and self.choices == other.choices
        return same and (self.spec.group, self.spec.rank) == (other.spec.group, other.spec.rank)

    def beside(self, other: Known) -> bool:
        """Tell whether both are of one group, priority and executor."""
        mine, others = self.spec, other.spec
        same = mine.group is not None and mine.group == others.group and mine.executor == others.executor
        return same and mine.priority is others.priority


class EngineModel:
    """All tasks ever accepted, what the executors hold, and how much of everything there is."""

    def __init__(self, config: EngineConfig) -> None:
        """Start with nothing accepted."""
        self.config = config
        self.known: dict[str, Known] = {}
        self._live: dict[str, Known] = {}
        self.held: dict[str, dict[str, Attempt]] = defaultdict(dict)
        self.reserved: dict[str, Mapping[str, float]] = {}
        """What was lent to each task when it last started, as the engine said then."""
        self.slots: dict[str, int] = {}
        self.limits: dict[str, int | None] = {}
        """How many of its workers each executor was told to use."""
        self.capacity: Mapping[str, float] = dict(config.capacity)
        self.cap = config.max_concurrent_tasks
        """How many tasks may run at once as the engine has it, with the machine as it was measured."""

    def running(self) -> list[Attempt]:
        """Return the attempts that executors hold, oldest first in each."""
        return [attempt for held in self.held.values() for attempt in held.values()]

    def live(self) -> list[Known]:
        """Return the tasks that have not ended."""
        return list(self._live.values())

    def accept(self, task: Task, now: float, order: int, past: Past | None = None) -> None:
        """Know one more task, of which there is a past if its run goes on."""
        self.known[task.task_id] = self._live[task.task_id] = known = Known(task, now, order)
        if past is not None:
            known.number, known.forgiven = past.number - 1, past.lost

    def move(self, known: Known, to: TaskState) -> None:
        """Have a task in another state."""
        known.state = to
        if to in ENDS:
            del self._live[known.task.task_id]

    def rank(self, known: Known, now: float) -> tuple[int, float]:
        """Return its place in the order of starting: level after aging, then age; in a group, that of the oldest."""
        priority = int(known.spec.priority)
        since = known.queued_at
        if known.spec.group is not None:
            beside = [other for other in self._live.values() if other.state is TaskState.QUEUED and other.beside(known)]
            since = min(other.queued_at for other in (known, *beside))
        aged = priority if priority <= 1 else max(1, priority - int((now - since) / AGING_S))
        return aged, since

    def waiting(self) -> tuple[int, int]:
        """Return how many tasks wait, those for a retry as well, in the ordinary queue and in the urgent one."""
        counts = [0, 0]
        for known in self._live.values():
            if known.state is not TaskState.PROCESSING:
                counts[known.spec.priority is Priority.CRITICAL] += 1
        return counts[False], counts[True]

    def in_use(self) -> int:
        """Return how many workers run something, or are about to."""
        return sum(min(len(held), self.usable(executor)) for executor, held in self.held.items())

    def usable(self, executor: str) -> int:
        """Return how many workers an executor may use."""
        slots, limit = self.slots.get(executor, 0), self.limits.get(executor)
        return slots if limit is None else min(slots, limit)

    def free(self, executor: str) -> int:
        slots, held = self.slots.get(executor, 0), len(self.held[executor])
        others = sum(min(len(held), self.slots.get(other, 0)) for other, held in self.held.items() if other != executor)
        return min(slots, self.cap - others) - held

    def gate_is_open(self, known: Known) -> bool:
        limit = known.spec.concurrent_limit
        if limit is None:
            return True
        alike = sum(self.known[attempt.task_id].gate == known.gate for attempt in self.running())
        return alike < limit

    def lent(self) -> dict[str, float]:
        lent: dict[str, float] = defaultdict(float)
        for attempt in self.running():
            for name, amount in self.reserved.get(attempt.task_id, {}).items():
                lent[name] += amount
        return lent

    def fits(self, amounts: Mapping[str, float]) -> bool:
        lent = self.lent()
        return all(
            lent[name] + amount <= self.capacity[name] + ROUNDING
            for name, amount in amounts.items()
            if name in self.capacity
        )
