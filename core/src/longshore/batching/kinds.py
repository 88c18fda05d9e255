"""Kinds of tasks, what they cost by now, and how many go into one batch.

Used on the executor's own thread only; no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from longshore.batching.codec import dump_code
from longshore.batching.words import System
from longshore.errors import PayloadError
from longshore.task import TaskSpec

BATCH_S: Final = 0.05
"""Work sent at once, at most: a task of Dask or Ray costs it 1 to 2 ms, whatever is in it."""
_WORTH_S: Final = 0.0125
"""Less work than this is not worth a task of theirs, where there is more."""
BATCH_ITEMS: Final = 512
BATCH_BYTES: Final = 1 << 20
AHEAD_S: Final = 0.1
"""Tasks longer than this are not sent ahead to a busy worker: the gain is some per cent, the wait behind one is not."""
_GROWTH: Final = 4
_KINDS: Final = 512


class Kind:
    """Tasks that workers run in the same way, and what they cost."""

    __slots__ = ("cap", "code", "error", "initializer", "item_bytes", "number", "ran_s", "spec")

    def __init__(self, number: int, spec: TaskSpec, initializer: int, system: System) -> None:
        """Begin to know the kind of this spec, whose initializer has that number."""
        self.number, self.spec, self.initializer = number, spec, initializer
        self.code: bytes | None = None
        self.error: PayloadError | None = None
        self.ran_s: float | None = None
        self.item_bytes = 0.0
        self.cap = 1
        try:
            self.code = dump_code(spec.function, spec.initializer, system)
        except PayloadError as error:
            self.error = error

    def learn(self, mean_s: float) -> None:
        """Take the mean run time of some attempts that ended."""
        known = self.ran_s
        sudden = known is None or mean_s > 4 * known
        self.ran_s = mean_s if sudden or known is None else 0.7 * known + 0.3 * mean_s
        self.cap = min(self.cap * _GROWTH, BATCH_ITEMS)

    def runs_ahead(self) -> bool:
        """Tell whether a busy worker is to have some in hand."""
        return self.ran_s is not None and self.ran_s < AHEAD_S

    def may_run_ahead(self) -> bool:
        """Tell whether a worker that has some may come to have others behind them, on what is known by now."""
        return self.ran_s is None or self.runs_ahead()

    def batch_size(self, share: int) -> int:
        """Return how many make one batch, on what is known by now, where `share` would be fair to all workers."""
        if self.ran_s is None:
            return 1
        ran_s = max(self.ran_s, 1e-7)
        size = min(self.cap, int(BATCH_S / ran_s), max(share, int(_WORTH_S / ran_s)))
        if self.item_bytes > 1:
            size = min(size, int(BATCH_BYTES / self.item_bytes))
        return max(1, size)


class Kinds:
    """The kinds in use, at most a fixed number of them; the one used longest ago is forgotten first."""

    def __init__(self, system: System) -> None:
        """Know none."""
        self._system = system
        self._by_key: OrderedDict[tuple[object, ...], Kind] = OrderedDict()
        self._initializers: OrderedDict[int, tuple[int, object]] = OrderedDict()
        self._count = 0
        self._last: Kind | None = None

    def of(self, spec: TaskSpec) -> Kind:
        """Return the kind of a spec."""
        if self._last is not None and self._last.spec is spec:
            return self._last
        key = id(spec.function), id(spec.initializer), spec.name, spec.timeout_s, spec.soft_timeout_s
        kind = self._by_key.get(key)
        if kind is None:
            self._count += 1
            kind = self._by_key[key] = Kind(self._count, spec, self._initializer(spec.initializer), self._system)
            if len(self._by_key) > _KINDS:
                self._by_key.popitem(last=False)
        self._by_key.move_to_end(key)
        self._last = kind
        return kind

    def _initializer(self, initializer: object) -> int:
        """Return the number of an initializer, the same for all kinds that have it."""
        if initializer is None:
            return 0
        known = self._initializers.pop(id(initializer), None) or (self._count, initializer)
        self._initializers[id(initializer)] = known
        if len(self._initializers) > _KINDS:
            self._initializers.popitem(last=False)
        return known[0]


__all__ = ["AHEAD_S", "BATCH_BYTES", "BATCH_ITEMS", "BATCH_S", "Kind", "Kinds"]
