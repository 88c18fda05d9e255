"""What is done about failures: how often a task is tried again, and when all of a kind are held back."""

from __future__ import annotations

import math

from msgspec import Struct


def is_amount(value: object) -> bool:
    """Tell whether it is a finite number of at least 0."""
    return isinstance(value, int | float) and 0 <= value < math.inf


def is_count(value: object) -> bool:
    """Tell whether it is a whole number of at least 1."""
    return is_amount(value) and value >= 1 and value == int(value)  # type: ignore[operator, call-overload]  # a number


def are_exceptions(kinds: object) -> bool:
    """Tell whether it is a tuple of classes of exceptions."""
    return isinstance(kinds, tuple) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    )


class RetryPolicy(Struct, frozen=True):
    """How often and when a failed attempt is tried again.

    `attempts` counts the first. The wait before attempt n+1 is `backoff * 2**(n-1)` seconds, at most `max_backoff`,
    shortened or lengthened by up to the fraction `jitter`. Only exceptions that are instances of `retry_on` are tried
    again (a timeout counts as TaskTimeout, a dead worker as WorkerDied); a cancelled task never is. One that took too
    much memory would do so again: it is only tried again where `retry_on` names MemoryLimitExceeded, or TaskFailed or
    LongshoreError, which it is, and then more is set aside for it, which it may take. One that was ended to free memory
    for others is tried again in any case, and that attempt does not count. One under which `poison_after` workers have
    died ends as PoisonTask, whatever attempts are left; workers that were ended for a limit of time or memory do not
    count.
    """

    attempts: int = 1
    backoff: float = 0.5
    max_backoff: float = 60.0
    jitter: float = 0.1
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    poison_after: int = 3

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        if not is_count(self.attempts):
            raise ValueError(
                f"RetryPolicy.attempts counts the first attempt and must be at least 1, not {self.attempts}"
            )
        if not is_count(self.poison_after):
            raise ValueError(f"RetryPolicy.poison_after is a number of at least 1, not {self.poison_after!r}")
        if not (is_amount(self.backoff) and is_amount(self.max_backoff)):
            raise ValueError("RetryPolicy.backoff and .max_backoff are seconds, finite and not negative")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"RetryPolicy.jitter is a fraction between 0 and 1, not {self.jitter}")
        if not are_exceptions(self.retry_on):
            raise ValueError(f"RetryPolicy.retry_on is a tuple of exception classes, not {self.retry_on!r}")

    def wait_s(self, attempt: int, uniform: float) -> float:
        """Return the seconds to wait after failed attempt number `attempt`; `uniform` is drawn from [0, 1)."""
        base = min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 60))
        return float(base * (1.0 + self.jitter * (2.0 * uniform - 1.0)))


class CircuitBreaker(Struct, frozen=True):
    """When tasks of a name, or of a processor, are held back since they fail time after time.

    After `failures` attempts in a row that failed or timed out, retries included, none is started for `open_s` seconds;
    those that run go on. Then `trials` are tried: if all of them end well, all start again, and if one fails, it is
    `open_s` seconds more. Only exceptions that are instances of `on` count as failures (a timeout as TaskTimeout, a
    dead worker as WorkerDied); any other shows that it works. A cancelled attempt says nothing. The defaults are those
    of the pattern's usual implementations.
    """

    failures: int = 5
    open_s: float = 60.0
    trials: int = 3
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        for name in ("failures", "trials"):
            if not is_count(getattr(self, name)):
                raise ValueError(f"CircuitBreaker.{name} is a number of at least 1, not {getattr(self, name)!r}")
        if not (is_amount(self.open_s) and self.open_s > 0):
            raise ValueError(f"CircuitBreaker.open_s is seconds, finite and more than 0, not {self.open_s!r}")
        if not are_exceptions(self.on):
            raise ValueError(f"CircuitBreaker.on is a tuple of exception classes, not {self.on!r}")
