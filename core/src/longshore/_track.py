"""`track`: an iterable that reports the running task's progress as it goes, nested as the loops are.

Used by tasks, in any worker: it needs only what a worker has. A loop inside another one's step moves that step: with
two of four items done outside and half of them inside, the task is at 2.5 / 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TypeVar

from longshore.worker import CurrentTask, running_task

ItemT = TypeVar("ItemT")


class _Level:
    """One loop under way: how many of how many items are done, and the loops inside the item at hand."""

    __slots__ = ("done", "inside", "message", "outer", "task", "total")

    def __init__(self, task: CurrentTask, outer: _Level | None, total: int | None, message: str) -> None:
        self.task = task
        self.outer = outer
        self.total = total
        self.message = message
        self.done = 0
        self.inside: list[_Level] = []
        if outer is not None:
            outer.inside.append(self)

    def fraction(self) -> float:
        """Return how far it is; the loops inside one item, one after another or at once, share its step."""
        if not self.total:
            return 0.0
        step = sum(level.fraction() for level in self.inside) / len(self.inside) if self.inside else 0.0
        return min(1.0, (self.done + step) / self.total)

    def advance(self, done: int) -> None:
        """Have so many items done, and tell of it."""
        self.done = done
        self.inside.clear()
        root, message = self, self.message
        while root.outer is not None:
            root = root.outer
            message = message or root.message
        fraction = root.fraction() if root.total else None
        self.task.progress(fraction, message, completed_steps=root.done, total_steps=root.total)


_innermost: ContextVar[_Level | None] = ContextVar("longshore_level", default=None)


def track(items: Iterable[ItemT], *, total: int | None = None, message: str = "") -> Iterator[ItemT]:
    """Yield `items`, reporting the current task's progress after each; outside a task, just yield them.

    Without `total`, items that have a length are counted; of others only how many were done is told. Inside another
    `track`, it moves the step of the outer one; a loop left early counts as far as it came.
    """
    task = running_task()
    if task is None:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    outer = _innermost.get()
    # A loop of an attempt before, or one that was left and is still referred to, is around nothing.
    level = _Level(task, outer if outer is not None and outer.task is task else None, total, message)
    try:
        for done, item in enumerate(items, 1):
            _innermost.set(level)
            yield item
            level.advance(done)
    finally:
        if _innermost.get() is level:  # closed elsewhere, it has no say there
            _innermost.set(level.outer)
