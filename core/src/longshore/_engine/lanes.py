"""Where accepted tasks wait: lanes of tasks that are bound by the same things, each with a deque per priority.

Within a lane and priority it is first in, first out. Between priorities the smaller number goes first, and a waiting
task gains one level for each `AGING_S` it has waited, up to the level of HIGH; CRITICAL is never overtaken.

The lanes of a group stand in the order as one: the turn of its oldest task is the turn of its highest rank. So what is
nearly done goes before what has not begun, and yet nobody else waits for longer than the group has work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from longshore._columns import AttemptColumns, in_columns
from longshore._engine.breaker import Breaker, BreakerKey, breaker_key
from longshore._engine.learning import Kind
from longshore._engine.ledger import Ledger
from longshore.task import Attempt, Priority, TaskSpec

AGING_S = 2.0
"""Seconds of waiting that are worth one level of priority."""
_GATES_MOST = 1024
_TOP_AGED = int(Priority.HIGH)
_RATE_SLACK_S = 0.01  # a late wake-up may be made good by starting what should have started in these last seconds

GateKey = tuple[float | None, str | None, int | None, str | None]
AmountsKey = tuple[tuple[str, float], ...]
LaneKey = tuple[str, tuple[AmountsKey, ...], str | None, int, GateKey, Kind | None, BreakerKey | None]
Rank = tuple[int, float, int, int]
"""Effective priority, queued at (the oldest of a group), the rank within a group less than zero, priority."""


RAISED = Kind("", -1)
"""In place of the kind: single tasks for which so much memory is set aside, whatever they ask for."""


def lane_key(spec: TaskSpec, kind: Kind | None = None, memory_mb: float | None = None) -> LaneKey:
    """Return what decides which lane a spec's tasks wait in: all that could hold them back.

    With a kind it is one for tasks of that kind only; with `memory_mb` they reserve so much in place of what they ask.
    """
    choices = spec.resources.choices() if spec.resources is not None else ()
    wanted = tuple(tuple(sorted(choice.amounts().items())) for choice in choices)
    wanted = wanted if any(wanted) else ()
    if memory_mb is not None:
        wanted = with_memory(wanted, memory_mb)
    rank = spec.rank if spec.group is not None else 0
    return spec.executor, wanted, spec.group, rank, gate_key(spec), kind, breaker_key(spec)


def with_memory(choices: tuple[AmountsKey, ...], memory_mb: float) -> tuple[AmountsKey, ...]:
    """Return the choices with so much memory in each."""
    each = ({**dict(amounts), "memory": memory_mb} for amounts in choices or ((),))
    return tuple(tuple(sorted(amounts.items())) for amounts in each)


def gate_key(spec: TaskSpec) -> GateKey:
    """Return whose rate and number a spec's tasks share: a rate is a group's own, a number its processor's."""
    if spec.max_per_second is not None:
        return spec.max_per_second, spec.name, spec.concurrent_limit, spec.group
    limited = None if spec.concurrent_limit is None else spec.processor or spec.name
    return None, limited, spec.concurrent_limit, None


class Gate:
    """What the tasks of one name share of rate and number, whatever they reserve and wherever they run."""

    __slots__ = ("limit", "name", "next_start", "rate", "running")

    def __init__(self, rate: float | None, name: str | None, limit: int | None, group: str | None = None) -> None:
        """Make an open gate; without a rate and a limit it stays open. `group` is only a part of its key."""
        self.rate = rate
        self.name = name
        self.limit = limit
        self.next_start = 0.0
        self.running = 0

    def opens_at(self, now: float) -> float | None:
        """Return when the next task may start; None while only an ending task can tell."""
        if self.limit is not None and self.running >= self.limit:
            return None
        return self.next_start if self.rate is not None else now

    def shut(self, now: float) -> tuple[str, float | None] | None:
        """Return why no task may start, and until when (None: until one has ended); None if one may."""
        opens = self.opens_at(now)
        if opens is None:
            return f"at most {self.limit} of {self.name} at once", None
        return (f"at most {self.rate:g} of {self.name} a second", opens) if opens > now else None

    def started(self, now: float) -> None:
        """Count one start against rate and limit."""
        self.running += 1
        if self.rate is not None:
            self.next_start = max(self.next_start, now - _RATE_SLACK_S) + 1.0 / self.rate


class Gates:
    """The gates there are, by key."""

    __slots__ = ("_by_key", "_tidy_at")

    def __init__(self) -> None:
        """Have none."""
        self._by_key: dict[GateKey, Gate] = {}
        self._tidy_at = _GATES_MOST

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_key)

    def get(self, key: GateKey) -> Gate:
        """Return the gate with this key, a new one where there is none."""
        gate = self._by_key.get(key)
        if gate is None:
            gate = self._by_key[key] = Gate(*key)
        return gate

    def tidy(self, lanes: Iterable[Lane]) -> None:
        """Forget gates that no lane has, where there are too many; one with a rate knows when the last task started."""
        if len(self._by_key) > self._tidy_at:
            used = {lane.gate for lane in lanes}
            self._by_key = {key: gate for key, gate in self._by_key.items() if gate.rate or gate in used}
            self._tidy_at = max(_GATES_MOST, 2 * len(self._by_key))


