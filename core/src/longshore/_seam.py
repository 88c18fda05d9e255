"""The specification's own way to the pool: tasks by id instead of handles. `WorkerPool` has it from here."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from longshore._calling import NamedCall, NamedCoroutine
from longshore._carrying import one_call
from longshore._engine.ledger import Shortage
from longshore._health import look
from longshore._intake import Intake
from longshore._journaling import Journaling
from longshore._loads import resources_of
from longshore._measuring import Measuring
from longshore._processors import Processors
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.kept import KeptTask
from longshore._runtime.repeats import Repeats
from longshore._runtime.results import ResultStore
from longshore._runtime.roster import Roster
from longshore._runtime.specs import from_here, is_coroutine_function, merged
from longshore._telling import Telling
from longshore._watching import Watching, told_of
from longshore.errors import QueueFull, ResourceUnavailable, ResultNotReady
from longshore.processor import ProcessorContext
from longshore.records import Health, TaskRecord
from longshore.settings import ResultLimits, Settings
from longshore.task import Attempt, Priority, Resources, RetryPolicy, TaskOptions, TaskSpec, TaskState

Demands = Resources | Mapping[str, float]
_RETRIED = (TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED)


class Seam:
    """Submitting by a processor's name and asking by a task's id, for one pool, which sets what is declared here."""

    settings: Settings
    _started: bool
    _driver: Driver
    _executors: Executors
    _roster: Roster
    _measuring: Measuring
    _telling: Telling
    _journaling: Journaling | None
    _watching: Watching
    _processors: Processors
    _shared: TaskOptions
    _intake: Callable[[], Intake]

    def __init__(self, limits: ResultLimits) -> None:
        """Keep results within `limits`, from one run to the next."""
        self._kept: ResultStore[KeptTask] = ResultStore(
            keep_s=limits.keep_s, max_count=limits.max_count, max_bytes=limits.max_mb * 1e6
        )
        self._repeats = Repeats(self._kept.__contains__)

    async def submit_task(
        self,
        processor_name: str,
        context: Any,  # Any: the user's own, usually a ProcessorContext
        processor_func: Any = None,  # Any: see below
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        resources: Demands | None = None,
        *,
        retry: RetryPolicy | None = None,
        executor: str | None = None,
        key: str | None = None,
        idempotency_key: str | None = None,
        resource_timeout: float | None = None,
    ) -> str:
        """Queue one call of a processor with `context`, and return the task's id, which no other task ever has.

        `processor_func` is a function, sync or async, anything else that can be called, or an object with a method
        `process`; None takes the installed processor of that name, with what its metadata says (a priority of NORMAL
        leaves that to it, too). `timeout` is for one attempt; None is `default_timeout`. `key` names the task in events
        and views; None is the document's id where the context has one. Where a task was submitted under the same
        `idempotency_key`, and goes on or its result is kept, its id is returned, and nothing is submitted.

        `resources` are Resources, or the specification's mapping in units of the limits: percent of the machine for
        cpu, memory and gpu, MB/s for disk_io and network_io. What does not fit now waits in the queue. With
        `resource_timeout` it waits outside of it, in order, for so many seconds at most (0: not at all), and is then
        refused with ResourceUnavailable, also if it reserves nothing and the machine is over a limit, or if a monitor
        that somebody else wrote says no; nothing is queued or reserved by that.

        Waits `submit_timeout` seconds at most for room in the queue, then raises QueueFull. Raises as `submit` does:
        PoolNotRunning, WrongPlace, ValueError, PayloadError, PluginError, ResourceUnavailable for what can never fit.
        """
        _check(processor_name, {"key": key, "idempotency_key": idempotency_key}, resource_timeout)
        said = {"timeout": timeout, "resources": _resources(resources), "retry": retry, "executor": executor}
        spec = self._spec(processor_name, processor_func, priority, said)
        key = context.document_id if key is None and isinstance(context, ProcessorContext) else key
        enter = partial(self._enter, spec, (context,), key, resource_timeout)
        return await (enter() if idempotency_key is None else self._repeats.once(idempotency_key, enter))

    async def get_task_result(self, task_id: str, timeout: float | None = None) -> Any:  # Any: the user's result
        """Wait for a task's end and return its result, or raise the task's own exception unchanged; by any number.

        What a processor returned is returned: of one that gives a ProcessorResult, that. TaskTimeout is the task's own
        time limit; when `timeout` seconds pass first it is ResultNotReady, and the task goes on. TaskNotFound for an id
        that submit_task did not give, and for a result that has expired, which the message says; WrongPlace on another
        loop than the pool's while the task goes on.
        """
        if timeout is not None and math.isnan(timeout):
            raise ValueError("timeout is a number of seconds, or None to wait without bound, not nan")
        kept = self._kept.get(task_id, time.monotonic())
        if not kept.done:
            kept.check_here()
            try:
                async with asyncio.timeout(timeout):
                    await kept.ended()
            except TimeoutError:
                name, state = kept.attempt.spec.name, kept.state.value
                raise ResultNotReady(
                    f"task {task_id} ({name}) has no result yet after {timeout:g} s: it is {state}, and goes on",
                    task_id=task_id,
                    state=state,
                ) from None
        self._kept.read(task_id, time.monotonic())
        return (await kept.outcome()).unwrap()

    def get_task(self, task_id: str) -> TaskRecord:
        """Return what is known of a task that submit_task was given; TaskNotFound as `get_task_result`.

        Asking is not reading the result: it makes it neither stay longer nor go sooner.
        """
        kept = self._kept.get(task_id, time.monotonic())
        return kept.record(None if kept.done else self._workers().get(task_id))

    def tasks(self, limit: int = 100) -> Sequence[TaskRecord]:
        """Return up to `limit` of these records: first those that have not ended, then those nobody has read yet.

        The newest come first in each part.
        """
        if limit < 0:
            raise ValueError(f"limit is a number of tasks of at least 0, not {limit!r}")
        workers = self._workers()
        return [kept.record(workers.get(kept.task_id)) for kept in islice(self._kept, limit)]

    async def retry_task(self, task_id: str) -> str:
        """Submit a task again that failed, timed out or was cancelled, as it was; return the id of the new one.

        The new one's record and its `task_submitted` name the old one as `retry_of`. Waits for room and raises as
        submit_task; ValueError for a task that goes on, or that completed; TaskNotFound as `get_task_result`.
        """
        kept = self._kept.get(task_id, time.monotonic())
        spec, state = kept.attempt.spec, kept.state
        if not kept.done:
            raise ValueError(f"task {task_id} ({spec.name}) is {state.value}: only what has ended can be tried again")
        if state not in _RETRIED:
            raise ValueError(f"task {task_id} ({spec.name}) has completed: submit it anew if it is to be done twice")
        self._intake().driver.check()
        self._intake().prepare(spec.executor)
        return await self._enter(spec.again(task_id), kept.attempt.args, kept.attempt.key, None)

    def explain(self, task_id: str) -> str:
        """Return in plain words where a task is, and what it waits for; TaskNotFound as `get_task_result`.

        Knows every task that has not ended, by whatever way it was submitted, and of the ended ones those that are
        kept.
        """
        why = self._driver.engine.why(task_id, time.monotonic()) if self._started else None
        if why is None and self._started and self._intake().knows(task_id):
            return f"task {task_id} was submitted just now"
        if why is None:
            record = self.get_task(task_id)
            return f"task {task_id} was submitted just now" if record.completed_at is None else _told(record)
        if self._driver.engine.is_running(task_id):
            worker = self._workers().get(task_id)
            why += f", on worker {worker}" if worker else ", and waits there for a worker"
        return f"task {task_id} {why}"

    def health(self) -> Health:
        """Return whether the pool is well, and if not, why; while it runs, the event `health_check` tells of it.

        From any thread; from another one it may wait a second.
        """
        found = self._health()
        if self._started:
            self._driver.inject(lambda: self._telling.publish(told_of(found)))
        return found

    def _health(self) -> Health:
        """Return the same, and tell nobody."""
        if not self._started:
            return Health(healthy=False, reasons=("the pool was not started",), checks={"running": False})
        return look(
            self._driver,
            self._executors,
            roster=self._roster,
            monitor=self._measuring.monitor,
            telling=self._telling,
            journaling=self._journaling,
            watching=self._watching,
        )

    def _called(
        self,
        name: str,
        processor: Any,  # Any: the user's own
        own: Mapping[str, Any],  # Any: each option's own type
    ) -> tuple[Callable[..., Any], Mapping[str, Any]]:
        """Return the function of a task and its options: its own, and what an installed processor's metadata says."""
        if processor is not None:
            return named_call(name, processor), own
        entry = self._processors.entry(name)
        return entry.call, entry.options_with(own)

    def _spec(
        self, name: str, processor: Any, priority: Priority, said: Mapping[str, Any]
    ) -> TaskSpec:  # Any: the user's
        """Return the spec of a call by name, with the options that the caller said."""
        changes = {option: value for option, value in said.items() if value is not None}
        if priority != Priority.NORMAL:
            changes["priority"] = Priority(priority)
        function, options = self._called(name, processor, changes)
        own = merged(from_here(self._shared), {**options, "name": name})
        return self._intake().shared_spec(function, own)

    async def _enter(
        self,
        spec: TaskSpec,
        args: tuple[Any, ...],  # Any: the user's own
        key: str | None,
        resource_timeout: float | None,
    ) -> str:
        """Submit one task, as soon as there is room and, if that is asked for, what it reserves."""
        driver = self._intake().driver
        await self._wait_for_room(driver, spec)
        if resource_timeout is not None:
            resources, give_up = spec.resources or Resources(), time.monotonic() + resource_timeout
            if not driver.engine.site_of(spec.executor):  # it speaks of this machine
                await self._wait_for_consent(spec, resources, resource_timeout)
            left_s = max(0.0, give_up - time.monotonic()) if resource_timeout > 0 else resource_timeout
            await self._wait_for_resources(driver, spec, resources, left_s, resource_timeout)
        intake = self._intake()
        named, where, trace = one_call(spec, None)
        own = (0, key, 1, time.monotonic(), None, where, (), None, trace)
        attempt = Attempt(self._kept.issue(intake.token), spec, args, named, *own)
        kept = KeptTask(attempt, driver, self._kept)
        intake.accept(attempt, kept)
        self._kept.add(attempt.task_id, kept)
        return attempt.task_id

    async def _wait_for_room(self, driver: Driver, spec: TaskSpec) -> None:
        """Wait for room in the queue; it is the caller's until he next awaits something."""
        if not driver.crowded(spec.priority):
            driver.check()
            return
        limit_s = self.settings.submit_timeout
        try:
            async with asyncio.timeout(limit_s):
                await driver.wait_for_room(spec.priority)
        except TimeoutError:
            bound = "priority_queue_size" if spec.priority is Priority.CRITICAL else "max_queue_size"
            raise QueueFull(
                f"no room for {spec.name}: the queue was full for {limit_s:g} s (submit_timeout); submit more slowly, "
                f"or raise workers.{bound}",
                name=spec.name,
            ) from None

    async def _wait_for_consent(self, spec: TaskSpec, resources: Resources, timeout_s: float) -> None:
        """Wait until a monitor that somebody else wrote has nothing against a task; ResourceUnavailable if it has."""
        give_up = time.monotonic() + timeout_s
        while (reason := await self._measuring.refusal(resources)) is not None:
            left_s = give_up - time.monotonic()
            if left_s <= 0:
                raise _unavailable(spec, timeout_s, reason, None)
            await asyncio.sleep(min(left_s, self._measuring.again_s))

    async def _wait_for_resources(
        self, driver: Driver, spec: TaskSpec, resources: Resources, left_s: float, timeout_s: float
    ) -> None:
        """Wait until resources are free and there is room; ResourceUnavailable when that takes too long."""
        give_up, let_in = time.monotonic() + left_s, False
        while True:
            driver.check()
            if driver.unseen and not let_in:
                await asyncio.sleep(0)  # what was submitted just now has not got its resources yet
                continue
            lacks = None if let_in else driver.line.lacks(resources, spec.executor)
            if lacks is None and not driver.crowded(spec.priority):
                return
            let_in = False
            if lacks is None:
                await self._wait_for_room(driver, spec)
            elif left_s > 0 and await driver.line.wait(resources, spec.executor, give_up - time.monotonic()):
                let_in = True
            else:
                raise _unavailable(spec, timeout_s, lacks, driver.engine.short_now(resources, spec.executor))

    def _note_started(self, attempts: Sequence[Attempt]) -> None:
        """Take down when tasks that are kept began."""
        live = self._kept.live
        if live:
            now = time.monotonic()
            for attempt in attempts:
                kept = live.get(attempt.task_id)
                if kept is not None and kept.started_s is None:
                    kept.started_s = now

    def _workers(self) -> Mapping[str, str]:
        """Return which worker runs which task now."""
        workers = self._roster.workers() if self._started else []
        return {worker.current_task: worker.worker_id for worker in workers if worker.current_task is not None}


