"""The records of a task: what is asked for (TaskSpec, Task), tried (Attempt), and how it ended (Outcome).

All are frozen msgspec structs: 50 ns to make where a frozen dataclass takes 650 (docs/decisions/0002-records.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from longshore._failure_identity import failure_identity
from longshore._policies import CircuitBreaker, RetryPolicy, is_amount
from longshore.errors import TaskCancelled, TaskFailed, TaskTimeout


def _are_alternatives(given: object) -> bool:
    return isinstance(given, tuple) and all(isinstance(one, Resources) and not one.alternatives for one in given)


class Priority(IntEnum):
    """How urgent a task is; a smaller number goes first, equal ones in the order they came."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4


ProcessorPriority = Priority


class TaskState(StrEnum):
    """Where a task is; the last four are ends, and no task leaves an end."""

    PENDING = "pending"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Resources(Struct, frozen=True, kw_only=True):
    """What a task reserves while it runs; what is not declared reserves nothing.

    `cpu` is cores, `memory_mb` and `gpu_memory_mb` are MB (10**6 bytes), `disk_mbps` and `network_mbps` MB/s, `gpu` a
    number of devices or a part of one; `custom` names pools of the user's own, such as {"licence": 1}, whose sizes are
    in `ResourceLimits.custom`. `one | other` is either: the first that can be had when the task's turn comes is what
    it reserves, and what stands first is preferred: `Resources(gpu=1, cpu=2) | Resources(cpu=8)`.
    """

    cpu: float = 0.0
    memory_mb: float = 0.0
    gpu: float = 0.0
    gpu_memory_mb: float = 0.0
    disk_mbps: float = 0.0
    network_mbps: float = 0.0
    custom: Mapping[str, float] = {}
    alternatives: tuple[Resources, ...] = ()
    """What would do as well, in the order of preference; `|` puts it together."""

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        for name, amount in self.amounts().items():
            if not is_amount(amount):
                raise ValueError(f"Resources: {name} is a finite amount of at least 0, not {amount!r}")
        if self.gpu > 1 and self.gpu != int(self.gpu):
            raise ValueError(f"Resources: gpu is a part of one device or a whole number of them, not {self.gpu!r}")
        if not _are_alternatives(self.alternatives):
            raise ValueError("Resources.alternatives is a tuple of Resources without any: write `one | other`")

    def __hash__(self) -> int:
        """Go by the amounts: `custom` has no hash, and specs are kept by their options."""
        return hash((frozenset(self.amounts().items()), self.alternatives))

    def __or__(self, other: Resources) -> Resources:
        """Return what reserves this, or `other` where this can't be had."""
        if not isinstance(other, Resources):
            return NotImplemented
        return replace(self, alternatives=self.alternatives + other.choices())

    def choices(self) -> tuple[Resources, ...]:
        """Return all that would do, what is preferred first."""
        return (replace(self, alternatives=()), *self.alternatives)

    @property
    def asks_for_gpu(self) -> bool:
        """Whether devices are named to its tasks."""
        return any(choice.gpu or choice.gpu_memory_mb for choice in (self, *self.alternatives))

    def amounts(self) -> dict[str, float]:
        """Return the non-zero requests by resource name, those of the first choice."""
        named = {
            "cpu": self.cpu,
            "memory": self.memory_mb,
            "gpu": self.gpu,
            "gpu_memory": self.gpu_memory_mb,
            "disk_io": self.disk_mbps,
            "network_io": self.network_mbps,
            **self.custom,
        }
        return {name: amount for name, amount in named.items() if amount}