class Group:
    """The lanes of one group on one executor."""

    __slots__ = ("lanes", "name")

    def __init__(self, name: str) -> None:
        """Make a group without lanes."""
        self.name = name
        self.lanes: list[Lane] = []

    def oldest(self, priority: int) -> float:
        """Return since when the oldest task of this priority waits; there is one."""
        return min(lane.queues[priority][0].queued_at for lane in self.lanes if lane.queues[priority])


class Lane:
    """Tasks bound by the same executor, reservation, gate and group. Whatever is in its queues is queued."""

    __slots__ = (
        "breaker",
        "choices",
        "exact",
        "gate",
        "group",
        "guessed",
        "held_to_mb",
        "key",
        "most",
        "queues",
        "rank",
        "running",
    )

    def __init__(self, key: LaneKey, gate: Gate, group: Group | None = None, breaker: Breaker | None = None) -> None:
        """Make an empty lane."""
        self.key = key
        self.gate = gate
        self.breaker = breaker
        self.group = group
        self.rank = -key[3]
        self.choices: tuple[Mapping[str, float], ...] = tuple(dict(amounts) for amounts in key[1])
        """What a task of it reserves: one of these, the first that can be had."""
        self.guessed = key[5] is not None
        """Whether the memory in that is what we think, not what somebody asked for."""
        self.held_to_mb: float | None = None
        """What each of its tasks may take at most, where that is no more than what is set aside for it."""
        self.most: int | None = None
        """How many of its tasks may run at once, while little is known of what they take."""
        self.exact = self._is_exact()
        """Whether its tasks are counted one by one, and so never handed out ahead of a free worker."""
        self.running = 0
        """How many of an exact lane's tasks run; a plain lane does not count them."""
        self.queues: tuple[deque[Attempt | AttemptColumns], ...] = tuple(deque() for _ in Priority)
        """What waits, by priority. Attempts in columns stand as one, until somebody wants one of them."""

    @property
    def spent(self) -> bool:
        """Whether it may be dropped: nothing of it waits or runs, and it is one of many that come and go."""
        return (self.exact or self.guessed) and not self.running and not self.waits()

    def set_aside(self, memory_mb: float, most: int | None, held_to: bool) -> None:
        """Have its tasks reserve so much memory beside what they ask for, and be held to it; 0 is nothing."""
        key, self.held_to_mb = self.key, memory_mb if held_to and memory_mb else None
        wanted = with_memory(key[1], memory_mb) if memory_mb else key[1]
        self.choices = tuple(dict(amounts) for amounts in wanted)
        self.most = most
        self.exact = self._is_exact()

    def within(self, ledger: Ledger) -> Sequence[Mapping[str, float]]:
        """Return what each of its tasks may reserve; of what is guessed no more than can ever be lent."""
        return [ledger.within(amounts) for amounts in self.choices] if self.guessed else self.choices

    def _is_exact(self) -> bool:
        bounds = (self.gate.rate, self.gate.limit)
        return bool(self.choices or any(bounds) or self.group is not None or self.breaker is not None)

    def obstacle(self, now: float) -> str | None:
        """Return in plain words what of its own keeps its next task from starting; None if nothing does."""
        tripped = self.breaker.obstacle(now) if self.breaker is not None else None
        if tripped is not None:
            return tripped
        opens, gate = self.gate.opens_at(now), self.gate
        if opens is None:
            return f"at most {gate.limit} of {gate.name} run at once, and so many do"
        if opens > now:
            return f"at most {gate.rate:g} of {gate.name} start in a second, the next in {opens - now:.3g} s"
        return self.ramp if self.most is not None and self.running >= self.most else None

    @property
    def ramp(self) -> str:
        """Say that no more of its kind start before it is known what they take."""
        return f"at most {self.most} of a kind at once until more is known of the memory it takes"

    def shut(self, now: float) -> tuple[str, float | None] | None:
        """Return why no task of it may start, and until when (None: until one has ended); None if one may."""
        tripped = self.breaker.shut(now) if self.breaker is not None else None
        return tripped or self.gate.shut(now)

    def started(self, task_id: str, now: float) -> None:
        """Count one start."""
        self.running += 1
        self.gate.started(now)
        if self.breaker is not None:
            self.breaker.started(task_id)

    def best(self, now: float) -> Rank | None:
        """Return the place in the order of the attempt to go next; None when nothing waits."""
        found: Rank | None = None
        for priority, queue in enumerate(self.queues):
            if queue:
                since = queue[0].queued_at if self.group is None else self.group.oldest(priority)
                rank = (effective(priority, now - since), since, self.rank, priority)
                if found is None or rank < found:
                    found = rank
        return found

    def lent(self, attempt: Attempt, gpus: tuple[int, ...]) -> Attempt:
        """Return an attempt of it with what it was lent, and may take."""
        if self.held_to_mb is not None:
            own_mb = attempt.spec.memory_limit_mb
            if own_mb is None or self.held_to_mb < own_mb:
                return replace(attempt, gpus=gpus, memory_limit_mb=self.held_to_mb)
        return replace(attempt, gpus=gpus) if gpus or attempt.gpus else attempt

    def put(self, priority: int, attempts: Sequence[Attempt]) -> None:
        """Let attempts wait behind those of their priority."""
        if in_columns(attempts):
            self.queues[priority].append(attempts)
        else:
            self.queues[priority].extend(attempts)

    def take(self, priority: int, most: int) -> list[Sequence[Attempt]]:
        """Take up to `most` attempts of one priority out of the queue, columns as they are."""
        queue, taken = self.queues[priority], list[Sequence[Attempt]]()
        while queue and most > 0:
            head = queue[0]
            part: Sequence[Attempt]
            if type(head) is not AttemptColumns:
                part = _take_singles(queue, most)
            elif len(head) <= most:
                part = head
                queue.popleft()
            else:
                part, rest = head[:most], head[most:]
                queue[0] = rest if in_columns(rest) else head
            taken.append(part)
            most -= len(part)
        return taken

    def take_one(self, priority: int) -> Attempt:
        """Take the first attempt of one priority out of the queue; there is one."""
        queue = self.queues[priority]
        head = queue.popleft()
        if type(head) is not AttemptColumns:
            return head
        first, *others = head
        queue.extendleft(reversed(others))
        return first

    def waiting(self, priority: int) -> Iterator[Attempt]:
        """Yield the attempts of one priority, in order."""
        for item in self.queues[priority]:
            if type(item) is AttemptColumns:
                yield from item
            else:
                yield item

    def remove(self, task_ids: Container[str]) -> list[Attempt]:
        """Take out these tasks wherever they stand; looks at all that wait here."""
        gone: list[Attempt] = []
        for priority, queue in enumerate(self.queues):
            out = [attempt for attempt in self.waiting(priority) if attempt.task_id in task_ids]
            if out:
                gone += out
                stay = [attempt for attempt in self.waiting(priority) if attempt.task_id not in task_ids]
                queue.clear()
                queue.extend(stay)
        return gone

    def give_up(
        self, key: Callable[[Attempt], LaneKey], concerns: Callable[[AttemptColumns], bool]
    ) -> list[tuple[int, Attempt]]:
        """Take out those whose key is another, in order, with their priorities; looks at all that wait here.

        Of columns only at those that it `concerns`.
        """
        gone: list[tuple[int, Attempt]] = []
        for priority, queue in enumerate(self.queues):
            strangers, stay = list[Attempt](), list[Attempt | AttemptColumns]()
            for item in queue:
                if type(item) is not AttemptColumns:
                    (stay if key(item) == self.key else strangers).append(item)
                elif not concerns(item):
                    stay.append(item)
                else:
                    for attempt in item:
                        (stay if key(attempt) == self.key else strangers).append(attempt)
            if strangers:
                gone += [(priority, attempt) for attempt in strangers]
                queue.clear()
                queue.extend(stay)
        return gone

    def count(self) -> int:
        """Return how many are queued here."""
        return sum(len(item) if type(item) is AttemptColumns else 1 for queue in self.queues for item in queue)

    def waits(self) -> bool:
        """Tell whether anything is queued here."""
        return any(self.queues)

    def only_priority(self) -> int | None:
        """Return the one priority that has attempts, None when there are several or none."""
        busy = [priority for priority, queue in enumerate(self.queues) if queue]
        return busy[0] if len(busy) == 1 else None


def _take_singles(queue: deque[Attempt | AttemptColumns], most: int) -> list[Attempt]:
    """Take up to `most` attempts off the front of a queue, as far as the first columns."""
    taken: list[Attempt] = []
    while queue and len(taken) < most:
        head = queue[0]
        if type(head) is AttemptColumns:
            break
        taken.append(head)
        queue.popleft()
    return taken


def effective(priority: int, waited_s: float) -> int:
    """Return the level a task competes at after having waited."""
    if priority <= _TOP_AGED:
        return priority
    return max(_TOP_AGED, priority - int(waited_s / AGING_S))


def standing(attempt: Attempt, now: float) -> tuple[int, float]:
    """Return what decides between two attempts that wait: the level, then who came first."""
    return effective(attempt.spec.priority, now - attempt.queued_at), attempt.queued_at
