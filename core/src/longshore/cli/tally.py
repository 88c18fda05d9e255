"""What became of a run's inputs, and how that is told at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from longshore.cli.console import line as one_line
from longshore.cli.console import safe
from longshore.task import TaskState

_NAMES = 50
"""Names listed of one group of failures; the output has them all."""
_TAIL_LINES = 30
"""Lines shown of what one input of a group wrote last."""


class Tally:
    """Counts of ends, and the failures grouped by type and reason with the names of their inputs."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.counts: Counter[TaskState] = Counter()
        self._groups: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._tails: dict[tuple[str, str], tuple[str, str]] = {}

    @property
    def failed(self) -> int:
        """How many inputs failed, timed out ones included."""
        return self.counts[TaskState.FAILED] + self.counts[TaskState.TIMED_OUT]

    @property
    def ended(self) -> int:
        """How many inputs have come to an end."""
        return self.counts.total()

    def add(self, name: str, state: TaskState, error: tuple[str, str] | None, output_tail: str = "") -> None:
        """Count one input; of a group's first that wrote something, the last lines of that are told."""
        self.counts[state] += 1
        if error is not None and state is not TaskState.CANCELLED:
            count, names = self._groups.get(error, (0, []))
            if len(names) < _NAMES:
                names.append(name)
            self._groups[error] = (count + 1, names)
            if output_tail:
                self._tails.setdefault(error, (name, output_tail))

    def lines(self, elapsed_s: float, stages: int = 1) -> Iterator[str]:
        """Yield the summary for people; where an input has several stages, it says so: sinks count those."""
        ends = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in self._sorted())
        inputs = f"{self.ended} input{'' if self.ended == 1 else 's'}"
        yield f"{inputs}{f', {stages} stages each,' if stages > 1 else ''} in {elapsed_s:.1f} s: {ends}"
        for (kind, reason), (count, names) in sorted(self._groups.items(), key=lambda group: -group[1][0]):
            yield one_line(f"{count} x {kind}: {reason}")
            yield from (f"    {one_line(name)}" for name in sorted(names))
            if count > len(names):
                yield f"    ... and {count - len(names)} more, see the output"
            if (kind, reason) in self._tails:
                name, tail = self._tails[kind, reason]
                yield f"    {one_line(name)} wrote last:"
                yield from (f"        {one_line(text)}" for text in tail.splitlines()[-_TAIL_LINES:])

    def json(self, elapsed_s: float) -> str:
        """Return the summary for machines, on one line."""
        groups = [
            {"type": kind, "reason": reason, "count": count, "inputs": [safe(name) for name in sorted(names)]}
            for (kind, reason), (count, names) in self._groups.items()
        ]
        counts = {state.value: count for state, count in self._sorted()}
        told = {
            "v": 1,
            "type": "inputs_summary",
            "inputs": self.ended,
            "elapsed_s": round(elapsed_s, 3),
            **counts,
            "failures": groups,
        }
        return json.dumps(told)

    def _sorted(self) -> list[tuple[TaskState, int]]:
        return [(state, self.counts[state]) for state in TaskState if self.counts[state]]
