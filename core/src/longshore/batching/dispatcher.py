"""Gives batches to the workers of the cluster, takes in what came of them, and sees to it when one is lost.

Everything runs on the loop of the executor's own thread, save `left`, which may be asked from any thread.
Each batch is for one worker and no other: were it the system's to choose another when a worker dies, what had begun
would run twice and count as once.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import count
from time import monotonic
from typing import Any, Final

from longshore.batching.codec import dump_arguments, load
from longshore.batching.crew import BATCHES_MOST, Cause, Cluster, Crew, Held, Station, Wants
from longshore.batching.folders import Folders
from longshore.batching.kinds import BATCH_BYTES, Kind, Kinds
from longshore.batching.outcomes import not_begun, outcome_of, refused, thread_left
from longshore.batching.words import CANCELLED, CUT, DONE, FINISHED, PROGRESS, TIMED_OUT, Batch, Item, Record, Result
from longshore.errors import PayloadError, ResourceUnavailable
from longshore.events import ProgressUpdate
from longshore.hookspecs import ExecutorHost
from longshore.task import Attempt, Outcome
from longshore.worker import cancelled, described

BYTES_MOST: Final = 64 << 20
"""Of arguments under way; one batch may be more."""
INSIST_S: Final = 5.0
"""How long a worker may take to end a cancelled attempt before that is told without it."""


class Dispatcher:
    """What waits, and what each worker has; `tell_lost` is called when the cluster is gone, maybe more than once."""

    def __init__(
        self,
        host: ExecutorHost,
        cluster: Cluster,
        crew: Crew,
        *,
        run: str,
        initializer_timeout_s: float | None,
        max_result_bytes: int | None,
        tell_lost: Callable[[BaseException], None],
    ) -> None:
        """Have nothing to do."""
        self.host, self.cluster, self.run = host, cluster, run
        self.crew, self.system = crew, crew.system
        self.closing = False
        self.changed = asyncio.Event()
        """Set when a batch ended or the crew changed."""
        self.trim: Callable[[], None] = lambda: None
        """Called when a worker that is to leave has nothing to do any more."""
        self._limits = initializer_timeout_s, max_result_bytes
        self._tell_lost, self._folders = tell_lost, Folders(self.system)
        self._kinds = Kinds(self.system)
        self._backlog: deque[Attempt] = deque()
        self._special: deque[Attempt] = deque()  # those that ask for resources of workers: they wait for nobody else
        self._held: dict[int, Held] = {}
        self._alone: set[str] = set()  # tasks under whose mate a worker died: one by one from now on
        self._numbers = count(1)
        self._bytes = 0
        self._errands: set[asyncio.Task[Any]] = set()  # Any: whatever they give
        self._alarm: asyncio.TimerHandle | None = None

    # ---- what is asked of it

    def take(self, attempts: Sequence[Attempt]) -> None:
        """Take attempts in this order."""
        for attempt in attempts:
            (self._special if self.crew.wants(attempt.spec) else self._backlog).append(attempt)
        if self.closing:
            self.cancel({attempt.task_id: "cancelled: the pool stopped" for attempt in attempts})
            return
        self._arm()
        self.give()

    def cancel(self, messages: dict[str, str | None]) -> None:
        """End attempts: what waits here now, what a worker has by its worker. None: their deadline has passed."""
        now = monotonic()
        outcomes = []
        for backlog in (self._backlog, self._special):
            for attempt in [one for one in backlog if one.task_id in messages]:
                backlog.remove(attempt)
                self._alone.discard(attempt.task_id)
                outcomes.append(not_begun(attempt, messages[attempt.task_id], now))
        self._report(outcomes)
        for held in list(self._held.values()):
            asked = {one.task_id: messages[one.task_id] for one in held.untold() if one.task_id in messages}
            if asked:
                held.withdrawn.update(asked)
                self.errand(self._withdraw(held, {task_id: asked[task_id] or "" for task_id in asked}))

    def limit(self, workers: int | None) -> None:
        """Have no more batches under way than so many, if those are fewer than there are threads."""
        self.crew.limit = workers
        self.give()

    def busy(self) -> bool:
        """Tell whether a worker has anything."""
        return bool(self._held)

    def left(self) -> list[Attempt]:
        """Return what has not been reported; from any thread."""
        held = [one for batch in list(self._held.values()) for one in batch.untold()]
        return [*list(self._backlog), *list(self._special), *held]

    def give_up(self, message: str) -> None:
        """Report all that is left as cancelled, whatever workers do with it."""
        now = monotonic()
        outcomes = [cancelled(attempt, now, now, None, message) for attempt in self.left()]
        self._backlog.clear()
        self._special.clear()
        self._held.clear()
        self._report(outcomes)

    def errand(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done beside, and return the task that does it; it is kept until it has ended."""
        return self.keep(asyncio.get_running_loop().create_task(work))

    def keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:  # Any: whatever it gives
        """Keep a task until it has ended, or the executor stops."""
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    async def end_errands(self) -> None:
        """Have nothing done beside any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        errands = list(self._errands)
        for task in errands:
            task.cancel()
        if errands:
            await asyncio.wait(errands, timeout=1.0)

    def heard(self, message: Any) -> None:  # Any: what workers send as `Yard.tell` does
        """Take what a worker tells, of this run or of others."""
        run, what, address, facts = message
        if run != self.run:
            return
        if what == PROGRESS:
            self.host.progress([ProgressUpdate(*fields) for fields in facts])
        elif what in (CUT, FINISHED):
            number, *more = facts
            held = self._held.get(number)
            if held is not None and held.station.address == address:
                (self._cut if what == CUT else self._finish)(held, *more)

    # ---- giving

    def give(self) -> None:
        """Give workers as much as they are to have in hand."""
        if self.closing:
            return
        for backlog in (self._special, self._backlog):
            while backlog and (self._bytes < BYTES_MOST or not self._held):
                attempt = backlog[0]
                kind, wants = self._kinds.of(attempt.spec), self.crew.wants(attempt.spec)
                lack = self.crew.lacks(wants)
                error = kind.error if lack is None else ResourceUnavailable(f"{attempt.spec.name}: {lack}")
                if error is not None:
                    backlog.popleft()
                    self._report([refused(attempt, error, monotonic())])
                    continue
                station = self.crew.freest(kind, wants)
                if station is None:
                    break
                self._send(station, kind, self._take(backlog, kind), wants)

    def _take(self, backlog: deque[Attempt], kind: Kind) -> list[Attempt]:
        """Take one batch off: attempts of one kind that stand one behind the other; some go alone."""
        taken = [backlog.popleft()]
        resources = taken[0].spec.resources
        if self._goes_alone(taken[0]):
            return taken
        share = (len(backlog) + sum(len(one.attempts) for one in self._held.values())) // (
            BATCHES_MOST * max(1, self.crew.slots())
        )
        for _ in range(kind.batch_size(share) - 1):
            if not backlog or self._kinds.of(backlog[0].spec) is not kind or self._goes_alone(backlog[0]):
                break
            if backlog[0].spec.resources != resources:
                break
            taken.append(backlog.popleft())
        return taken

    def _goes_alone(self, attempt: Attempt) -> bool:
        unsure = attempt.spec.on_crash != "retry"
        return attempt.expires_at is not None or unsure or attempt.task_id in self._alone

    def _send(self, station: Station, kind: Kind, attempts: list[Attempt], wants: Wants) -> None:
        """Pickle a batch and hand it to the scheduler; what can't be pickled fails by itself."""
        items: list[Item] = []
        good, now, size = [], monotonic(), 0
        for at, attempt in enumerate(attempts):
            if size > BATCH_BYTES:
                (self._special if wants else self._backlog).extendleft(reversed(attempts[at:]))
                break
            try:
                named = f"task {attempt.task_id} ({attempt.spec.name})"
                data = dump_arguments(attempt.args, attempt.kwargs, named, self.system)
            except PayloadError as error:
                self._report([refused(attempt, error, monotonic())])
                continue
            left_s = None if attempt.expires_at is None else max(0.0, attempt.expires_at - now)
            items.append(Item(attempt.task_id, attempt.number, left_s, data))
            good.append(attempt)
            size += len(data)
        if not good:
            return
        kind.item_bytes = max(size / len(good), 0.5 * kind.item_bytes)
        held = Held(next(self._numbers), station, kind, good, now, wants)
        held.size = len(payload := self._payload(held, items))
        self._bytes += held.size
        self._held[held.number] = station.batches[held.number] = held
        station.given += 1
        held.following = self.errand(self._follow(held, payload))

    def _payload(self, held: Held, items: Sequence[Item]) -> bytes:
        kind, station, spec = held.kind, held.station, held.kind.spec
        code = None if kind.number in station.codes else kind.code
        settled, station.settled = station.settled, []
        limits = spec.timeout_s, spec.soft_timeout_s, kind.initializer, *self._limits
        batch = Batch(self.run, held.number, kind.number, spec.name, *limits, code, items, settled, held.ahead)
        return pickle.dumps(tuple(batch), 5)

    async def _follow(self, held: Held, payload: bytes) -> None:
        """See a batch through to its end."""
        station, needs = held.station, dict(held.wants.needs)
        if held.lost:  # before it was handed over
            return
        try:
            if not self.cluster.alive:
                raise ConnectionError("the connection to it is lost")
            held.future = self.cluster.submit(station, payload, held.kind.spec.priority, needs)
            del payload
            data = await held.future
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever a lost connection raises
            if held.number in self._held and not held.lost:
                self._broken(held, error)
            return
        if self._held.get(held.number) is held:
            records, *facts = load(data)
            self.settle(held, Result([Record(*record) for record in records], *facts))
            self.give()

    def _broken(self, held: Held, error: BaseException) -> None:
        """Deal with a batch that the system gave up: with all it has, with its worker, or by itself."""
        cause = self.cluster.cause_of(error, held.future) if self.cluster.alive else Cause.CLUSTER
        if cause is Cause.CLUSTER:
            self._tell_lost(error)
        elif cause is Cause.BATCH:
            self.drop(held)
            text = f"{self.system.worker(held.station.worker_id)} could not take a batch: {described(error)}"
            self._report([refused(attempt, PayloadError(text), monotonic()) for attempt in held.attempts])
            self.give()

    # ---- taking in

    def drop(self, held: Held) -> None:
        """Count a batch no more."""
        if self._held.pop(held.number, None) is not None:
            self._bytes -= held.size
        held.station.batches.pop(held.number, None)
        self.changed.set()
        if held.station.leaving and not held.station.batches:
            self.trim()

    def settle(self, held: Held, result: Result) -> None:
        """Report what a batch gave, and put back what of it was not begun."""
        self.drop(held)
        station, kind = held.station, held.kind
        station.settled.append(held.number)
        if result.lacks_code:
            station.codes.discard(kind.number)
        elif result.records:
            station.codes.add(kind.number)
        began = max(held.given_at, monotonic() - result.took_s)
        pairs = list(zip(held.attempts, result.records, strict=False))
        self.report_records(held, pairs, began)
        if pairs:
            kind.learn(sum(record.ran_s for _, record in pairs) / len(pairs))
        self.put_back(held, held.attempts[len(pairs) :])
        given_up = [pair for pair in pairs if pair[1].how in (CANCELLED, TIMED_OUT) and pair[1].ran_s]
        if result.spent:
            self.cluster.end(station)
        if given_up and not self.system.kills:
            facts = station.worker_id, result.abandoned, self.system
            self.host.notice([thread_left(one, *facts) for one, _ in given_up])

    def _finish(self, held: Held, took_s: float, finished: Sequence[Any]) -> None:  # Any: place, then fields
        """Report what has ended of a batch that goes on; its end, or its worker's, tells it no more."""
        pairs = [(held.attempts[at], Record(*fields)) for at, *fields in finished if at < len(held.attempts)]
        self.report_records(held, pairs, max(held.given_at, monotonic() - took_s))
        held.told.update(attempt.task_id for attempt, _ in pairs)

    def report_records(self, held: Held, pairs: Iterable[tuple[Attempt, Record]], began: float) -> None:
        """Report attempts by their records, save what was told before."""
        station = held.station
        outcomes = []
        for attempt, record in pairs:
            if attempt.task_id in held.told:
                continue
            self._alone.discard(attempt.task_id)
            if record.how == CANCELLED and held.withdrawn.get(attempt.task_id, "") is None:
                record = record._replace(how=TIMED_OUT)
            outcomes.append(outcome_of(attempt, record, began, station.worker_id, self.system))
            if record.how == DONE:
                station.completed += 1
                station.busy_s += record.ran_s
            else:
                station.failed += 1
                self._folders.look(outcomes[-1], station.hello)
        self._report(outcomes)

    def put_back(self, held: Held, attempts: Sequence[Attempt], *, alone: bool = False) -> None:
        """Have attempts that did not begin wait at the front again; those that are to end do so."""
        now = monotonic()
        left = [one for one in attempts if one.task_id not in held.told]
        asked = held.withdrawn
        self._report([not_begun(one, asked[one.task_id], now) for one in left if one.task_id in asked])
        waiting = [one for one in left if one.task_id not in asked]
        if alone:
            self._alone.update(attempt.task_id for attempt in waiting)
        (self._special if held.wants else self._backlog).extendleft(reversed(waiting))

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            self.host.report(outcomes)

    # ---- what waits behind a slow attempt

    def _cut(self, held: Held, end: int) -> None:
        """Have what a batch won't begin go elsewhere, and what waits behind it."""
        rest, held.attempts = held.attempts[end:], held.attempts[:end]
        held.slow = True
        self.put_back(held, rest)
        self._recall(held.station)
        self.give()

    def _recall(self, station: Station) -> None:
        """Have what a worker has not begun go elsewhere: it would wait there, for nobody knows how long."""
        waiting = [held for held in station.batches.values() if held.attempts and not held.slow]
        if waiting:
            self.errand(self._take_back(station, waiting))

    async def _take_back(self, station: Station, batches: Sequence[Held]) -> None:
        """Put back what a worker says it won't begin; of what it does not say in time, its own end tells."""
        recalled = await self.cluster.recall(station, [held.number for held in batches], INSIST_S)
        for held in reversed(batches):
            if held.number in recalled and self._held.get(held.number) is held:
                back, held.attempts = held.attempts, []
                self._bytes -= held.size
                held.size = 0
                self.put_back(held, back)
        self.give()

    # ---- ending what runs

    async def _withdraw(self, held: Held, messages: dict[str, str]) -> None:
        """Have a worker end attempts; tell of it without the worker when it does not in time."""
        await self.cluster.withdraw(held.station, messages, INSIST_S)
        if held.following is not None:
            await asyncio.wait([held.following], timeout=INSIST_S)
        if self._held.get(held.number) is not held:
            return
        now = monotonic()
        silent = [one for one in held.untold() if one.task_id in messages]
        held.told.update(one.task_id for one in silent)
        self._alone.difference_update(one.task_id for one in silent)
        self._report([not_begun(one, held.withdrawn.get(one.task_id), now) for one in silent])
        if silent and self.system.kills:
            self.cluster.end(held.station)

    def _arm(self) -> None:
        """Be woken when the next deadline over all attempts has passed."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        soonest = min((one.expires_at for one in self._dated()), default=None)
        if soonest is not None:
            delay_s = max(0.0, soonest - monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _dated(self) -> list[Any]:  # Any: attempts with a deadline, so that it is a number
        asked = {task_id for held in self._held.values() for task_id in held.withdrawn}
        return [one for one in self.left() if one.expires_at is not None and one.task_id not in asked]

    def _expire(self) -> None:
        now = monotonic()
        self.cancel({one.task_id: None for one in self._dated() if one.expires_at <= now})
        self._arm()


__all__ = ["BYTES_MOST", "INSIST_S", "Dispatcher"]
