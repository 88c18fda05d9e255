"""What a stream has in hand: calls pulled lazily as tasks, and outcomes that wait for its consumer.

A window of tasks is pulled and not yet given back. It follows the speed of the tasks: it starts small, doubles while it
empties within a moment and shrinks when it does not, so that slow work on large inputs pulls few of them ahead and fast
work is not held up. Where results are large it is smaller: a slow consumer must not fill the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat

from longshore._columns import COLUMNS_LEAST, AttemptColumns, first_attempts
from longshore._engine.messages import Cancel, Remembered
from longshore._runtime.driver import Driver
from longshore._runtime.recalling import Found, Recalling, pasts
from longshore._runtime.sizes import size_of
from longshore._runtime.source import Call, Plain, Pumped, Source
from longshore.errors import LongshoreError
from longshore.shared import Shared
from longshore.task import Attempt, Outcome, Task, TaskSpec

WINDOW_LEAST = 64
WINDOW_MOST = 4096
WINDOW_BYTES = 64 << 20
"""Of results, as large as the last ones were, in a window; more only so that no worker has to wait."""
_LOOK_EVERY = 64  # results for one that is measured, as long as they are small
_LARGE_BYTES = 1 << 16
_QUICK_S = 0.05  # a window that empties within this is doubled
_SLOW_S = 1.0  # one that takes longer than this is halved


class Window:
    """How many tasks a stream may have pulled and not given back."""

    __slots__ = ("_each", "_ended", "_least", "_look", "_pace", "_since", "size")

    def __init__(self, now: float, least: Callable[[], int]) -> None:
        """Start small; with large results, never go below what `least` returns."""
        self.size = self._pace = WINDOW_LEAST
        self._least = least
        self._each = 0  # bytes of a result: a large one counts at once, and is forgotten slowly
        self._look = 0
        self._ended = 0
        self._since = now

    def ended(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Learn from some more that ended."""
        self._look -= len(outcomes)
        if self._look < 0:
            self._weigh(size_of(outcomes[-1].value))
        self._ended += len(outcomes)
        if self._ended < self.size // 2:
            return
        took_s = now - self._since
        if took_s < _QUICK_S:
            self._pace = min(self.size * 2, WINDOW_MOST)
        elif took_s > _SLOW_S:
            self._pace = max(self.size // 2, WINDOW_LEAST)
        self._ended = 0
        self._since = now
        self._fit()

    def _weigh(self, size_bytes: int) -> None:
        self._each = max(size_bytes, (3 * self._each + size_bytes) // 4)
        self._look = 0 if self._each > _LARGE_BYTES else _LOOK_EVERY
        self._fit()

    def _fit(self) -> None:
        most = WINDOW_BYTES // max(1, self._each)
        self.size = self._pace if self._pace <= most else max(most, min(self._pace, self._least()))


class Feed:
    """The half of a stream that the driver knows. It does not know the other, which its consumer holds or lets go."""

    def __init__(
        self,
        driver: Driver,
        spec: TaskSpec,
        calls: Iterable[Call] | AsyncIterable[Call],
        *,
        ids: Iterator[str],
        ordered: bool,
        key: Callable[[Call], str | None] | None = None,
        examine: Callable[[Attempt], Outcome | None] | None = None,
        expect: Callable[[], Callable[[int], None]] | None = None,
        opened: Callable[[Sequence[Call]], list[Call]] | None = None,
        columns: bool = False,
        recalling: Recalling | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take calls of `spec.function`.

        `examine` returns how a task ends that may not be run, None for one that may. `expect` is called as the
        iteration begins, and what it returns at the end, with how many tasks there were. `opened` gives the calls with
        what they share in place, once anything is shared. `columns` says that the executor reads attempts in columns.
        """
        self.spec = spec
        self._driver, self._ids, self._key = driver, ids, key
        self._examine = examine
        self._clock, self._expect, self._opened_calls, self._recalling = clock, expect, opened, recalling
        self._in_columns = columns and key is None and examine is None
        self._over: Callable[[int], None] | None = None
        self._source: Source = Plain(calls) if isinstance(calls, Iterable) else Pumped(calls, self._arrived)
        self._index = 0
        self._out = 0  # pulled, and without an outcome
        self._window = Window(clock(), lambda: 2 * driver.engine.slots().get(spec.executor, WINDOW_LEAST))
        self._ready: deque[Outcome] = deque()
        self._early: dict[int, Outcome] | None = {} if ordered else None
        self._next = 0
        self._wake: asyncio.Future[None] | None = None
        self._refusal: LongshoreError | None = None
        self._opened = self._closed = self._broken = False

    # ---- for the driver

    @property
    def hungry(self) -> bool:
        """Whether more may be pulled now."""
        return self._source.ready and not self._closed and not self._broken and self._in_hand < self._window.size

    @property
    def _in_hand(self) -> int:
        return self._out + len(self._ready) + (len(self._early) if self._early is not None else 0)

    def pull(self, room: int) -> Sequence[Attempt]:
        """Return tasks for the next calls, as far as room and window go."""
        calls = self._source.take(min(room, self._window.size - self._in_hand))
        if self._source.exhausted:
            self._rouse()
        if Shared.used and self._opened_calls is not None:
            calls = self._opened_calls(calls)
        keys = self._keys(calls) if self._key is not None else None
        if keys is not None:
            calls = calls[: len(keys)]
        index, spec, now, ids = self._index, self.spec, self._clock(), list(islice(self._ids, len(calls)))
        self._index += len(calls)
        self._out += len(calls)
        recalling = self._recalling
        works = recalling.many(spec, ids, calls, keys) if recalling is not None else []
        goes_on = recalling is not None and recalling.goes_on
        if self._in_columns and len(calls) >= COLUMNS_LEAST and not goes_on:
            return AttemptColumns(spec, ids, calls, index, now)
        tasks = first_attempts(spec, ids, calls, index, now, repeat(None) if keys is None else keys)
        if recalling is not None and goes_on:
            tasks = self._recalled([recalling.ask(task, work) for task, work in zip(tasks, works, strict=True)])
        return tasks if self._examine is None else self._examined(tasks, self._examine)

    def _recalled(self, found: Sequence[Found]) -> list[Attempt]:
        """Return the tasks that are to be run; those whose outcome is recorded are accepted and end at once."""
        past = pasts(found)
        if past:
            self._driver.stimulate(Remembered(past))
        for restored in (True, False):
            ended = [(one.attempt, one.outcome) for one in found if one.outcome and one.outcome.restored is restored]
            if ended:
                self._driver.dismiss([task for task, _ in ended], [outcome for _, outcome in ended])
        return [one.attempt for one in found if one.outcome is None]

    def _keys(self, calls: Sequence[Call]) -> list[str | None]:
        """Return the keys of the calls, up to the first that the user's function raises for; that ends the source."""
        keys: list[str | None] = []
        try:
            for call in calls:
                keys.append(self._key(call) if self._key is not None else None)
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything; the consumer is told
            self._source.close()
            self._source.error = error
            self._rouse()
        return keys

    def _examined(self, tasks: list[Attempt], examine: Callable[[Attempt], Outcome | None]) -> list[Attempt]:
        """Return the tasks that may be run; the others are accepted and end at once."""
        ends = [examine(task) for task in tasks]
        ended = [(task, end) for task, end in zip(tasks, ends, strict=True) if end is not None]
        if ended:
            self._driver.dismiss([task for task, _ in ended], [end for _, end in ended])
        return [task for task, end in zip(tasks, ends, strict=True) if end is None]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes for the consumer."""
        self._out -= len(outcomes)
        if self._closed:
            if not self._out:
                self._driver.disown(self.spec)
            return
        if self._early is None:
            self._ready.extend(outcomes)
        else:
            self._line_up(self._early, outcomes)
        if outcomes:
            self._window.ended(outcomes, self._clock())  # now, that columns have been made into records
        self._rouse()

    def _line_up(self, early: dict[int, Outcome], outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            early[outcome.index] = outcome
        while self._next in early:
            self._ready.append(early.pop(self._next))
            self._next += 1

    def refuse(self, tasks: Sequence[Task], error: LongshoreError) -> None:
        """Pull no more: these tasks were not accepted. None at all: the pool is over, and what is out is lost."""
        if not tasks and self._source.exhausted and not self._out:
            return  # all is known
        self._out -= len(tasks)
        self._refusal = error
        self._broken = self._broken or not tasks
        self._source.close()
        self._rouse()

    def cut(self, error: LongshoreError) -> None:
        """Pull no more. What is out is still given; then the error is raised, if there was more to pull."""
        if not self._source.exhausted:
            self._refusal = error
            self._source.close()
            self._rouse()

    def _arrived(self) -> None:
        self._driver.wake()
        if self._source.exhausted:
            self._rouse()

    # ---- for the consumer

    def close(self) -> None:
        """Cancel what is queued or running of this stream, and give nothing more; waits for nothing."""
        if self._closed:
            return
        self._closed = True
        if self._over is not None:
            self._over(self._index)
        self._driver.unfeed(self)
        self._source.close()
        self._ready.clear()
        if self._early:
            self._early.clear()
        self._rouse()
        left = [task.task_id for task in self._driver.engine.live() if task.spec is self.spec] if self._out else []
        if left:
            self._driver.stimulate(Cancel(left, "cancelled: its stream was closed"))
        else:
            self._driver.disown(self.spec)

    def let_go(self) -> None:
        """Close, as soon as the loop gets to it; for whatever thread finds that nobody holds the stream any more."""
        if self._opened and not self._closed:
            self._driver.inject(self.close)

    def _open(self) -> None:
        """Begin to pull, with the first step of the iteration."""
        self._opened = True
        self._driver.check()
        self._driver.own(self.spec, self)
        self._over = self._expect() if self._expect is not None else None
        self._source.open()
        self._driver.feed(self)

    async def next_batch(self) -> deque[Outcome]:
        """Wait for outcomes and take all there are; none when it is over, unless something is to be raised."""
        if self._opened:
            self._driver.wake()  # what was given has made room in the window
        elif not self._closed:
            self._open()
        while not self._ready:
            if self._broken or self._closed or (self._source.exhausted and not self._out and not self._early):
                error = self._source.error or self._refusal
                if error is not None and not self._closed:
                    self.close()
                    raise error
                break
            if self._wake is not None:
                raise RuntimeError("a stream is iterated by one task only, and another one is waiting for it")
            self._wake = asyncio.get_running_loop().create_future()
            try:
                with self._driver.waits.of(self._wake):
                    await self._wake
            finally:
                self._wake = None
        ready, self._ready = self._ready, deque()
        return ready

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
