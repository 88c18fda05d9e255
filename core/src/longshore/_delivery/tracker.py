"""Progress trackers of others: their start_task, update_task and complete_task, called as events come off the bus.

Attached by the pool. They are called where the bus calls its subscribers, so never where a task is dispatched, and
what they raise is counted there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from longshore._delivery.foreign import Subscribable
from longshore.events import AnyEvent

_METHODS = ("start_task", "update_task", "complete_task")


class ForeignTracker:
    """Any object with the specification's three methods, sync or async, told of every task by its events."""

    def __init__(self, target: object) -> None:
        """Adapt `target`; TypeError where a method is missing."""
        missing = [name for name in _METHODS if not callable(getattr(target, name, None))]
        if missing:
            raise TypeError(f"a progress tracker needs a method {missing[0]}; {type(target).__name__} has none")
        self.name = f"progress_tracker:{type(target).__name__}"
        self._target: Any = target  # Any: what others take and return is theirs

    def attach(self, bus: Subscribable) -> Callable[[], None]:
        """Call it with what `bus` tells until the function returned is called; what waits then is told as well."""
        is_async = any(inspect.iscoroutinefunction(getattr(self._target, name)) for name in _METHODS)
        return bus.subscribe(self._tell_async if is_async else self._tell, name=self.name).finish

    def _tell(self, event: AnyEvent) -> object:
        target, data = self._target, event.data
        match event.type:
            case "task_started":
                name = data.get("processor") or data["name"]
                return target.start_task(data["task_id"], name, data.get("key") or data["task_id"])
            case "task_progress":
                steps = {name: data[name] for name in ("current_step", "completed_steps") if name in data}
                return target.update_task(data["task_id"], data["progress"], message=data.get("message", ""), **steps)
            case "task_completed":
                return target.complete_task(data["task_id"], success=True)
            case "task_failed" | "task_cancelled":
                said = ": ".join(str(data[name]) for name in ("error", "message") if data.get(name))
                return target.complete_task(data["task_id"], success=False, error=said or data["state"])
        return None

    async def _tell_async(self, event: AnyEvent) -> None:
        result = self._tell(event)
        if inspect.isawaitable(result):
            await result