def _unavailable(spec: TaskSpec, timeout_s: float, reason: str, short: Shortage | None) -> ResourceUnavailable:
    waited = f"for {timeout_s:g} s" if timeout_s > 0 else "now"
    facts = short._asdict() if short is not None else {}
    return ResourceUnavailable(
        f"{spec.name} can't have its resources {waited}: {reason}", name=spec.name, reason=reason, **facts
    )


def named_call(name: str, processor: Any) -> NamedCall:  # Any: what users have is checked here
    """Return the call of a function, of anything else that can be called, or of an object's method `process`.

    TypeError for what can't be called with a context, and for a class of processors instead of one of them.
    """
    if isinstance(processor, type) and hasattr(processor, "process"):
        raise TypeError(f"{name}: {processor.__qualname__} is a class of processors; give one of them, or install it")
    function = processor if callable(processor) else getattr(processor, "process", None)
    if not callable(function):
        raise TypeError(f"{name}: {processor!r} is neither a function nor an object with a method `process`")
    return NamedCoroutine(name, function) if is_coroutine_function(function) else NamedCall(name, function)


def _check(processor_name: object, keys: Mapping[str, object], resource_timeout: float | None) -> None:
    """Raise TypeError or ValueError for what can't be meant."""
    if not isinstance(processor_name, str):
        raise TypeError(f"processor_name is a str, not {processor_name!r}")
    for name, key in keys.items():
        if key is not None and not isinstance(key, str):
            raise ValueError(f"{name} must be of the type str, not {key!r}")
    if resource_timeout is not None and not resource_timeout >= 0:
        raise ValueError(f"resource_timeout is a number of seconds of at least 0, not {resource_timeout!r}")


def _resources(given: Demands | None) -> Resources | None:
    """Return resources in our units; ValueError names what is no resource of the specification's."""
    if given is None or isinstance(given, Resources):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"resources are Resources, or a mapping of names to amounts, not {given!r}")
    return resources_of(given)


def _told(record: TaskRecord) -> str:
    """Return in plain words how a task ended."""
    text = f"task {record.task_id} ({record.processor_name}) {record.state.value.replace('_', ' ')}"
    if record.duration_s is not None:
        text += f" after {record.attempts} attempt{'s' if record.attempts != 1 else ''}"
        text += f", the last of {record.duration_s:.3g} s" if record.started_at else ", before one could begin"
        text += f" on worker {record.worker_id}" if record.worker_id else ""
    return f"{text}: {record.error.type}: {record.error.message}" if record.error is not None else text
