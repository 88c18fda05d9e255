"""What became of a run's inputs, and how that is told at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from longshore._failure_identity import failure_identity
from longshore.cli.console import line as one_line
from longshore.cli.console import safe
from longshore.task import TaskState

_NAMES = 50
"""Names listed of one group of failures; the output has them all."""
_TAIL_LINES = 30
"""Lines shown of what one input of a group wrote last."""


@dataclass(slots=True)
class _Group:
    """Failures that are the same but for their input."""

    kind: str
    reason: str
    alike: bool = True
    """Whether all of them have that reason, word for word."""
    count: int = 0
    names: list[str] = field(default_factory=list)
    tail: tuple[str, str] | None = None
    """The first that wrote something, and what it wrote last."""

    def add(self, name: str, reason: str, output_tail: str) -> None:
        """Count one."""
        self.count += 1
        self.alike = self.alike and reason == self.reason
        if len(self.names) < _NAMES:
            self.names.append(name)
        if output_tail and self.tail is None:
            self.tail = name, output_tail

    def lines(self) -> Iterator[str]:
        """Yield what is said of it to people."""
        such = "" if self.alike else " (one of them)"
        yield one_line(f"{self.count} x {self.kind}: {self.reason}{such}")
        yield from (f"    {one_line(name)}" for name in sorted(self.names))
        if self.count > len(self.names):
            yield f"    ... and {self.count - len(self.names)} more, see the output"
        if self.tail is not None:
            name, tail = self.tail
            yield f"    {one_line(name)} wrote last:"
            yield from (f"        {one_line(text)}" for text in tail.splitlines()[-_TAIL_LINES:])


class Tally:
    """Counts of ends, and the failures grouped by their fingerprint with the names of their inputs."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.counts: Counter[TaskState] = Counter()
        self._groups: dict[str, _Group] = {}

    @property
    def failed(self) -> int:
        """How many inputs failed, timed out ones included."""
        return self.counts[TaskState.FAILED] + self.counts[TaskState.TIMED_OUT]

    @property
    def ended(self) -> int:
        """How many inputs have come to an end."""
        return self.counts.total()

    def add(
        self,
        name: str,
        state: TaskState,
        error: tuple[str, str] | None,
        output_tail: str = "",
        fingerprint: str | None = None,
    ) -> None:
        """Count one input, with type and reason of its error; of a group's first that wrote something, that is told.

        Failures of one `fingerprint` are one group; without one it goes by type and reason.
        """
        self.counts[state] += 1
        if error is not None and state is not TaskState.CANCELLED:
            kind, reason = error
            group = self._groups.setdefault(fingerprint or failure_identity(kind, reason), _Group(kind, reason))
            group.add(name, reason, output_tail)

    def lines(self, elapsed_s: float, stages: int = 1) -> Iterator[str]:
        """Yield the summary for people; where an input has several stages, it says so: sinks count those."""
        ends = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in self._sorted())
        inputs = f"{self.ended} input{'' if self.ended == 1 else 's'}"
        yield f"{inputs}{f', {stages} stages each,' if stages > 1 else ''} in {elapsed_s:.1f} s: {ends}"
        for group in sorted(self._groups.values(), key=lambda group: -group.count):
            yield from group.lines()

    def json(self, elapsed_s: float, run_id: str | None = None) -> str:
        """Return the summary for machines, on one line; with the run's id where it is recorded."""
        groups = [
            {
                "fingerprint": fingerprint,
                "type": group.kind,
                "reason": group.reason,
                "count": group.count,
                "inputs": [safe(name) for name in sorted(group.names)],
            }
            for fingerprint, group in self._groups.items()
        ]
        counts = {state.value: count for state, count in self._sorted()}
        told = {
            "v": 1,
            "type": "inputs_summary",
            "run": run_id,
            "inputs": self.ended,
            "elapsed_s": round(elapsed_s, 3),
            **counts,
            "failures": groups,
        }
        return json.dumps(told)

    def _sorted(self) -> list[tuple[TaskState, int]]:
        return [(state, self.counts[state]) for state in TaskState if self.counts[state]]
