"""From measured figures to advice: which executor, how many workers, how many inputs a call. Figures in, words out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from msgspec import Struct

NEAR = 0.9
"""From this part of the best on, a figure is as good as it: what differs less is noise."""
OVERHEAD = 0.1
"""What a pool may cost of a task's time before several inputs a call are advised."""
_GROUPED = 0.05  # and what it costs then
_ITEMS_MOST = 10_000
_MOMENT_S = 2e-5  # below it, reading the clocks is a good part of what they show
_HELD = 0.05  # of the time, from which on it is worth a word
_COMPUTES, _WAITS = 0.7, 0.3  # CPU time as a part of run time
_SIMPLEST = ("asyncio", "threads", "processes")


class Spread(Struct, frozen=True):
    """A median, with the smallest and the largest of what it is the median of."""

    median: float
    low: float
    high: float


class Cell(Struct, frozen=True, kw_only=True):
    """What was measured of one work in one executor with so many workers."""

    executor: str
    workers: int
    per_s: Spread
    """Tasks a second."""
    ran_s: float
    """What a task itself took, the median."""
    cpu_s: float | None = None
    """Its CPU time, the mean; None where that can't be told apart."""
    sent_at_once: float = 1.0
    """Tasks that a worker was given together, the mean."""
    tasks: int = 0
    failed: int = 0
    error: str | None = None
    """What the first that failed said."""
    held: float = 0.0
    """The part of the time in which limits kept tasks from starting that workers were free for."""
    held_because: str | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """What longshore itself costs in one executor, by tasks that do nothing."""

    executor: str
    stream_s: float
    """Seconds a task, many of them through `outcomes`."""
    p50_s: float
    """From submit to the result, one at a time: the median."""
    p99_s: float


