"""Which span stands for a task: its id and a submitter's span come in, the same span comes out in whatever process.

A sink that makes a span of each task needs that span's ids, and so does the code in the task, whose own spans are to be
its children. Both work them out here, so that nothing travels with a task and nothing is kept of it.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from msgspec import Struct

_TRACE_BYTES, _SPAN_BYTES = 16, 8
_SAMPLED_OF = 1 << 64
"""Of a trace's id the last 64 bits decide, as OpenTelemetry's sampler by ratio has it."""


class SpanPlace(NamedTuple):
    """A span in its trace, by the ids of OpenTelemetry."""

    trace_id: int
    span_id: int
    sampled: bool

    @classmethod
    def read(cls, traceparent: str | None) -> SpanPlace | None:
        """Return what a `traceparent` says, None for None and for what is none."""
        parts = (traceparent or "").split("-")
        try:
            version, trace_id, span_id, flags = (int(part, 16) for part in parts[:4])
        except ValueError:
            return None
        return cls(trace_id, span_id, bool(flags & 1)) if trace_id and span_id and version != 0xFF else None

    @property
    def traceparent(self) -> str:
        """The text that W3C's Trace Context has for it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


class SpanRules(Struct, frozen=True, kw_only=True):
    """How a sink that makes a span of each task wants them placed; see `Sink`."""

    most_children: int = 1000
    """So many tasks of a run are in its trace; each later one has a trace of its own, linked to the run's span."""
    ratio: float = 1.0
    """Of the traces that begin here, the part that is recorded; a trace that began elsewhere has been decided on."""


class TaskSpans(Struct, frozen=True, kw_only=True):
    """Where the spans of a run and of its tasks are."""

    run: SpanPlace
    parent: SpanPlace | None = None
    """The span in which the pool was started, where it was in one."""
    rules: SpanRules = SpanRules()

    @classmethod
    def begin(cls, rules: SpanRules, parent: SpanPlace | None, dice: bytes) -> TaskSpans:
        """Return those of a run that begins in `parent`; `dice` are 24 random bytes, its span's own."""
        trace_id, span_id = _ids(dice)
        if parent is not None:
            return cls(run=SpanPlace(parent.trace_id, span_id, parent.sampled), parent=parent, rules=rules)
        return cls(run=SpanPlace(trace_id, span_id, _is_sampled(trace_id, rules.ratio)), rules=rules)

    def of(self, task_id: str, submitter: SpanPlace | None = None) -> SpanPlace:
        """Return the span of a task, in the trace of `submitter`, the span it was submitted in, where there was one."""
        trace_id, span_id = _ids(hashlib.blake2b(f"{self.run.traceparent} {task_id}".encode(), digest_size=24).digest())
        above = submitter or (self.run if _ordinal(task_id) < self.rules.most_children else None)
        if above is not None:
            return SpanPlace(above.trace_id, span_id, above.sampled)
        return SpanPlace(trace_id, span_id, _is_sampled(trace_id, self.rules.ratio))


def _ids(digest: bytes) -> tuple[int, int]:
    """Return two ids; neither is 0, which is no id."""
    trace_id = int.from_bytes(digest[:_TRACE_BYTES], "big")
    return trace_id or 1, int.from_bytes(digest[_TRACE_BYTES : _TRACE_BYTES + _SPAN_BYTES], "big") or 1


def _is_sampled(trace_id: int, ratio: float) -> bool:
    return trace_id % _SAMPLED_OF < ratio * _SAMPLED_OF


def _ordinal(task_id: str) -> int:
    """Return which task of its run this is, from 0: what comes last in its id."""
    number = task_id.rpartition("-")[2].removeprefix("t")
    try:
        return int(number, 16)
    except ValueError:
        return 0
