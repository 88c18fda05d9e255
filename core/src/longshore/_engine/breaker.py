"""Circuit breakers: whatever fails time after time is left alone for a while, then tried by a few tasks.

In: starts and ends of attempts, and the time. Out: whether the next task may start. Costs nothing to tasks without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from longshore._engine.retry import kind_of
from longshore._engine.states import CANCELLED, COMPLETED
from longshore.events import Happened
from longshore.task import Attempt, CircuitBreaker, Outcome, TaskSpec

BreakerKey = tuple[str, CircuitBreaker]
_MOST = 1024


def breaker_key(spec: TaskSpec) -> BreakerKey | None:
    """Return whose breaker a spec's tasks share: their processor's, else that of their name; None without one."""
    return None if spec.breaker is None else (spec.processor or spec.name, spec.breaker)


class Breaker:
    """One breaker: closed, open until a time, or half-open from then on, until its trials have ended."""

    __slots__ = ("_failed", "_good", "_trials", "_until", "name", "rule")

    def __init__(self, name: str, rule: CircuitBreaker) -> None:
        """Be closed, with no failure seen."""
        self.name = name
        self.rule = rule
        self._failed = 0  # in a row, while it is closed
        self._until: float | None = None  # None: closed
        self._trials: set[str] = set()  # those that run
        self._good = 0  # trials that ended well since it was half-open

    @property
    def rests(self) -> bool:
        """Whether it knows nothing that a new one would not."""
        return self._until is None and not self._failed

    def shut(self, now: float) -> tuple[str, float | None] | None:
        """Return why no task may start, and until when (None: until a trial has ended); None if one may."""
        if self._until is None:
            return None
        if now < self._until:
            return f"the circuit breaker of {self.name} is open", self._until
        if len(self._trials) + self._good < self.rule.trials:
            return None
        return f"the circuit breaker of {self.name} is half-open", None

    def obstacle(self, now: float) -> str | None:
        """Return the same in words for whoever waits."""
        if self._until is None or self.shut(now) is None:
            return None
        if now < self._until:
            return (
                f"the circuit breaker of {self.name} is open, since {self.rule.failures} attempts failed in a row: the "
                f"next is tried in {self._until - now:.3g} s"
            )
        return (
            f"the circuit breaker of {self.name} is half-open: {len(self._trials)} run on trial, and all start again "
            f"when {self.rule.trials} have ended well, of which {self._good} have"
        )

    def started(self, task_id: str) -> None:
        """Count a start; it is a trial, unless the breaker is closed."""
        if self._until is not None:
            self._trials.add(task_id)

    def ended(self, outcome: Outcome, now: float) -> bool | None:
        """Take how an attempt ended; return True if that opened a closed breaker, False if it closed it."""
        on_trial = outcome.task_id in self._trials
        self._trials.discard(outcome.task_id)
        if outcome.state is CANCELLED:  # says nothing
            return None
        failed = outcome.state is not COMPLETED and issubclass(kind_of(outcome), self.rule.on)
        if self._until is None:
            self._failed = self._failed + 1 if failed else 0
            return self._open(now) if self._failed >= self.rule.failures else None
        if not on_trial:  # it began before all that was known
            return None
        if failed:
            self._open(now)
            return None
        self._good += 1
        if self._good < self.rule.trials:
            return None
        self._until, self._failed = None, 0
        return False

    def _open(self, now: float) -> bool:
        self._until = now + self.rule.open_s
        self._good = 0
        self._trials.clear()
        return True


class Breakers:
    """The breakers there are, by key."""

    __slots__ = ("_by_key", "_tidy_at")

    def __init__(self) -> None:
        """Have none."""
        self._by_key: dict[BreakerKey, Breaker] = {}
        self._tidy_at = _MOST

    def get(self, key: BreakerKey | None) -> Breaker | None:
        """Return the breaker with this key, a new one where there is none; None for no key."""
        if key is None:
            return None
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = Breaker(*key)
        return found

    def ended(self, attempt: Attempt, outcome: Outcome, now: float) -> Iterator[Happened]:
        """Take how an attempt ended; tell of a breaker that opened or closed by that."""
        breaker = self.get(breaker_key(attempt.spec))
        moved = breaker.ended(outcome, now) if breaker is not None else None
        if breaker is not None and moved is not None:
            data = {
                "resource": f"circuit.{breaker.name}",
                "usage": float(breaker.rule.failures if moved else 0),
                "threshold": float(breaker.rule.failures),
                "limit": None,
                "state": "crossed" if moved else "cleared",
                "level": "hard",
                "message": breaker.obstacle(now) or f"the circuit breaker of {breaker.name} is closed again",
            }
            yield Happened("resource_warning", data)

    def tidy(self, used: Iterable[Breaker | None]) -> None:
        """Forget those that know nothing and that nobody uses, where there are too many; `used` is read only then."""
        if len(self._by_key) > self._tidy_at:
            there = set(used)
            self._by_key = {key: one for key, one in self._by_key.items() if one in there or not one.rests}
            self._tidy_at = max(_MOST, 2 * len(self._by_key))
