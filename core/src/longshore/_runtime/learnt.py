"""What was learnt of tasks, as a journal keeps it, told by kind: for people, and for programs.

In: the named state that `longshore._journaling` records. Out: records, the kinds heard of last first.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from longshore._engine.learning import Learning, most_bytes

LEARNT = "learnt"
"""The named state that has it."""


class LearntKind(Struct, frozen=True, kw_only=True):
    """What tasks of one kind, of one name with inputs of like size, were seen to take."""

    name: str
    input_bytes_most: int
    """The inputs of this kind are no larger, as far as their arguments tell."""
    tasks: int
    """Of so many the peak is known."""
    ended: int
    """So many were ended before their peak: they would have taken more."""
    memory_mb: float | None
    """What would be set aside for the next one."""
    most_mb: float
    """The largest of the last ones."""
    cores: float | None
    """Cores that one uses; None where that is not known."""


def learnt_kinds(state: object) -> list[LearntKind]:
    """Return the kinds in a recorded state; what can't be read is left out, as it is learnt anew."""
    learning = Learning.from_dict(state if isinstance(state, Mapping) else {})
    found = [
        LearntKind(
            name=kind.name,
            input_bytes_most=most_bytes(kind.bucket),
            tasks=taken.count,
            ended=taken.ended,
            memory_mb=taken.memory_mb,
            most_mb=taken.most_mb,
            cores=taken.cores,
        )
        for kind, taken in learning.items()
    ]
    return found[::-1]
