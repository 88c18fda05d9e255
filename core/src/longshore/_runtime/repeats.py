"""The same work asked for twice under one idempotency key is one task. Used by the seam, on the pool's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_LEAST = 64


class Repeats:
    """Which task stands for a key, for as long as that is known."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        """Ask `knows` whether a task can still be asked for by its id."""
        self._knows = knows
        self._tasks: dict[str, str] = {}
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}  # with an entry for each caller that has one
        self._tidy_at = _LEAST

    async def once(self, key: str, submit: Callable[[], Awaitable[str]]) -> str:
        """Return the id of the task of that key that is known, else of what `submit` submits; one caller at a time."""
        turn, callers = self._turns.setdefault(key, (asyncio.Lock(), []))
        callers.append(None)
        try:
            async with turn:
                task_id = self._tasks.get(key)
                if task_id is None or not self._knows(task_id):
                    task_id = self._tasks[key] = await submit()
                    self._tidy()
                return task_id
        finally:
            callers.pop()
            if not callers:
                del self._turns[key]

    def _tidy(self) -> None:
        """Forget keys of tasks that are no longer known, each time there are twice as many as were left last time."""
        if len(self._tasks) >= self._tidy_at:
            self._tasks = {key: task_id for key, task_id in self._tasks.items() if self._knows(task_id)}
            self._tidy_at = max(_LEAST, 2 * len(self._tasks))
