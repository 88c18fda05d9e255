"""Many attempts of one stream, and many plain outcomes, as columns: a record is made only where somebody looks at it.

Short tasks come by the thousand, and most of what happens to them happens to many at once. As records each of them is
touched by the loop, by an executor's thread and by the loop again, and memory that goes from core to core costs more
than the work. Both classes are sequences of the usual records; who iterates one has them all made, once.

Used by the loop, and through `worker` by executors that want the columns; all others need not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, groupby, repeat
from typing import Any, Final, Self, TypeGuard, final, overload

from longshore.task import PLAIN_TYPES, Attempt, Outcome, PlainOutcome, TaskSpec, TaskState

COLUMNS_LEAST: Final = 64
"""From so many calls on that a stream pulls together, columns are worth it; their arguments are let go of together."""
_COMPLETED = TaskState.COMPLETED  # looked up once: an Enum's member costs 70 ns to get at on Python 3.11


class _Rows:
    """What the parts of one `AttemptColumns` share."""

    __slots__ = ("__weakref__", "_made", "_slots", "calls", "first", "ids", "queued_at", "spec")

    def __init__(
        self, spec: TaskSpec, ids: list[str], calls: list[tuple[Any, ...]], first: int, queued_at: float
    ) -> None:  # Any: the user's arguments
        self.spec = spec
        self.ids = ids
        self.calls = calls
        self.first = first
        self.queued_at = queued_at
        self._made: list[list[Attempt]] = []
        self._slots: dict[str, int] | None = None

    def made(self) -> list[Attempt]:
        """Return the records, the same ones each time and to each thread."""
        if not self._made:  # two threads may make them at once: what was put there first counts
            self._made.append(first_attempts(self.spec, self.ids, self.calls, self.first, self.queued_at))
        return self._made[0]

    def one(self, slot: int) -> Attempt:
        """Return one record, without having all of them made: then it is not the same one each time."""
        if self._made:
            return self._made[0][slot]
        return Attempt(self.ids[slot], self.spec, self.calls[slot], None, self.first + slot, None, 1, self.queued_at)

    def slot(self, task_id: str) -> int | None:
        """Return where a task stands among all of them."""
        if self._slots is None:
            self._slots = {task_id: slot for slot, task_id in enumerate(self.ids)}
        return self._slots.get(task_id)


def first_attempts(
    spec: TaskSpec,
    ids: Iterable[str],
    calls: Sequence[tuple[Any, ...]],
    first: int,
    queued_at: float,
    keys: Iterable[str | None] = repeat(None),
) -> list[Attempt]:  # Any: the user's arguments
    """Return first attempts with indexes from `first` on; two thirds of the price of making them one by one."""
    indexes = range(first, first + len(calls))
    return list(map(Attempt, ids, repeat(spec), calls, repeat(None), indexes, keys, repeat(1), repeat(queued_at)))


@final
class AttemptColumns(Sequence[Attempt]):
    """First attempts of one spec, queued together, without a key, keywords, deadline, context or GPUs of their own."""

    __slots__ = ("_rows", "_start", "_stop")

    def __init__(
        self, spec: TaskSpec, ids: list[str], calls: list[tuple[Any, ...]], first: int, queued_at: float
    ) -> None:
        """Take a task for each id: called with the arguments in `calls`, with indexes from `first` on.

        Any: the user's arguments.
        """
        self._rows = _Rows(spec, ids, calls, first, queued_at)
        self._start, self._stop = 0, len(ids)

    @property
    def spec(self) -> TaskSpec:
        """Return what they have in common."""
        return self._rows.spec

    @property
    def queued_at(self) -> float:
        """Return since when they wait, in monotonic seconds."""
        return self._rows.queued_at

    @property
    def ids(self) -> list[str]:
        """Return the ids of their tasks."""
        return self._rows.ids[self._start : self._stop]

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """Return the arguments of each. Any: the user's."""
        return self._rows.calls[self._start : self._stop]

    @property
    def first(self) -> int:
        """Return the index of the first."""
        return self._rows.first + self._start

    def __len__(self) -> int:
        """Return how many there are."""
        return self._stop - self._start

    @overload
    def __getitem__(self, at: int) -> Attempt: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attempt]: ...
    def __getitem__(self, at: int | slice) -> Attempt | Sequence[Attempt]:
        """Return one, or some: neighbours as columns again."""
        if isinstance(at, int):
            return self._rows.one(range(self._start, self._stop)[at])
        start, stop, step = at.indices(len(self))
        if step != 1:
            return self._rows.made()[self._start : self._stop][at]
        part = object.__new__(AttemptColumns)
        part._rows = self._rows
        part._start, part._stop = self._start + start, self._start + max(start, stop)
        return part

    def __iter__(self) -> Iterator[Attempt]:
        """Iterate over the records."""
        made = self._rows.made()
        return iter(made if len(self) == len(made) else made[self._start : self._stop])


