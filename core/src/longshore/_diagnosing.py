"""Gathers the diagnosis of a pool, from any thread and while anything in it hangs.

What the loop alone may say it is asked, for a second; if it does not answer, it changes nothing either, and its state
is read beside it. Everything else is asked on threads of their own, each for a while: a lock that is held, or a plugin
that does not return, costs its own part of the record and no more. Used by the pool.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from longshore._diagnosis import Diagnosis, JournalState, QueueDepth, Reservation, WaitingTask
from longshore._measuring import Measuring
from longshore._packing import described, message_of
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.roster import Roster
from longshore._runtime.stacks import loop_stacks, thread_stacks
from longshore._setup import chosen
from longshore._telling import Telling
from longshore.records import RunningTask, StackTrace, TaskCounts, WorkerStats
from longshore.settings import Settings, WorkerConfig

T = TypeVar("T")

_LOOP_S = 1.0  # what the loop gets to answer in, as for `health`
_PART_S = 2.0  # what each of the others gets, and workers to write their stacks
_TRIES = 5  # what is read beside the loop may change under the reader
_WORKERS_MOST = 200
_STACKS_MOST = 200  # of worker processes: the threads of some of them
_COMPLAINTS_MOST = 50
_TEXT_MOST = 500
_LIST_MOST = 50
_SECRET = re.compile(r"token|secret|passw|credential|auth|header|cookie|key|dsn|url", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"//[^/\s@]*@")
_DISTRIBUTIONS = ("longshore-core", "longshore-asyncio", "longshore-threads", "longshore-processes", "longshore-sqlite")


class Subject(NamedTuple):
    """The parts of a pool that are looked at."""

    driver: Driver
    executors: Executors
    roster: Roster
    telling: Telling
    measuring: Measuring
    settings: Settings
    config: WorkerConfig


class _Decided(NamedTuple):
    """What the engine says."""

    queues: Sequence[QueueDepth]
    waiting: WaitingTask | None
    reservations: Sequence[Reservation]
    concurrency: int
    held: str | None
    tasks: Sequence[StackTrace]


class _Asking:
    """Asks with a limit on time, and notes what did not answer."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def ask(self, what: str, question: Callable[[], T], within_s: float = _PART_S) -> T | None:
        """Return the answer; None where there is none in time."""
        box: SimpleQueue[tuple[T | None, str | None]] = SimpleQueue()

        def answer() -> None:
            try:
                box.put((question(), None))
            except BaseException as error:  # noqa: BLE001 - plugins may raise anything, and the rest is wanted
                box.put((None, f"{what}: {described(error)}"[:_TEXT_MOST]))

        try:
            threading.Thread(target=answer, name="longshore-asking", daemon=True).start()
            found, trouble = box.get(timeout=within_s)
        except Empty:
            found, trouble = None, f"{what}: no answer within {within_s:g} s"
        except RuntimeError as error:  # no more threads
            found, trouble = None, f"{what}: {error}"
        if trouble is not None:
            self.notes.append(trouble)
        return found

    def ask_loop(self, loop: asyncio.AbstractEventLoop, question: Callable[[], T]) -> tuple[T | None, str]:
        """Return what is answered on the loop, and in words how it is; None where it does not answer."""
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is loop:
                return question(), "answers"
        box: SimpleQueue[T] = SimpleQueue()
        wanted = threading.Event()
        wanted.set()
        try:
            loop.call_soon_threadsafe(lambda: box.put(question()) if wanted.is_set() else None)
        except RuntimeError:
            return None, "is closed"
        try:
            return box.get(timeout=_LOOP_S), "answers"
        except Empty:
            wanted.clear()
            return None, f"did not answer within {_LOOP_S:g} s"


def diagnose(pool: Subject) -> Diagnosis:
    """Return all that is known of a pool that was started; takes some seconds at most, where much of it hangs."""
    asking = _Asking()
    stacks = thread_stacks()  # before anything here changes where they are
    decided, loop = _decided(asking, pool.driver)
    workers = _workers(asking, pool)
    processes = asking.ask("stacks of workers", lambda: pool.executors.stacks(_PART_S), 2 * _PART_S) or []
    parts: dict[str, Any] = {  # Any: the record's own types
        **_of_tasks(asking, pool),
        "limits": pool.measuring.monitor.limits.model_dump(mode="json", exclude_none=True),
        "usage": asking.ask("usage", lambda: dict(pool.measuring.monitor.current_usage)) or {},
        "left_behind": (asking.ask("left behind", pool.executors.left_behind) or [])[:_WORKERS_MOST],
        "complaints": asking.ask("complaints", lambda: _complaints(pool.executors)) or [],
        "sinks": asking.ask("sinks", pool.telling.health) or [],
        "stacks": [*stacks, *decided.tasks, *processes[:_STACKS_MOST]],
    }
    run = pool.telling.run
    found = Diagnosis(
        run_id=run.run_id if run is not None else "",
        name=run.name if run is not None else "",
        at=datetime.now(UTC),
        pid=os.getpid(),
        host=socket.gethostname(),
        uptime_s=pool.telling.uptime_s,
        loop=loop,
        concurrency=decided.concurrency,
        held=decided.held,
        queues=decided.queues,
        waiting=decided.waiting,
        reservations=decided.reservations,
        workers=workers[:_WORKERS_MOST],
        more_workers=max(0, len(workers) - _WORKERS_MOST),
        journal=_journal(pool.driver),
        settings=_chosen(pool),
        versions=_versions(),
        notes=[*_troubles(pool.driver), *asking.notes],
        **parts,
    )
    return msgspec.convert(_encodable(msgspec.to_builtins(found)), Diagnosis)


