"""What can go wrong, as one tree; every message says what happened, to what, and what to try.

LongshoreError
├── QueueFull               no room within the time given
├── PoolNotRunning          the pool was not started, is stopping, or has failed
├── WrongPlace              (RuntimeError) called on another loop than the pool's, or in a task of its own
├── TaskNotFound            (LookupError) no such task, or its result has expired
├── ResultNotReady          (TimeoutError) the caller's patience ended; the task goes on
├── TaskFailed              the task failed and its own exception could not travel
│   ├── TaskTimeout         (TimeoutError) the task passed its time limit
│   ├── TaskCancelled       the task was cancelled
│   ├── WorkerDied          the worker running the task ended under it
│   ├── WorkerNotReady      workers end one after the other while they get ready for the task
│   ├── MemoryLimitExceeded the task used more memory than it may
│   ├── OutcomeUnknown      it began and nobody knows how it ended, and it may not run twice
│   └── PoisonTask          the task ended its worker too often to be tried again
├── ResourceUnavailable     what the task asks for can never fit
├── PayloadError            arguments, a result or an exception that cannot be carried
├── DocumentError           a document that cannot be read, with the reason
├── PluginError             a plugin that is missing, broken or refused
├── SettingsError           a setting that is wrong, with its file, line and key
└── JournalError            the journal could not commit
"""

from __future__ import annotations

from typing import Any


def _rebuild(cls: type[LongshoreError], message: str, facts: dict[str, Any]) -> LongshoreError:
    return cls(message, **facts)


class LongshoreError(Exception):
    """The root of our errors: a message for people, and `facts`, the same in JSON-safe values."""

    def __init__(self, message: str = "", **facts: Any) -> None:  # Any: JSON-safe values of any kind
        """Keep the message and the facts; both survive pickling."""
        super().__init__(message)
        self.facts: dict[str, Any] = facts

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes with the facts."""
        return _rebuild, (type(self), str(self), self.facts)


class QueueFull(LongshoreError):
    """The bounded queue had no room within the time given; nothing was queued or reserved."""


class PoolNotRunning(LongshoreError):
    """The pool takes no work: not started, stopping, stopped, or failed (the cause says why)."""


class WrongPlace(LongshoreError, RuntimeError):
    """The call cannot work from here: another event loop than the pool's, or a task that it would wait for itself."""


class TaskNotFound(LongshoreError, LookupError):
    """No task has this id, or its result is past the stated retention."""


class ResultNotReady(LongshoreError, TimeoutError):
    """The caller's own time limit ended first; the task goes on."""


class TaskFailed(LongshoreError):
    """The task failed, and its own exception could not be raised as it was."""


class TaskTimeout(TaskFailed, TimeoutError):
    """The task passed its time limit, for one attempt or over all of them."""


class TaskCancelled(TaskFailed):
    """The task was cancelled before it ended."""


class WorkerDied(TaskFailed):
    """The worker ended while it ran the task; exit code or signal are in `facts`."""


class WorkerNotReady(TaskFailed):
    """Workers ended one after the other while they got ready for such tasks, which are not tried for a while."""


class MemoryLimitExceeded(TaskFailed):
    """The task used more memory than its limit."""


class OutcomeUnknown(TaskFailed):
    """The task began, nobody knows whether it did its work, and it may not run twice (`on_crash="unknown"`)."""


class PoisonTask(TaskFailed):
    """The task has ended its worker as often as is allowed, and is not tried again."""


class ResourceUnavailable(LongshoreError):
    """The task asks for more than the limits can ever grant."""


class PayloadError(LongshoreError):
    """An argument, a result or an exception cannot be carried to where it is needed."""


class DocumentError(LongshoreError):
    """A document cannot be read; `facts["reason"]` is one of a few words, such as "encrypted"."""


class PluginError(LongshoreError):
    """A plugin is missing, broken, in conflict, or refused by policy."""


class SettingsError(LongshoreError):
    """A setting is wrong; the message names file, line, key and origin."""


class JournalError(LongshoreError):
    """The journal could not commit; the outcomes of that batch are not told."""


ResourceError = ResourceUnavailable


__all__ = [
    "DocumentError",
    "JournalError",
    "LongshoreError",
    "MemoryLimitExceeded",
    "OutcomeUnknown",
    "PayloadError",
    "PluginError",
    "PoisonTask",
    "PoolNotRunning",
    "QueueFull",
    "ResourceError",
    "ResourceUnavailable",
    "ResultNotReady",
    "SettingsError",
    "TaskCancelled",
    "TaskFailed",
    "TaskNotFound",
    "TaskTimeout",
    "WorkerDied",
    "WorkerNotReady",
    "WrongPlace",
]