class TaskOptions(Struct, frozen=True, kw_only=True):
    """How tasks are to be run; what is None is decided by the processor's metadata, settings or defaults."""

    executor: str | None = None
    priority: Priority = Priority.NORMAL
    timeout: float | None = None
    """Seconds one attempt may run; None means `default_timeout`."""
    soft_timeout: float | None = None
    """Seconds after which an attempt is told of as overdue, once, and goes on; less than `timeout`."""
    deadline: float | None = None
    """Seconds all attempts together may take, waiting included."""
    retry: RetryPolicy | None = None
    max_per_second: float | None = None
    breaker: CircuitBreaker | None = None
    """When tasks of this name, or of this processor, are held back for failing; None means what settings say: never."""
    concurrent_limit: int | None = None
    """How many tasks of this name, or of this processor, may run at once."""
    resources: Resources | None = None
    key: str | None = None
    name: str | None = None
    initializer: Callable[[], object] | None = None
    """Called once in each worker before its first task of this kind."""
    group: str | None = None
    """Tasks that are held and released together, such as those of one run of a pipeline; they share their rate."""
    rank: int = 0
    """Within a group and priority, a higher rank goes before a lower one, however long that has waited."""
    isolation: str = "task"
    """"task": a coroutine runs as an asyncio task of its own; "shared": awaited in the worker, twice as fast."""
    context: tuple[ContextVar[Any], ...] = ()  # Any: of whatever type they are
    """Context variables whose values go to worker processes; in this process a task sees all of its submitter's."""
    parent: str | None = None
    """The task that starts this one; None: the one that submits it, if one of this process does."""
    version: str | None = None
    """The user's tag of what the function does; with another one it is other work, whatever a journal has of it."""
    profile: bool | None = None
    """Whether each attempt leaves a profile of where its time went; None means what settings say: no."""
    on_crash: str = "retry"
    """"unknown": where the worker or the controller dies under an attempt, the task is not run again."""


class TaskSpec(Struct, frozen=True, kw_only=True, eq=False):
    """What the tasks of one call have in common; `executor` and `timeout_s` are resolved."""

    function: Callable[..., Any]
    """Any: the user's function takes and gives what it likes."""
    name: str
    executor: str
    priority: Priority = Priority.NORMAL
    timeout_s: float | None = None
    soft_timeout_s: float | None = None
    deadline_s: float | None = None
    retry: RetryPolicy = RetryPolicy()
    resources: Resources | None = None
    max_per_second: float | None = None
    breaker: CircuitBreaker | None = None
    concurrent_limit: int | None = None
    processor: str | None = None
    initializer: Callable[[], object] | None = None
    group: str | None = None
    rank: int = 0
    isolation: str = "task"
    memory_limit_mb: float | None = None
    """By how much one attempt may let its worker's memory grow; executors that can end an attempt hold it to that."""
    retry_of: str | None = None
    """The task that the one task of this spec tries again."""
    parent: str | None = None
    version: str | None = None
    on_crash: str = "retry"
    carries: bool = False
    """Whether its tasks run in a copy of the context of whoever submitted them."""
    context: Context | None = None
    """That context, where it is the same for all: those of a stream."""
    traceparent: str | None = None
    """The span that all of them were submitted in: those of a stream, where OpenTelemetry is in use."""

    def again(self, task_id: str) -> TaskSpec:
        """Return the spec of a task that tries `task_id` again."""
        return replace(self, retry_of=task_id)


class Task(Struct, frozen=True, eq=False, gc=False):
    """One piece of work: a spec, and the arguments it is called with."""

    task_id: str
    spec: TaskSpec
    args: tuple[Any, ...] = ()  # Any: the user's arguments
    kwargs: Mapping[str, Any] | None = None
    index: int = 0
    key: str | None = None


class Attempt(Task, frozen=True, eq=False, gc=False):
    """One try at a task, as an executor gets it: the task itself, and the number of the try.

    `number` counts from 1. `queued_at` and `expires_at` are monotonic seconds; the attempt must have ended by
    `min(its start + spec.timeout_s, expires_at)`, where None is no limit. It is to run in a copy of `context`, else of
    `spec.context`, else in none of its submitter's. `gpus` are the numbers of the devices that are lent to it; an
    executor with processes of its own shows them to CUDA by CUDA_VISIBLE_DEVICES. `memory_limit_mb` stands in place of
    its spec's where it is tried again since it took too much. `traceparent` is the span it was submitted in by itself.
    """

    number: int = 1
    queued_at: float = 0.0
    expires_at: float | None = None
    context: Context | None = None
    gpus: tuple[int, ...] = ()
    memory_limit_mb: float | None = None
    traceparent: str | None = None

    @classmethod
    def of(cls, task: Task, number: int = 1, queued_at: float = 0.0, expires_at: float | None = None) -> Self:
        """Return a try at `task`."""
        head = (task.task_id, task.spec, task.args, task.kwargs, task.index, task.key)
        own = (task.context, (), task.memory_limit_mb, task.traceparent) if isinstance(task, Attempt) else ()
        return cls(*head, number, queued_at, expires_at, *own)


