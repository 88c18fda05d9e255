"""What waits for a worker, grouped into runs of one kind, and how much of it is sent at once.

Used on the supervisor's thread only; no clock, no descriptors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from longshore.errors import PayloadError
from longshore.task import Attempt, TaskSpec
from longshore.worker import in_columns

from longshore_processes.bays import Shelf
from longshore_processes.codec import Carrier
from longshore_processes.namespaces import Scope
from longshore_processes.vigil import Vigil

BATCH_S: Final = 0.0125
"""Work sent at once: a batch costs the controller some 200 us of a core that workers want; more of it waits longer."""
BATCH_ITEMS: Final = 2000
BATCH_BYTES: Final = 1 << 20
AHEAD_S: Final = 0.02
"""Tasks longer than this are not sent ahead to a busy worker: the gain is below 1 %, the wait behind one is not."""
_GROWTH: Final = 4
_KINDS: Final = 512
_WORTH_S: Final = 0.0002  # less work than this is not worth a message of its own
_COMPACT: Final = 4096
_SLOW_S: Final = 0.01

_like = attrgetter("spec", "memory_limit_mb")


class Trials:
    """How workers fared that got ready: for one kind, or by one initializer, which many kinds may have."""

    __slots__ = ("deaths", "end", "hopeless_until", "initializer", "scope", "worked")

    def __init__(self, initializer: object = None) -> None:
        """Know of none."""
        self.initializer = initializer
        self.scope = Scope() if initializer is not None else None
        """In which functions are sent with it."""
        self.worked = False
        self.deaths = 0  # in a row
        self.end: tuple[str, dict[str, Any]] | None = None  # Any: JSON-safe values
        """How the last one ended by itself, in words and as facts; None where they took too long."""
        self.hopeless_until = 0.0  # none is tried again before this


class Kind:
    """Tasks that a worker runs in the same way: one function, initializer, name and limits; and what they cost."""

    __slots__ = (
        "cap",
        "data",
        "error",
        "function",
        "initializer",
        "item_bytes",
        "memory_limit_mb",
        "name",
        "number",
        "on_gpu",
        "own",
        "ran_s",
        "soft_timeout_s",
        "starting",
        "timeout_s",
    )

    def __init__(self, number: int, spec: TaskSpec, memory_limit_mb: float | None, starting: Trials) -> None:
        """Begin to know the kind of this spec with that limit, of whose initializer `starting` tells."""
        self.number = number
        self.function: Callable[..., Any] = spec.function  # Any: the user's function
        self.initializer = spec.initializer
        self.name = spec.name
        self.timeout_s = spec.timeout_s
        self.soft_timeout_s = spec.soft_timeout_s
        self.memory_limit_mb = memory_limit_mb
        self.on_gpu = _on_gpu(spec)  # its attempts go one by one: each has devices of its own
        self.data: bytes | None = None
        self.error: PayloadError | None = None
        self.ran_s: float | None = None
        self.item_bytes = 0.0
        self.cap = 1
        self.own, self.starting = Trials(), starting

    def learn(self, mean_s: float) -> None:
        """Take the mean run time of some items that ended."""
        known = self.ran_s
        sudden = known is None or mean_s > 4 * known
        self.ran_s = mean_s if sudden or known is None else 0.7 * known + 0.3 * mean_s
        self.cap = min(self.cap * _GROWTH, BATCH_ITEMS)
        for trials in (self.own, self.starting):
            trials.deaths, trials.worked = 0, True

    def hopeless(self, now: float) -> Trials | None:
        """Return the trials that have shown that no worker gets ready for it, if that holds still."""
        if now < self.own.hopeless_until:
            return self.own
        return self.starting if now < self.starting.hopeless_until else None

    def batch_size(self, share: int) -> int:
        """Return how many items make one batch, on what is known by now, where `share` would be fair."""
        if not self.ran_s:
            return 1
        size = min(self.cap, int(BATCH_S / self.ran_s), max(share, int(_WORTH_S / self.ran_s)))
        if self.item_bytes > 1:
            size = min(size, int(BATCH_BYTES / self.item_bytes))
        return max(1, size)

    def slow_s(self) -> float:
        """Return after how long an item is slow for its kind, so that nothing should wait behind it."""
        return max(_SLOW_S, 4 * (self.ran_s or 0.0))


class Kinds:
    """The kinds in use, at most a fixed number of them; the rest is forgotten, oldest first."""

    def __init__(self, vigil: Vigil) -> None:
        """Know none; what is pickled is under the eyes of `vigil`."""
        self._vigil = vigil
        self._by_key: dict[tuple[object, ...], Kind] = {}
        self._starting: dict[int, Trials] = {}  # by the id of the initializer, which they hold
        self._carrier = Carrier()
        self._count = 0
        self._last: tuple[TaskSpec | None, float | None, Kind | None] = (None, None, None)

    def of(self, spec: TaskSpec, raised_mb: float | None = None) -> tuple[Kind, Kind | None]:
        """Return the kind of a spec, and a kind that was forgotten for it; `raised_mb` is a limit of memory of its own.

        Whoever tries again with more is of another kind than the rest: its worker is to hold it to another limit.
        """
        last_spec, last_mb, last = self._last
        if spec is last_spec and raised_mb == last_mb and last is not None:
            return last, None
        memory_limit_mb = spec.memory_limit_mb if raised_mb is None else raised_mb
        limits = spec.timeout_s, spec.soft_timeout_s, memory_limit_mb, _on_gpu(spec)
        key = (id(spec.function), id(spec.initializer), spec.name, limits)
        kind = self._by_key.pop(key, None)
        if kind is None:
            self._count += 1
            kind = Kind(self._count, spec, memory_limit_mb, self._trials(spec.initializer))
            self._pickle(kind)
        self._by_key[key] = kind
        self._last = spec, raised_mb, kind
        forgotten = self._by_key.pop(next(iter(self._by_key))) if len(self._by_key) > _KINDS else None
        return kind, forgotten

    def _trials(self, initializer: object) -> Trials:
        """Return what is known of an initializer."""
        trials = self._starting.pop(id(initializer), None) or Trials(initializer)
        if len(self._starting) >= _KINDS:
            self._starting.pop(next(iter(self._starting)))
        self._starting[id(initializer)] = trials
        return trials

    def arguments(self, attempt: Attempt, shelf: Shelf | None) -> bytes:
        """Return a pickle of one attempt's `(args, kwargs)`, or write it onto a shelf; PayloadError if it can't be."""
        self._vigil.begin(attempt)
        try:
            return self._carrier.arguments(
                attempt.args,
                dict(attempt.kwargs) if attempt.kwargs else None,
                f"task {attempt.task_id} ({attempt.spec.name})",
                shelf,
                starting.scope if (starting := self._starting.get(id(attempt.spec.initializer))) is not None else None,
            )
        finally:
            self._vigil.end()

    def _pickle(self, kind: Kind) -> None:
        try:
            kind.data = self._carrier.code(kind.function, kind.initializer, kind.starting.scope)
        except PayloadError as error:
            kind.error = error


class Run:
    """Attempts of one kind that came one after the other."""

    __slots__ = ("at", "attempts", "kind")

    def __init__(self, kind: Kind, attempts: Sequence[Attempt]) -> None:
        """Hold them."""
        self.kind = kind
        self.attempts = attempts
        self.at = 0  # what is before it was taken; dropping it each time would move the rest each time

    def take(self, size: int) -> Sequence[Attempt]:
        """Remove and return up to `size` attempts."""
        taken = self.attempts[self.at : self.at + size]
        self.at += len(taken)
        if self.at >= _COMPACT and self.at * 2 >= len(self.attempts):
            self.drop_taken()
        return taken

    def drop_taken(self) -> Sequence[Attempt]:
        """Forget what was taken and return the rest."""
        self.attempts = self.attempts[self.at :]
        self.at = 0
        return self.attempts


class Backlog:
    """Attempts that no worker has, in the order they came."""

    def __init__(self) -> None:
        """Be empty."""
        self._runs: deque[Run] = deque()
        self._count = 0
        self.next_expiry: float | None = None
        """No attempt here expires before this."""

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def append(self, kind: Kind, attempts: Sequence[Attempt]) -> None:
        """Add attempts of one kind at the end; columns stay by themselves."""
        runs = self._runs
        if runs and runs[-1].kind is kind and isinstance(runs[-1].attempts, list) and not in_columns(attempts):
            runs[-1].attempts += attempts
        else:
            runs.append(Run(kind, attempts))
        self._count += len(attempts)
        self._mind(attempts)

    def put_back(self, kind: Kind, attempts: Sequence[Attempt]) -> None:
        """Add attempts at the front: they waited before."""
        if attempts:
            self._runs.appendleft(Run(kind, attempts))
            self._count += len(attempts)
            self._mind(attempts)

    def head(self) -> Kind:
        """Return the kind of the first attempt; there must be one."""
        return self._runs[0].kind

    def first(self) -> Attempt:
        """Return the first attempt; there must be one."""
        return self._runs[0].attempts[self._runs[0].at]

    def take(self, size: int) -> Sequence[Attempt]:
        """Remove and return up to `size` attempts of the first kind that came together; one that expires goes alone."""
        run = self._runs[0]
        if self.next_expiry is not None:
            coming = run.attempts[run.at : run.at + size]
            size = next((i for i, a in enumerate(coming) if a.expires_at is not None), size) or 1
        taken = run.take(size)
        if run.at == len(run.attempts):
            self._runs.popleft()
        self._count -= len(taken)
        if not self._count:
            self.next_expiry = None
        return taken

    def remove(self, task_ids: Collection[str]) -> list[Attempt]:
        """Remove and return the attempts of these tasks."""
        return self._filter(lambda attempt: attempt.task_id in task_ids)

    def remove_hopeless(self, now: float) -> list[tuple[Trials, Sequence[Attempt]]]:
        """Remove and return the attempts of kinds for which no worker gets ready, with what has shown that."""
        found = [(trials, run.drop_taken()) for run in self._runs if (trials := run.kind.hopeless(now)) is not None]
        self._runs = deque(run for run in self._runs if run.kind.hopeless(now) is None)
        self._count -= sum(len(gone) for _, gone in found)
        return found

    def expired(self, now: float) -> list[Attempt]:
        """Remove and return the attempts whose deadline over all attempts has passed."""
        gone = self._filter(lambda attempt: attempt.expires_at is not None and attempt.expires_at <= now)
        self.next_expiry = None
        for run in self._runs:
            self._mind(run.attempts)
        return gone

    def clear(self) -> list[Attempt]:
        """Remove and return everything."""
        return self._filter(lambda attempt: True)

    def _filter(self, wanted: Callable[[Attempt], bool]) -> list[Attempt]:
        gone: list[Attempt] = []
        for run in self._runs:
            found = [attempt for attempt in run.drop_taken() if wanted(attempt)]
            if found:
                gone += found
                run.attempts = [attempt for attempt in run.attempts if not wanted(attempt)]
        self._runs = deque(run for run in self._runs if run.attempts)
        self._count -= len(gone)
        return gone

    def _mind(self, attempts: Sequence[Attempt]) -> None:
        if in_columns(attempts):
            return  # they never expire
        soonest = min((a.expires_at for a in attempts if a.expires_at is not None), default=None)
        if soonest is not None and (self.next_expiry is None or soonest < self.next_expiry):
            self.next_expiry = soonest


def _on_gpu(spec: TaskSpec) -> bool:
    return spec.resources is not None and spec.resources.asks_for_gpu


def by_kind(attempts: Sequence[Attempt]) -> Iterable[tuple[TaskSpec, float | None, Sequence[Attempt]]]:
    """Return the attempts in groups of neighbours with the same spec and the same limit of memory of their own."""
    if in_columns(attempts):
        return [(attempts.spec, None, attempts)]
    first = attempts[0] if attempts else None
    if first is not None and list(map(_like, attempts)).count(_like(first)) == len(attempts):
        return [(first.spec, first.memory_limit_mb, list(attempts))]  # the usual case, at a third of the price
    return [(spec, raised_mb, list(group)) for (spec, raised_mb), group in groupby(attempts, key=_like)]
