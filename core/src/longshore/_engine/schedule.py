"""When something is due: a heap of (time, task id) that is asked for what has fallen due."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from longshore.task import Task

_TIDY_LEAST = 4096


class Schedule:
    """Task ids by the time they fall due. Ids of tasks that ended meanwhile stay until then, or until `tidy`."""

    __slots__ = ("_heap", "_tidy_at", "_tie")

    def __init__(self) -> None:
        """Start with none."""
        self._heap: list[tuple[float, int, str]] = []
        self._tie = 0
        self._tidy_at = _TIDY_LEAST

    def __bool__(self) -> bool:
        """Tell whether anything is to come."""
        return bool(self._heap)

    @property
    def first(self) -> float | None:
        """When the next falls due."""
        return self._heap[0][0] if self._heap else None

    def add(self, when: float, task_id: str) -> None:
        """Have `task_id` fall due at `when`."""
        self._tie += 1
        heappush(self._heap, (when, self._tie, task_id))

    def take(self, now: float) -> list[str]:
        """Take out what has fallen due by `now`, in that order."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            taken.append(heappop(self._heap)[2])
        return taken

    def tidy(self, live: Callable[[], Iterable[Task]]) -> None:
        """Forget ids that are not live, when there are so many that looking pays."""
        if len(self._heap) > self._tidy_at:
            ids = {task.task_id for task in live()}
            self._heap = [item for item in self._heap if item[2] in ids]
            heapify(self._heap)
            self._tidy_at = max(_TIDY_LEAST, 2 * len(self._heap))