@final
class OutcomeColumns(Sequence[Outcome]):
    """Outcomes of attempts in columns, each that of the attempt with its number; all completed."""

    __slots__ = ("_cpu", "_ends", "_made", "_starts", "_values", "_workers", "attempts")

    def __init__(
        self,
        attempts: AttemptColumns,
        values: Sequence[Any],
        starts: Sequence[float],
        ends: Sequence[float],
        workers: str | Sequence[str],
        *,
        cpu: bool,
    ) -> None:
        """Take what each attempt returned, when it began and ended, in monotonic seconds, and the worker it had.

        `cpu` says whether its time stands for its processor time; else that can't be told. Any: the user's results.
        """
        self.attempts = attempts
        self._values, self._starts, self._ends, self._workers, self._cpu = values, starts, ends, workers, cpu
        self._made: list[Outcome] | None = None

    @classmethod
    def of(cls, attempts: AttemptColumns, outcomes: Sequence[Outcome]) -> list[OutcomeColumns | list[Outcome]]:
        """Return the outcomes of these attempts, one each and in their order: those that completed as columns."""
        parts: list[OutcomeColumns | list[Outcome]] = []
        at = 0
        for plain, run in groupby(outcomes, _is_completed):
            records = list(run)
            part = attempts[at : at + len(records)]
            at += len(records)
            if plain and in_columns(part):
                columns = cls(part, (), (), (), "", cpu=False)
                columns._made = records
                parts.append(columns)
            else:
                parts.append(records)
        return parts

    @property
    def timed(self) -> bool:
        """Whether the times are in columns, and so nothing else is known of them; else they are records already."""
        return bool(self._starts)

    def ran_s(self) -> float:
        """Return the seconds they ran, together, from the columns."""
        return sum(self._ends) - sum(self._starts)

    def queued_s(self) -> float:
        """Return the seconds they waited, together, from the columns."""
        return sum(self._starts) - len(self._starts) * self.attempts.queued_at

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.attempts)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> list[Outcome]: ...
    def __getitem__(self, at: int | slice) -> Outcome | list[Outcome]:
        """Return one, or some."""
        if self._made is not None:
            return self._made[at]
        if isinstance(at, int):
            at = range(len(self))[at]
            return self._make(slice(at, at + 1))[0]
        return self._make(at)

    def __iter__(self) -> Iterator[Outcome]:
        """Iterate over the records."""
        if self._made is None:
            self._made = self._make(slice(None))
        return iter(self._made)

    def _make(self, part: slice) -> list[Outcome]:
        attempts, name, cpu = self.attempts, self.attempts.spec.name, self._cpu
        queued_at, first, values = attempts.queued_at, attempts.first, self._values[part]
        workers = repeat(self._workers) if isinstance(self._workers, str) else self._workers[part]
        rows = zip(
            attempts.ids[part],
            range(first, first + len(self))[part],
            values,
            self._starts[part],
            self._ends[part],
            workers,
            strict=False,
        )
        kind = PlainOutcome if PLAIN_TYPES.issuperset(map(type, values)) else Outcome
        return [
            kind(i, None, n, name, _COMPLETED, v, None, 1, s - queued_at, (ran := e - s), ran if cpu else None, None, w)
            for i, n, v, s, e, w in rows
        ]


class Reports:
    """Outcomes that are still to be told, in order: records together, columns as they are."""

    __slots__ = ("_count", "_parts")

    def __init__(self) -> None:
        """Have none."""
        self._parts: list[list[Outcome] | OutcomeColumns] = []
        self._count = 0

    def __len__(self) -> int:
        """Return how many outcomes there are."""
        return self._count

    def __iter__(self) -> Iterator[Outcome]:
        """Iterate over the outcomes."""
        return chain.from_iterable(self._parts)

    def __iadd__(self, outcomes: Iterable[Outcome]) -> Self:
        """Add some at the end."""
        if type(outcomes) is OutcomeColumns:
            self._parts.append(outcomes)
            self._count += len(outcomes)
            return self
        before = self._parts[-1] if self._parts else None
        if before is None or type(before) is OutcomeColumns:
            self._parts.append(before := [])
        held = len(before)
        before += outcomes
        self._count += len(before) - held
        return self

    def append(self, outcome: Outcome) -> None:
        """Add one at the end."""
        self += (outcome,)

    def take(self) -> list[Sequence[Outcome]]:
        """Remove and return them all, in parts."""
        parts: list[Sequence[Outcome]] = [part for part in self._parts if part]
        self._parts, self._count = [], 0
        return parts