class Advice(Struct, frozen=True, kw_only=True):
    """What to use for one work, and why, a sentence each."""

    executor: str
    workers: int
    items_per_call: int
    per_s: float
    reasons: Sequence[str]


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest."""
    return Spread(median(values), min(values), max(values))


def worker_counts(cpus: int, most: int | None = None) -> list[int]:
    """Return the counts to try: 1, 2, 4, and so on, up to the usable CPUs, or `most`, which is one of them."""
    last = cpus if most is None else most
    doubled = [2**power for power in range(last.bit_length()) if 2**power < last]
    return [*doubled, last]


def pays(cells: Sequence[Cell], gain: float = 1.3) -> bool:
    """Tell whether more workers may be worth trying, by the last two counts of one executor."""
    return len(cells) < 2 or cells[-1].per_s.median >= gain * cells[-2].per_s.median


def advise(cells: Sequence[Cell], costs: Mapping[str, Cost]) -> Advice | None:
    """Return what to use, of what was measured for one work; None if no task ended well anywhere."""
    usable = [cell for cell in cells if cell.tasks > cell.failed]
    if not usable:
        return None
    knees = {name: _knee([cell for cell in usable if cell.executor == name]) for name in _executors(usable)}
    best = max(knees.values(), key=lambda cell: cell.per_s.median)
    near = [cell for cell in knees.values() if cell.per_s.median >= NEAR * best.per_s.median]
    chosen = min(near, key=lambda cell: _place(cell.executor))
    cost = costs.get(chosen.executor)
    items = 1 if cost is None else items_per_call(chosen, cost)
    others = [cell for name, cell in knees.items() if name != chosen.executor]
    reasons = [
        *_why_executor(chosen, others),
        *_why_workers(chosen, [cell for cell in usable if cell.executor == chosen.executor]),
        *(_why_items(chosen, cost, items) if cost is not None else ()),
        *_doubts(chosen, others),
    ]
    return Advice(
        executor=chosen.executor,
        workers=chosen.workers,
        items_per_call=items,
        per_s=chosen.per_s.median,
        reasons=reasons,
    )


def items_per_call(cell: Cell, cost: Cost) -> int:
    """Return how many inputs a call should take, so that the pool's own work stays small beside the tasks'.

    The pool hands tasks over one after the other, while workers run them side by side; so what it costs a task is
    held against the task's time divided by the workers.
    """
    each_s = cell.ran_s / cell.workers
    if cost.stream_s <= OVERHEAD * each_s:
        return 1
    if each_s <= 0:
        return _ITEMS_MOST
    return _rounded(min(_ITEMS_MOST, cost.stream_s / (_GROUPED * each_s)))


def _rounded(number: float) -> int:
    """Return the next of 1, 2, 5, 10, 20 and so on."""
    unit: int = 10 ** math.floor(math.log10(max(1.0, number)))
    return next(step * unit for step in (1, 2, 5, 10) if number <= step * unit)


def _executors(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.executor for cell in cells))


def _place(executor: str) -> int:
    return _SIMPLEST.index(executor) if executor in _SIMPLEST else len(_SIMPLEST)


def _knee(cells: Sequence[Cell]) -> Cell:
    """Return the cell with the fewest workers that is about as good as the best."""
    best = max(cell.per_s.median for cell in cells)
    return min((cell for cell in cells if cell.per_s.median >= NEAR * best), key=lambda cell: cell.workers)


def _why_executor(chosen: Cell, others: Sequence[Cell]) -> Iterator[str]:
    for other in others:
        times = chosen.per_s.median / other.per_s.median
        rates = f"{rate(chosen.per_s.median)} tasks a second against {rate(other.per_s.median)}"
        if times > 1 / NEAR:
            yield f"{chosen.executor} does {times:.2g} times as much as {other.executor}: {rates}"
        else:
            yield f"{chosen.executor} does about as much as {other.executor}, and is the simpler one: {rates}"
    yield from _nature(chosen)
    if chosen.executor == "threads" and any(other.executor == "processes" for other in others):
        yield "a thread can't be stopped: take processes for work that may hang, crash, or eat memory"


def _nature(chosen: Cell) -> Iterator[str]:
    """Say whether the work computes or waits; of work that is over in a moment nobody can tell."""
    if chosen.cpu_s is None or chosen.ran_s < _MOMENT_S:
        return
    part = chosen.cpu_s / chosen.ran_s
    took = f"a task takes {duration(chosen.ran_s)}, {duration(chosen.cpu_s)} of it CPU"
    if part >= _COMPUTES:
        yield f"it computes ({took}), so cores are what it needs"
    elif part <= _WAITS:
        yield f"it mostly waits ({took}), so more workers than cores can pay"


def _why_workers(chosen: Cell, cells: Sequence[Cell]) -> Iterator[str]:
    one = next((cell for cell in cells if cell.workers == 1), None)
    workers = f"{chosen.workers} worker{'' if chosen.workers == 1 else 's'}"
    if one is not None and chosen.workers > 1:
        yield f"{workers} do {chosen.per_s.median / one.per_s.median:.2g} times as much as one"
    more = [cell for cell in cells if cell.workers > chosen.workers]
    if more:
        most = max(more, key=lambda cell: cell.workers)
        times = most.per_s.median / chosen.per_s.median
        yield f"more bring little or nothing: {most.workers} do {times:.2g} times as much as {chosen.workers}"
    elif chosen.workers > 1:
        yield f"more than {chosen.workers} were not tried, and may do more"


def _why_items(chosen: Cell, cost: Cost, items: int) -> Iterator[str]:
    each = f"handing a task over costs {duration(cost.stream_s)}, the task takes {duration(chosen.ran_s)}"
    if items == 1:
        yield f"one input a call is enough: {each}"
    else:
        yield f"let each call do {items:,} inputs: {each}"
    if chosen.sent_at_once >= 2:
        yield f"short tasks are sent to a worker together by themselves, {chosen.sent_at_once:,.0f} at a time here"


def _doubts(chosen: Cell, others: Sequence[Cell]) -> Iterator[str]:
    held = max((chosen, *others), key=lambda cell: cell.held)
    if held.held >= _HELD:
        yield (
            f"the limits held tasks back, for {held.held:.0%} of the time with {held.executor} x {held.workers} "
            f"({held.held_because}): measure again when the machine is quiet, or raise the limit"
        )
    overlap = [
        other.executor
        for other in others
        if chosen.per_s.low < other.per_s.high
        and other.per_s.low < chosen.per_s.high
        and other.per_s.median < NEAR * chosen.per_s.median
    ]
    if overlap:
        both = f"{chosen.executor} and {' or '.join(overlap)}"
        yield f"the rounds differ by more than {both} do: measure again when the machine is quiet"
    if chosen.failed:
        why = f": {chosen.error}" if chosen.error is not None else ""
        yield f"{chosen.failed} of {chosen.tasks} tasks failed, and were counted all the same{why}"


def rate(per_s: float) -> str:
    """Return a number of tasks a second for people."""
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.3g}"


def duration(seconds: float) -> str:
    """Return a time for people."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
