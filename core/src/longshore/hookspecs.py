"""The contracts of all plugin kinds: each a Protocol for the type checker and, marked, the spec pluggy checks against.

Mark each method of a plugin that the contract names with `@hookimpl`; argument names are part of the contract. Every
method of the directly called kinds takes one record or one batch, so that what is told can grow without breaking a
plugin; only hooks may take fewer arguments. A plugin's class may carry `Settings` (a pydantic model for its own table;
the class is then made as `cls(settings)`, else as `cls()`) and `api`, an integer: the lowest version of its kind's
contract that it needs; 1 where it is left out, and `API` says which there are. A constructor keeps its settings and
does nothing else: checking a plugin makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import pluggy
from msgspec import Struct

from longshore._archive import Archive as Archive
from longshore.events import AnyEvent, ProgressUpdate
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult
from longshore.records import (
    CommitBatch,
    JournalQuery,
    LeftBehind,
    PoolInfo,
    Reading,
    ReadRequest,
    Recalled,
    RunInfo,
    RunOpening,
    RunSnapshot,
    RunSummary,
    StackTrace,
    WorkerStats,
)
from longshore.task import Attempt, Outcome, Task

PROJECT = "longshore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""The mark every contract method of a plugin carries."""

KINDS = ("executors", "probes", "sinks", "journals", "processors", "pipelines", "hooks")
"""The plugin kinds; the entry-point group of each is `longshore.<kind>`."""


class ApiWindow(Struct, frozen=True):
    """The versions of one kind's contract that plugins may be written for, `floor` to `current`."""

    floor: int
    current: int

    def __contains__(self, api: int) -> bool:
        """Tell whether a plugin that needs this version can be used."""
        return self.floor <= api <= self.current


API: Mapping[str, ApiWindow] = MappingProxyType(
    {
        "executors": ApiWindow(1, 1),
        "probes": ApiWindow(1, 1),
        "sinks": ApiWindow(1, 1),
        "journals": ApiWindow(1, 1),
        "processors": ApiWindow(1, 1),
        "pipelines": ApiWindow(1, 1),
        "hooks": ApiWindow(1, 1),
    }
)
"""The versions of each kind's contract; how they grow: docs/decisions/0053-how-contracts-grow.md."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What an executor can honour; what it cannot is refused when a task is submitted."""

    worker_type: str
    """"async", "thread", "process", or the executor's own name; shown in statistics."""
    runs: frozenset[Literal["coroutine", "function"]]
    """Which callables it takes."""
    timeout: Literal["kill", "cancel", "abandon", "none"]
    """What happens to an attempt at its deadline; "none" refuses an explicit timeout."""
    cancel_running: bool = True
    pickles: bool = False
    """Whether function, arguments and result leave the process."""
    isolation: frozenset[str] = frozenset({"task"})
    initializer: bool = True
    limits_memory: bool = False
    """Whether it ends an attempt that takes more than `TaskSpec.memory_limit_mb`; elsewhere that limit is advice."""
    runs_ahead: bool = True
    """Whether it gains from being given more short attempts than it has workers."""
    weighs: bool = False
    """Whether outcomes tell `peak_memory_mb`, `workers` pids, and a cancelled attempt gives its memory back at once.

    What its tasks take is learnt then, and set aside; when memory runs out, one at a time is cancelled and tried again.
    """
    columns: bool = False
    """Whether it reads `worker.AttemptColumns` without having the records made; others are given plain lists."""


class CancelRequest(Struct, frozen=True):
    """Attempts that are to end: each is still reported, as cancelled unless it ended first."""

    task_ids: Sequence[str]
    message: str = "cancelled"


class ResizeRequest(Struct, frozen=True):
    """How many workers are wanted from now on; running attempts go on."""

    workers: int


class LimitRequest(Struct, frozen=True):
    """How many workers may run something at once from now on, None for all there are; running attempts go on.

    It is no resize: the others stay, with what they have loaded, and take nothing until they may. With 0 none begins.
    """

    workers: int | None


class WorkerNotice(Struct, frozen=True):
    """Something about a worker that is no outcome: it becomes the event `type` with these data."""

    type: str
    """"worker_error", "worker_blocked" or "task_overdue"; the data are those of the catalogue."""
    data: Mapping[str, Any]  # Any: JSON-safe values


