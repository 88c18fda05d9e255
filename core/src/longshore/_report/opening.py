"""A recorded run, opened for a report: its store filled, and what its record says of itself."""

from __future__ import annotations

import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from longshore._faults import HIDDEN_WORDS, is_secret
from longshore._report.gather import Handover, Source
from longshore._report.records import Environment, RunFacts
from longshore._report.untasked import read_failed_inputs, read_left_inputs
from longshore._report.words import encodable
from longshore._run_end import RunEnd, read_end
from longshore._setup import chosen
from longshore.hookspecs import Archive
from longshore.records import JournalQuery, RunRecord
from longshore.runs import RecordedRun, RunStore

MASK = "•••"
_COMMAND = "command"
"""The state that `longshore run` records of itself."""
_GIVEN = re.compile(rf"([\w.-]*(?:{HIDDEN_WORDS})[\w.-]*=).+", re.IGNORECASE | re.DOTALL)


@contextmanager
def opened(archive: Archive, run_id: str) -> Iterator[Source]:
    """Read a run into a store, which is gone afterwards; JournalError if it is not there, or damaged."""
    recorded = RecordedRun(archive, run_id)
    store = RunStore()
    try:
        for batch in recorded.events():
            store.take(batch)
        yield Source(
            run=facts_of(
                recorded.record,
                recorded.state,
                commanded=bool(archive.states(run_id, (_COMMAND,))),
                end=read_end(archive, recorded.record),
            ),
            store=store,
            environment=environment_of(recorded.record),
            history=recorded.history(),
            handovers=_handovers(archive, run_id),
            failed_inputs=read_failed_inputs(archive, run_id),
            left_inputs=read_left_inputs(archive, recorded.record),
            now=time.time() if recorded.state == "running" else None,
        )
    finally:
        store.close()


def facts_of(record: RunRecord, state: str, *, commanded: bool = False, end: RunEnd | None = None) -> RunFacts:
    """Return which run it is; what looks like a secret in its command is masked."""
    return RunFacts(
        run_id=record.run_id,
        name=encodable(record.name),
        state=state,
        started=record.started,
        ended=record.ended,
        generation=record.generation,
        host=record.host,
        command=_command(record.command),
        error=encodable(end.error) if end is not None and end.error is not None else None,
        error_type=end.type if end is not None else "",
        commanded=commanded,
    )


def _command(words: Sequence[str]) -> list[str]:
    told = [encodable(_GIVEN.sub(rf"\g<1>{MASK}", word)) for word in words]
    for place, word in enumerate(words[:-1]):
        if word.startswith("--") and "=" not in word and is_secret(word):
            told[place + 1] = MASK
    return told


def environment_of(record: RunRecord) -> Environment:
    """Return with what a run was done: versions, and the settings that are not the defaults."""
    settings = _masked(record.settings)
    text = msgspec.json.encode(settings, order="sorted")
    return Environment(
        versions=dict(record.versions),
        settings=chosen(settings),
        settings_hash=hashlib.sha256(text).hexdigest(),
    )


def _masked(value: Any, name: str = "") -> Any:  # Any: JSON-safe values
    if isinstance(value, Mapping):
        return {encodable(key): _masked(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    if isinstance(value, str):
        return MASK if value and is_secret(name) else encodable(value)
    return value


def _handovers(archive: Archive, run_id: str) -> dict[tuple[str, str], Handover]:
    """Return by stage what tasks that needed one attempt waited between leaving the queue and beginning in a worker."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for trace in archive.traces(JournalQuery(run_id=run_id)):
        if trace.redone or trace.ended_at is None or trace.ran_s is None or len(trace.tries) != 1:
            continue
        started = trace.tries[0].started
        if started is not None and trace.attempts == 1 and trace.worker is not None:
            stage = (trace.kind.name, trace.kind.executor)
            seconds[stage] += max(0.0, trace.ended_at - trace.ran_s - started)
            counts[stage] += 1
    return {stage: Handover(total, counts[stage]) for stage, total in seconds.items()}