def _encodable(value: Any) -> Any:  # Any: JSON-safe values
    """Return the value with texts that can be written as UTF-8: names of files and tasks may be none."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return {_encodable(name): _encodable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_encodable(inner) for inner in value]
    return value


def _chosen(pool: Subject) -> dict[str, Any]:  # Any: JSON-safe values
    """Return the settings that are not the defaults."""
    settings = pool.settings.model_copy(update={"workers": pool.config})
    return _for_strangers(chosen(settings.model_dump(mode="json")))


def _for_strangers(settings: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON-safe values
    """Return settings for a file that is handed on: without what may be a secret by its name, or in an address."""
    return {name: "(not shown)" if _SECRET.search(name) else _told(value) for name, value in settings.items()}


def _told(value: Any) -> Any:  # Any: as above
    match value:
        case Mapping():
            return _for_strangers(value)
        case list():
            return [_told(one) for one in value[:_LIST_MOST]]
        case bool() | int() | float() | None:
            return value
    return _cut(_IN_ADDRESS.sub("//(not shown)@", str(value)))


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TEXT_MOST else f"{text[:_TEXT_MOST]}..."


def _decided(asking: _Asking, driver: Driver) -> tuple[_Decided, str]:
    """Return what the engine says, and in words how the loop answered."""
    found, loop = asking.ask_loop(driver.loop, lambda: _look(driver))
    if found is None:
        asking.notes.append(f"the pool's loop {loop}: what the pool decides was read beside it, and may not add up")
        found = asking.ask("queues and reservations", lambda: _again(lambda: _look(driver)))
    return found or _Decided([], None, [], 0, None, []), loop


def _again(look: Callable[[], T]) -> T:
    """Look until nothing has changed under it, a few times."""
    for _ in range(_TRIES - 1):
        with suppress(RuntimeError, IndexError, KeyError, StopIteration):
            return look()
    return look()


def _look(driver: Driver) -> _Decided:
    engine, now = driver.engine, time.monotonic()
    oldest = engine.oldest()
    return _Decided(
        queues=[
            QueueDepth(executor=executor, priority=priority, tasks=tasks)
            for executor, levels in engine.queue().items()
            for priority, tasks in levels.items()
        ],
        waiting=None
        if oldest is None
        else WaitingTask(
            task_id=oldest.task_id,
            name=_cut(oldest.spec.name),
            executor=oldest.spec.executor,
            priority=oldest.spec.priority.name,
            waited_s=max(0.0, now - oldest.queued_at),
            why=_cut(engine.why(oldest.task_id, now) or ""),
        ),
        reservations=[
            Reservation(resource=name, lent=lent, taken=taken, limit=limit)
            for name, (lent, taken, limit) in engine.taken().items()
        ],
        concurrency=engine.concurrency,
        held=engine.held_because(),
        tasks=loop_stacks(driver.loop),
    )


def _of_tasks(asking: _Asking, pool: Subject) -> dict[str, Any]:  # Any: the record's own types
    """Return how many tasks are where, which have run longest, and what these have reserved."""
    snapshot = asking.ask("counts", lambda: _again(pool.telling.snapshot))
    if snapshot is None:
        return {}
    lent = {task.task_id: dict(pool.driver.engine.lent_to(task.task_id)) for task in snapshot.slowest}
    return {
        "counts": TaskCounts(**{name: getattr(snapshot, name) for name in TaskCounts.__struct_fields__}),
        "running": [_shortened(task) for task in snapshot.slowest],
        "reserved": {task_id: amounts for task_id, amounts in lent.items() if amounts},
    }


def _shortened(task: RunningTask) -> RunningTask:
    """Return a running task without what it says of its work, which is its own."""
    return replace(task, name=_cut(task.name), label=_cut(task.label), message="")


def _workers(asking: _Asking, pool: Subject) -> list[WorkerStats]:
    """Return the rows of workers, with the memory of those that are processes."""
    rows = asking.ask("workers", pool.roster.workers) or []
    used = asking.ask("memory of workers", lambda: pool.measuring.monitor.workers) or {}
    found = [(row, used.get(row.pid) if row.pid is not None else None) for row in rows]
    return [row if use is None else replace(row, memory_mb=use.memory_mb) for row, use in found]


def _complaints(executors: Executors) -> list[str]:
    return [_cut(f"{name}: {complaint}") for name, complaint in executors.complaints()][:_COMPLAINTS_MOST]


def _journal(driver: Driver) -> JournalState:
    if driver.recorder is None:
        return JournalState(state="none")
    state = "closed" if driver.ending and driver.engine.idle else "open"
    return JournalState(state=state, uncommitted=sum(driver.recorder.waiting))


def _troubles(driver: Driver) -> list[str]:
    if driver.failure is not None:
        return [_cut(f"the pool has failed: {message_of(driver.failure)}")]
    return ["the pool takes no work: it is stopping, or has stopped"] if driver.ending else []


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