class ExecutorHost(Protocol):
    """What the pool gives an executor; every method may be called from any thread and returns at once."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop the pool runs on."""

    @property
    def workers(self) -> int:
        """How many workers are wanted at the start."""

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Tell how attempts ended: exactly once each, in any order."""

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        """Pass on what running tasks say of themselves."""

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        """Tell of something about a worker."""

    def resized(self, workers: int) -> None:
        """Tell how many workers there are, when that changed."""

    def failed(self, error: BaseException) -> None:
        """Tell that the executor can run nothing any more; the pool fails with this cause."""


@runtime_checkable
class Executor(Protocol):
    """Where tasks run."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can honour; constant."""

    @hookspec
    async def start(self, host: ExecutorHost) -> None:
        """Get ready; workers may be brought up on demand. What it raises stops the pool from starting."""

    @hookspec
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Take attempts in this order; never blocks, never raises for a task. Called on the pool's loop.

        An attempt's time limit counts from when it begins to run, and is the executor's to enforce. Every attempt is
        reported exactly once through the host, whatever becomes of it.
        """

    @hookspec
    def cancel(self, request: CancelRequest) -> None:
        """End these attempts as the capabilities say; unknown ids are ignored."""

    @hookspec
    def resize(self, request: ResizeRequest) -> None:
        """Change the number of workers without losing an attempt; RuntimeError where that is not its to change."""

    @hookspec
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each worker is doing; cheap, from any thread.

        `last_heartbeat` says when a worker was last known to live: now, for one that can be seen from any thread; None
        for one on the pool's loop, of which only a turn of the loop can tell. The pool does the rest.
        """

    @hookspec
    def pids(self) -> Sequence[int]:
        """Return the process ids of workers that are processes of their own; cheap, from any thread."""

    @hookspec
    async def stop(self, deadline: float) -> None:
        """End everything by `deadline` (monotonic seconds); attempts still held are reported as cancelled.

        Harmless for one that was not started, or has stopped already.
        """


class Diagnosed(Protocol):
    """What an executor may have beside its contract."""

    @hookspec
    def limit(self, request: LimitRequest) -> None:
        """Use only so many workers at once; returns at once, called on the pool's loop.

        On a machine that runs short, an executor that has this is given short attempts ahead all the same, and others
        one for each worker that may run. It may come often, and before the workers are up.
        """

    @hookspec
    def left_behind(self) -> Sequence[LeftBehind]:
        """Return what goes on in workers though its task has ended; cheap, from any thread."""

    @hookspec
    def complaints(self) -> Sequence[str]:
        """Return what is wrong with it, in words for people; empty when it is well. Cheap, from any thread."""

    @hookspec
    def stacks(self, within_s: float) -> Sequence[StackTrace]:
        """Return where its workers are that are other processes, waiting `within_s` seconds for them; for a diagnosis.

        From any thread but the loop's. A worker that does not answer has a trace without frames, that says so.
        """


class Elsewhere(Protocol):
    """What an executor may have beside its contract whose workers are on other machines than the pool."""

    @hookspec
    def cluster(self) -> Probe | None:
        """Return what measures the machines that its workers are on, None where that is this one.

        Asked when it is made, before `start`; read from then on when `start` has returned. Its tasks are held against
        these machines and not against this one: what they reserve of cores and memory has to be free there, no task
        gets more than the largest worker has, and less starts while memory is short there. `Usage.across` makes the
        readings, "cpu" and "memory", out of what each worker has; without workers there is nothing to read, and
        nothing is held back. How much of what was handed over is on its way to them, the executor itself bounds.
        """


@runtime_checkable
class Probe(Protocol):
    """What the machine has left.

    A probe that keeps something open may have a method `close()`. It is called where `read` is, when nothing reads any
    more; a `read` that comes later opens anew.
    """

    @property
    def resources(self) -> Sequence[str]:
        """The keys it reads, such as "cpu" or "disk_io"."""

    @property
    def period_s(self) -> float:
        """Seconds between two readings that make sense."""

    @hookspec
    def read(self, request: ReadRequest) -> Reading:
        """Read; may raise. Called on a thread of its own, one call at a time."""