class ErrorRecord(Struct, frozen=True, kw_only=True):
    """What is known of a failure, JSON-safe; also where the exception itself could not travel."""

    type: str
    """Qualified name of the exception's class."""
    message: str
    traceback: str = ""
    reason: str | None = None
    """One word for machines where there is one, such as "encrypted" or "signal 9"."""
    attempt: int = 1
    worker: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    peak_memory_mb: float | None = None
    output_tail: str = ""
    """What the task wrote last to its standard output and error, where its executor can tell; at most 4 KiB."""

    @property
    def fingerprint(self) -> str:
        """A short id that failures have in common which are the same but for their input, in every run.

        It goes by the type and the reason; without a reason by the message, less numbers, ids, paths and quoted values,
        and by the innermost function of the user's own code.
        """
        return failure_identity(self.type, self.message, self.reason, self.traceback)


_ENDS = (StopIteration, StopAsyncIteration)


class Outcome(Struct, frozen=True, eq=False):
    """How an attempt ended, and with the last attempt, the task.

    An executor reports one per attempt; the engine either tries again or lets it stand, and then it is the one that
    callers, sinks and the journal get. Durations are seconds of the monotonic clock.
    """

    task_id: str
    key: str | None
    index: int
    name: str
    state: TaskState
    value: Any = None  # Any: the user's result
    error: ErrorRecord | None = None
    attempts: int = 1
    queued_s: float = 0.0
    """From being queued (for a retry: from falling due) to the start of this attempt."""
    ran_s: float = 0.0
    cpu_s: float | None = None
    """Processor time of this attempt; None where it can't be told apart: coroutines, and threads below 1 ms."""
    peak_memory_mb: float | None = None
    """By how much its worker process grew at most while it ran; None in threads, coroutines, and below 5 ms."""
    worker: str | None = None
    exception: BaseException | None = None
    """The task's own exception where it could travel, else None."""
    restored: bool = False
    """Whether it was recorded before the run went on, and nothing was run for it now."""

    @property
    def ok(self) -> bool:
        """Tell whether the task completed."""
        return self.state is TaskState.COMPLETED

    def unwrap(self) -> Any:  # Any: the user's result
        """Return the value, or raise: the task's own exception unchanged where it travelled, else one of ours.

        TaskFailed stands for StopIteration and StopAsyncIteration, which would look like the end of an iterator.
        """
        if self.state is TaskState.COMPLETED:
            return self.value
        if isinstance(self.exception, Exception) and not isinstance(self.exception, _ENDS):
            raise self.exception.with_traceback(self._origin(self.exception.__traceback__))
        raise self.failure() from self.exception

    def _origin(self, trace: TracebackType | None) -> TracebackType | None:
        """Return the traceback without the callers that it was raised to before, whose locals it would keep alive."""
        at = trace
        while at is not None:
            # A frame that was cleared has no `self` any more; another outcome may have the same exception.
            if at.tb_frame.f_code is Outcome.unwrap.__code__ and at.tb_frame.f_locals.get("self", self) is self:
                return at.tb_next
            at = at.tb_next
        return trace

    def failure(self) -> TaskFailed:
        """Return an exception of ours that says what is known of the failure."""
        kinds = {TaskState.TIMED_OUT: TaskTimeout, TaskState.CANCELLED: TaskCancelled}
        kind = kinds.get(self.state, TaskFailed)
        error = self.error
        text = f"task {self.task_id} ({self.name}) {self.state.value}"
        if error is None:
            return kind(text)
        detail = f"{error.type}: {error.message}" if error.message else error.type
        # A message of ours says already whose it is, and what became of it.
        said = error.message if error.message.startswith(f"task {self.task_id} (") else f"{text}: {detail}"
        failure = kind(said, type=error.type, attempt=error.attempt, worker=error.worker)
        if error.output_tail:
            failure.add_note(f"what it wrote last:\n{error.output_tail}")
        return failure


class PlainOutcome(Outcome, frozen=True, eq=False, gc=False):
    """A completed outcome whose value is of one of PLAIN_TYPES, and so can be in no reference cycle.

    The collector need not look at it: that is a fifth of the price of a no-op. Everything else is as in Outcome.
    """


PLAIN_TYPES = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose values refer to nothing."""


__all__ = [
    "PLAIN_TYPES",
    "Attempt",
    "CircuitBreaker",
    "ErrorRecord",
    "Outcome",
    "PlainOutcome",
    "Priority",
    "ProcessorPriority",
    "Resources",
    "RetryPolicy",
    "Task",
    "TaskOptions",
    "TaskSpec",
    "TaskState",
]
