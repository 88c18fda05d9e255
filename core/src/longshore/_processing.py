"""The function of a processor's tasks, as it travels to workers. Light: a worker imports it with the task."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from longshore.errors import TaskFailed
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.worker import current_task


class ProcessorCall:
    """The function of a processor's tasks: one processor per worker, made and initialised on its first task there.

    Travels by the processor's class; a worker keeps the instance in its seat, under this call's name and version.
    """

    __slots__ = ("factory", "name")

    def __init__(self, factory: Callable[[], Any], name: str) -> None:  # Any: a Processor, by contract
        """Call `factory()` for the instance; it must be picklable for executors that leave the process."""
        self.factory = factory
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by the factory."""
        return ProcessorCall, (self.factory, self.name)

    def instance(self) -> Any:  # Any: a Processor, by contract
        """Return this worker's processor, making and initialising it on first use."""
        state = current_task().worker_state
        key = f"processor:{self.name}"
        held = state.get(key)
        if held is None or held[0] is not self.factory:
            processor = self.factory()
            processor.initialize()
            held = state[key] = (self.factory, processor)
        return held[1]

    def __call__(self, context: ProcessorContext) -> Any:  # Any: the result's data, JSON-safe values
        """Process one document; a result with status "failed" is raised as TaskFailed, with its first error's text."""
        result = self.instance().process(context)
        if isinstance(result, CoroutineType):
            result = self._awaited(result)
        return self.unpack(result)

    def _awaited(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:  # Any: as typing has it
        """Return what the coroutine of an async `process` gives, from a loop of its own."""
        import asyncio  # a worker that runs plain functions only has no other use for it

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(coroutine)
        coroutine.close()
        raise TypeError(
            f"processor {self.name} is async, and cannot run inline: name executor='threads' or 'processes'"
        )

    def unpack(self, result: ProcessorResult) -> ProcessorResult:
        """Return a completed result; raise for a failed one."""
        if result.status == "failed":
            message = "; ".join(result.errors) or f"processor {self.name} returned status failed"
            raise TaskFailed(message, processor=self.name, reason=result.metadata.get("reason"))
        return result