@runtime_checkable
class Sink(Protocol):
    """Who is told; every method is called on the sink's own thread, one at a time.

    A sink that looks at some types of events only says so by an attribute `event_types`, a set of their names that is
    read before it is opened: others are neither made for it nor kept. One that draws from snapshots wants few.
    One that makes a span of each task has an attribute `span_rules`, a SpanRules, and finds in `run.spans` where.

    One that may steer the run says so by an attribute `controls` that is True, where its own settings allow it: only
    such a sink is opened with a `RunInfo.control`.
    """

    @hookspec
    def open(self, run: RunInfo) -> None:
        """A run begins."""

    @hookspec
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take some events, in order; never an empty batch."""

    @hookspec
    def close(self, summary: RunSummary) -> None:
        """The run is over; nothing comes after, unless a pool that the sink was given to is started again.

        Whatever was opened is let go of. PluginError says what could not be passed on.
        """


@runtime_checkable
class Journal(Protocol):
    """What survives. `open`, `commit`, `load` and `close` are called on the journal's own writer thread, one at a time.

    Control data (all but the values of outcomes) is never pickled; `longshore.keeping` stores values.
    """

    @hookspec
    def open(self, run: RunOpening) -> Recalled:
        """Begin a run, or go on with one, and return what is recorded of it; nobody else may hold it meanwhile.

        JournalError names who holds it, or what of it is damaged; nothing is left open then.
        """

    @hookspec
    def commit(self, batch: CommitBatch) -> None:
        """Make the batch last, all or none; only after it returns is anyone told. Raising fails the pool for good."""

    @hookspec
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        """Return recorded outcomes of the open run, values included, at most one a task.

        JournalError for one that is damaged. Those whose value was not kept are left out.
        """

    @hookspec
    def close(self) -> None:
        """Let go of the run; nothing comes after."""

    @hookspec
    def archive(self) -> Archive:
        """Return a reader of all that is recorded; needs no `open`, and disturbs no run."""


@runtime_checkable
class Processor(Protocol):
    """Named work on a document; made once per worker."""

    @property
    def metadata(self) -> ProcessorMetadata:
        """What it says of itself; constant, readable before `initialize`."""

    @hookspec
    def initialize(self) -> None:
        """Get ready, once per worker."""

    @hookspec
    def process(self, context: ProcessorContext) -> ProcessorResult | Awaitable[ProcessorResult]:
        """Do the work; a coroutine function does too. Raises, or returns status "failed", when it can't."""

    @hookspec
    def cleanup(self) -> None:
        """Let go of what `initialize` took; nothing where that is done already, or was never called."""

    @hookspec
    def health_check(self) -> bool:
        """Tell whether it can work."""


class InputValidator(Protocol):
    """What a processor may have beside its contract."""

    @hookspec
    def validate_input(self, context: ProcessorContext) -> str | None:
        """Return why this document can never be processed, None when it may be tried; may raise instead.

        Any text refuses it, an empty one too. Called on the pool's own thread before a worker is taken, of an instance
        that is not initialised: be quick.
        """


@runtime_checkable
class PipelineSource(Protocol):
    """Ready pipelines, as data."""

    @hookspec
    def toml(self) -> str:
        """Return a TOML document: the keys of one `[tool.longshore.pipelines.NAME]` table."""


class Hooks(Protocol):
    """Veto, route, observe: each method is optional and may take any of its arguments, by name."""

    @hookspec
    def admit(self, task: Task, snapshot: RunSnapshot) -> str | None:
        """Refuse a task by returning the reason; the first reason wins."""

    @hookspec(firstresult=True)
    def route(self, task: Task) -> str | None:
        """Name the executor for a task that names none; the first answer wins."""

    @hookspec
    def task_settled(self, task: Task, outcome: Outcome) -> None:
        """A task that was admitted reached its end, and it is committed."""

    @hookspec
    def pool_started(self, pool_info: PoolInfo) -> None:
        """A pool takes work."""

    @hookspec
    def pool_stopped(self, summary: RunSummary) -> None:
        """A pool is over."""


__all__ = [
    "API",
    "KINDS",
    "PROJECT",
    "ApiWindow",
    "Archive",
    "CancelRequest",
    "Capabilities",
    "Diagnosed",
    "Elsewhere",
    "Executor",
    "ExecutorHost",
    "Hooks",
    "InputValidator",
    "Journal",
    "LimitRequest",
    "PipelineSource",
    "Probe",
    "Processor",
    "ResizeRequest",
    "Sink",
    "WorkerNotice",
    "hookimpl",
    "hookspec",
]
