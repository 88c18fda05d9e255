"""The function of a processor's tasks, as it travels to workers. Light: a worker imports it with the task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from longshore._calling import succeeded
from longshore._fetching import at_hand, at_hand_async, is_object
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.worker import current_task, preparing

_log = logging.getLogger("longshore.worker")


class ProcessorCall:
    """The function of a processor's tasks: one processor per worker, made and initialised on its first task there.

    Travels by the processor's factory; a worker keeps the instance in its seat, under this call's name and version.
    One of a higher version takes the place of those before it, which are cleaned up; a task of an older version that
    comes late has its own again.
    """

    __slots__ = ("check", "executor", "factory", "name", "release", "version")

    def __init__(
        self,
        factory: Callable[[], Any],  # Any: a Processor, by contract
        name: str,
        version: int = 1,
        *,
        executor: str | None = None,
        check: Callable[[ProcessorContext], BaseException | None] | None = None,
        release: str = "",
    ) -> None:
        """Call `factory()` for the instance; it must be picklable for executors that leave the process.

        `executor` is where the processor wants to run, `check` what looks at a document before a worker is taken, and
        `release` the version that it says it is: all are the pool's to heed, and stay behind.
        """
        self.factory = factory
        self.name = name
        self.version = version
        self.executor = executor
        self.check = check
        self.release = release

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by the factory."""
        return type(self), (self.factory, self.name, self.version)

    def __longshore_identity__(self) -> tuple[str, str, object]:
        """Be told apart by the name, the version, and what makes the processor, with its settings."""
        return self.name, self.release, self.factory

    def fitting(self, coroutines: bool) -> ProcessorCall:
        """Return the call for an executor that runs coroutines, or for one that does not."""
        return self

    def ready(self) -> None:
        """Have this worker's processor ready: what an executor may call ahead of the first document's own time."""
        self._held()

    def __call__(self, context: ProcessorContext) -> Any:  # Any: ProcessorResult, or a coroutine that gives one
        """Process one document; a result with status "failed" is raised as TaskFailed, with its errors' text."""
        held = self._held()
        if not is_object(context):
            return self._processed(held, context)
        with at_hand(context, _most_bytes(held.processor)) as local:
            self._look_at(held, local)
            return self._processed(held, local)

    def _processed(self, held: _Held, context: ProcessorContext) -> ProcessorResult:
        result = held.processor.process(context)
        return self._unpack(held.awaited(result) if isinstance(result, CoroutineType) else result)

    def _look_at(self, held: _Held, local: ProcessorContext) -> None:
        """Raise what is wrong with a document that was only a URL when the pool looked at it."""
        from longshore._document_check import InputCheck  # for objects only: a worker starts without what it needs

        own = getattr(held.processor, "validate_input", None)
        error = InputCheck(self.name, held.processor.metadata, own)(local)
        if error is not None:
            raise error

    def _held(self) -> _Held:
        """Return this worker's processor, making and initialising it on first use."""
        task = current_task()
        versions: dict[int, _Held] = task.worker_state.setdefault(f"processor:{self.name}", {})
        held = versions.get(self.version)
        if held is None:
            for version in [version for version in versions if version < self.version]:
                versions.pop(version).close()
            held = versions[self.version] = _Held(self.name, self._initialised())
            task.at_worker_end(held.close)
        return held

    def _initialised(self) -> Any:  # Any: a Processor, by contract
        try:
            with preparing():  # what this takes is the worker's, under the limit for that, and not the document's
                processor = self.factory()
                processor.initialize()
        except BaseException as error:
            error.add_note(f"processor {self.name} could not be made ready in this worker; its next task tries again")
            raise
        return processor

    def _unpack(self, result: ProcessorResult) -> ProcessorResult:
        """Return a completed result; raise for a failed one, with its data among the facts."""
        if not isinstance(result, ProcessorResult):
            raise TypeError(f"processor {self.name} returned {type(result).__name__}, not a ProcessorResult")
        return succeeded(self.name, result)


class AsyncProcessorCall(ProcessorCall):
    """The call of a processor whose `process` is a coroutine function, for executors that run coroutines."""

    __slots__ = ()

    def fitting(self, coroutines: bool) -> ProcessorCall:
        """Return the call for an executor that runs coroutines, or for one that does not."""
        if coroutines:
            return self
        return ProcessorCall(
            self.factory,
            self.name,
            self.version,
            executor=self.executor,
            check=self.check,
            release=self.release,
        )

    async def __call__(self, context: ProcessorContext) -> ProcessorResult:
        """Do what the plain call does, on the loop of the executor."""
        held = self._held()
        if not is_object(context):
            return self._unpack(await held.processor.process(context))
        async with at_hand_async(context, _most_bytes(held.processor)) as local:
            self._look_at(held, local)
            return self._unpack(await held.processor.process(local))


def _most_bytes(processor: Any) -> float | None:  # Any: a Processor, by contract
    most_mb = processor.metadata.max_file_size_mb
    return None if most_mb is None else most_mb * 1e6


class _Held:
    """One worker's processor, and the loop its coroutines run on where the executor has none."""

    __slots__ = ("_closed", "_name", "_runner", "processor")

    def __init__(self, name: str, processor: Any) -> None:  # Any: a Processor, by contract
        self._name = name
        self.processor = processor
        self._runner: asyncio.Runner | None = None
        self._closed = False

    def awaited(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:  # Any: as typing has it
        """Return what the coroutine gives; one loop per worker, so that what it keeps open can be used again."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(coroutine, context=copy_context())
        coroutine.close()
        raise TypeError(
            f"processor {self._name} is async, and cannot run inline: name executor='threads' or 'processes'"
        )

    def close(self) -> None:
        """Clean up, once; what that raises is logged, as no task is to blame."""
        if self._closed:
            return
        self._closed = True
        try:
            self.processor.cleanup()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            _log.warning("processor %s could not clean up: %r", self._name, error)
        finally:
            if self._runner is not None:
                self._runner.close()
