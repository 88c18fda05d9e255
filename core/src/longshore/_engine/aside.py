"""Which lane a task waits in, where memory is set aside for it that it did not ask for.

For most tasks that is nobody's matter: `used` is false, and who queues them need not ask. Otherwise it is for kinds of
tasks that were seen to take much, and for single tasks that were ended for what they took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from longshore._columns import in_columns
from longshore._engine.lanes import RAISED, LaneKey, lane_key
from longshore._engine.learning import KINDS_MOST, Kind
from longshore.task import Attempt, Task, TaskSpec


class Share(NamedTuple):
    """What is set aside for each task of a kind, and how many of them may run at once."""

    memory_mb: float
    """0: nothing, and then nobody counts them."""
    most: int | None = None
    held_to: bool = False
    """Whether a task that takes more is ended, and runs again with more set aside."""


NOTHING = Share(0.0)


class Aside:
    """What is set aside, by kind and by task."""

    __slots__ = ("_cold", "in_use", "kinds", "known", "raised", "weighing")

    def __init__(self) -> None:
        """Set nothing aside."""
        self.known: Callable[[Kind], bool] = lambda kind: False
        """Whether anything is known of a kind."""
        self.in_use: Callable[[], set[Kind | None]] = set
        """The kinds that have lanes."""
        self.kinds: dict[Kind, Share] = {}
        """Kinds whose tasks wait in lanes of their own; one that was here stays, with nothing if need be."""
        self.raised: dict[str, float] = {}
        """MB by task, of those that were ended for what they took."""
        self.weighing: set[str] = set()
        """Executors that tell what memory their tasks take."""
        self._cold: Share | None = None

    @property
    def used(self) -> bool:
        """Whether the lane of a task may be another than that of its spec."""
        return bool(self.kinds or self.raised) or self._cold is not None

    @property
    def cold(self) -> bool:
        """Whether something is set aside for kinds of which nothing is known: while memory is short."""
        return self._cold is not None

    def beware(self, share: Share | None) -> bool:
        """Set so much aside for each task of which nothing is known, None: nothing; tell whether that is new."""
        new, self._cold = share != self._cold, share
        return new

    def ramped(self) -> list[Kind]:
        """Return the kinds of which only so many run at once, as little is known of them."""
        return [kind for kind, share in self.kinds.items() if share.most is not None]

    def takes_part(self, spec: TaskSpec) -> bool:
        """Tell whether memory may be set aside for tasks of a spec: they say nothing of it, and it is measured."""
        resources = spec.resources
        declared = resources is not None and any(choice.memory_mb for choice in resources.choices())
        return spec.executor in self.weighing and not declared

    def share(self, kind: Kind) -> Share | None:
        """Return what is set aside for a kind; None where its tasks wait with all others."""
        share = self.kinds.get(kind)
        if share is None and self._cold is not None and not self.known(kind):
            self._tidy()
            share = self.kinds[kind] = self._cold
        return share

    def _tidy(self) -> None:
        """Forget kinds for which nothing is set aside, and of which nothing waits or runs, when there are too many."""
        if len(self.kinds) > KINDS_MOST:
            used = self.in_use()
            self.kinds = {kind: share for kind, share in self.kinds.items() if share != NOTHING or kind in used}

    def concerns(self, attempts: Sequence[Attempt]) -> bool:
        """Tell whether the lane of one of these attempts, all of one spec, may be another than that of their spec.

        Those in columns are first attempts, so none of them has taken too much: theirs is a matter of their kinds.
        """
        if not self.used or not in_columns(attempts):
            return self.used
        spec = attempts.spec
        if not self.takes_part(spec):
            return False
        return self._cold is not None or Kind.name_of(spec) in {kind.name for kind in self.kinds}

    def key(self, task: Task) -> LaneKey:
        """Return the key of the lane that a task waits in."""
        spec = task.spec
        raised_mb = self.raised.get(task.task_id)
        if raised_mb is not None:
            return lane_key(spec, RAISED, raised_mb)
        if (self.kinds or self._cold is not None) and self.takes_part(spec):
            kind = Kind.of(spec, task.args, task.kwargs)
            if self.share(kind) is not None:
                return lane_key(spec, kind)
        return lane_key(spec)