@final
class LiveColumns:
    """Which attempts in columns are still of interest. Neither beginning nor ending some together looks at each."""

    __slots__ = ("_found", "_live", "count")

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        """How many there are."""
        self._live: dict[_Rows, bytearray] = {}  # 1 for each that is
        self._found: _Rows | None = None  # where the last was that was looked for: its neighbours come next

    def start(self, part: AttemptColumns) -> None:
        """Take in some that were not here before."""
        rows, size = part._rows, len(part)
        live = self._live.get(rows)
        if live is None:
            live = self._live[rows] = bytearray(len(rows.ids))
        live[part._start : part._stop] = b"\x01" * size
        self.count += size

    def end(self, part: AttemptColumns) -> bool:
        """Take these off if all of them are here; tell whether that was so."""
        rows, size = part._rows, len(part)
        live = self._live.get(rows)
        if live is None or live.count(1, part._start, part._stop) < size:
            return False
        live[part._start : part._stop] = bytes(size)
        self._less(rows, live, size)
        return True

    def end_one(self, task_id: str) -> bool:
        """Take one off, if it is here; tell whether it was."""
        place = self._place(task_id)
        if place is None:
            return False
        rows, slot = place
        live = self._live[rows]
        live[slot] = 0
        self._less(rows, live, 1)
        return True

    def find(self, task_id: str) -> Attempt | None:
        """Return the attempt of a task that is here."""
        place = self._place(task_id)
        return place[0].one(place[1]) if place is not None else None

    def among(self, part: AttemptColumns) -> list[int]:
        """Return where in a part there are some that are here."""
        live = self._live.get(part._rows)
        if live is None or live.find(1, part._start, part._stop) < 0:
            return []
        return [at for at, flag in enumerate(live[part._start : part._stop]) if flag]

    def values(self) -> Iterator[Attempt]:
        """Yield those that are here."""
        for rows, live in list(self._live.items()):
            yield from compress(rows.made(), live)

    def _place(self, task_id: str) -> tuple[_Rows, int] | None:
        if not self._live:
            return None
        for rows in (self._found, *self._live):
            slot = rows.slot(task_id) if rows is not None else None
            if rows is not None and slot is not None:
                self._found = rows
                return (rows, slot) if self._live[rows][slot] else None
        return None

    def _less(self, rows: _Rows, live: bytearray, size: int) -> None:
        """Count some less; let go of all that the rows hold when none of them is left."""
        self.count -= size
        if 1 not in live:
            del self._live[rows]
            self._found = None


def _is_completed(outcome: Outcome) -> bool:
    return outcome.state is _COMPLETED


def in_columns(attempts: Sequence[Attempt]) -> TypeGuard[AttemptColumns]:
    """Tell whether attempts are columns."""
    return type(attempts) is AttemptColumns


def ids_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the ids of the tasks."""
    if type(outcomes) is OutcomeColumns:
        return outcomes.attempts.ids
    return [outcome.task_id for outcome in outcomes]


def not_completed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return those that did not complete."""
    if type(outcomes) is OutcomeColumns:
        return []
    return [outcome for outcome in outcomes if outcome.state is not _COMPLETED]


def ran_s(outcomes: Sequence[Outcome]) -> float:
    """Return the seconds that they ran, together."""
    if type(outcomes) is OutcomeColumns and outcomes.timed:
        return outcomes.ran_s()
    return sum([outcome.ran_s for outcome in outcomes])


def queued_s(outcomes: Sequence[Outcome]) -> float:
    """Return the seconds that they waited, together."""
    if type(outcomes) is OutcomeColumns and outcomes.timed:
        return outcomes.queued_s()
    return sum([outcome.queued_s for outcome in outcomes])


def weighed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return those that say what memory they took: of columns, only records do."""
    if type(outcomes) is OutcomeColumns and outcomes.timed:
        return []
    return [outcome for outcome in outcomes if outcome.peak_memory_mb is not None]
