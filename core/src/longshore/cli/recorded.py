"""What a run of the command is, as its journal keeps it: target, options, settings and inputs, to go on with later.

In: a job. Out: named states that are recorded in one step with the run's beginning; and from these, what has changed
since. No code is kept, only digests of it.
"""

from __future__ import annotations

import os
import platform
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Struct

from longshore._calling import JsonCall
from longshore._fetching import FetchingCall
from longshore._fingerprints import Fingerprint, fingerprint, glimpse, is_same
from longshore._identity import NoIdentity, code_digest
from longshore._objects import ObjectFacts
from longshore._report.untasked import FAILED_INPUTS, LEFT_INPUTS, FailedInput, as_state, from_state, key_of
from longshore.errors import JournalError
from longshore.hookspecs import Archive, Journal
from longshore.pipeline import Step
from longshore.records import CommitBatch, JournalQuery, Recalled, RunOpening, TaskEntry, TaskKind
from longshore.task import Outcome, TaskState

COMMAND: Final = "command"
_INPUTS, _STALE = "inputs", "stale"
_OFTEN: Final = 8
"""Failed inputs are recorded anew once so large a part of them has changed: an eighth."""
_READING_S: Final = 0.5
_READ_BYTES_MOST: Final = 1 << 28
_NO_TEXT: Final = "\0"  # before the digits of a name that is no UTF-8: no name begins so


class StepRecord(Struct, frozen=True):
    """A step of the run's pipeline."""

    name: str
    code: str | None
    """Digest of what it calls; None where that can't be told."""

    @classmethod
    def of(cls, step: Step) -> StepRecord:
        """Return what is recorded of a step."""
        function = step.function
        while isinstance(function, FetchingCall | JsonCall):
            function = function.function
        return cls(step.name, code_digest(function))


class CommandRecord(Struct, frozen=True, kw_only=True):
    """What was called, and with what."""

    target: str
    folder: str
    """The current folder then, from which names of files and modules count."""
    output: str | None
    options: Mapping[str, Any]  # Any: the options' own
    table: Mapping[str, Any]  # Any: JSON-safe values
    """The settings that were set anywhere."""
    steps: Sequence[StepRecord]
    inputs: int
    python: str = ""
    lists: Sequence[str] = ()
    """The kinds of plugins that a list chose: their table above says no more of that."""


class Allowance:
    """How long inputs may be read as a run begins, so that later their content tells whether they have changed.

    Half a second in all, and no file of more than 256 MiB: the run begins late by that. What is over goes by its times.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now."""
        self._clock = clock
        self._until = clock() + _READING_S

    def covers(self, size: int) -> bool:
        """Tell whether a file of so many bytes may be read now."""
        return size <= _READ_BYTES_MOST and self._clock() < self._until


class InputRecord(Struct, frozen=True, array_like=True):
    """An input: a file or an object as it was when the run began, or a name that was none."""

    name: str
    size: int = -1
    file: Fingerprint | None = None
    """With its content where there was time, or the times don't tell it from one written a moment later."""
    reason: str | None = None
    """Why a name from stdin was no file."""
    tag: str | None = None
    """Of an object: the store's mark of what it held."""

    @classmethod
    def of(
        cls,
        path: str,
        allowance: Allowance,
        reason: str | None = None,
        facts: ObjectFacts | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> InputRecord:
        """Look at a file, and into it as far as `allowance` goes; of an object `facts` is what the store says."""
        if facts is not None:
            return cls(_text(path), facts.size, reason=reason, tag=facts.tag)
        try:
            found = glimpse(path, clock_ns=clock_ns)
        except (OSError, ValueError, NoIdentity):
            return cls(_text(path), reason=reason)
        if not found.settled or allowance.covers(found.size):
            with suppress(OSError, NoIdentity):  # it can't be read, or is being written: its times have to do
                found = fingerprint(path, clock_ns=clock_ns)
        return cls(_text(path), found.size, found, reason)

    @property
    def path(self) -> str:
        """The name, as the system has it."""
        return os.fsdecode(bytes.fromhex(self.name[1:])) if self.name.startswith(_NO_TEXT) else self.name

    @property
    def facts(self) -> ObjectFacts:
        """What the store said, if it is an object."""
        return ObjectFacts(self.size, self.tag)

    def has_changed(self) -> bool:
        """Tell whether the file is another by now, as far as can be seen; one that is gone has not changed."""
        if not _is_file(self.path):
            return False
        try:
            return self.file is None or not is_same(self.path, self.file)
        except (OSError, NoIdentity):  # it can't be read by now, or is being written
            return True


class RecordedRun(Struct, frozen=True, kw_only=True):
    """A run of the command, read back."""

    command: CommandRecord
    inputs: Sequence[InputRecord]
    stale: frozenset[str]
    """Tasks whose inputs had changed when the run last went on."""


def states_of(
    command: CommandRecord, inputs: Iterable[InputRecord], stale: Collection[str] = ()
) -> Mapping[str, Any]:  # Any: JSON-safe values
    """Return what is recorded with the beginning of a run."""
    told = {COMMAND: command, _INPUTS: list(inputs), _STALE: sorted(stale)}
    return {name: msgspec.to_builtins(value) for name, value in told.items()}


def read_command(archive: Archive, run_id: str) -> CommandRecord | None:
    """Return which command a run was begun with; None for one that another program began."""
    found = archive.states(run_id, (COMMAND,)).get(COMMAND)
    command: CommandRecord | None = _convert(found, CommandRecord | None, run_id)
    return command


def read_run(archive: Archive, run_id: str) -> RecordedRun | None:
    """Return all that is recorded of a run of the command; None for one that another program began."""
    command = read_command(archive, run_id)
    if command is None:
        return None
    states = archive.states(run_id, (_INPUTS, _STALE))
    inputs = _convert(states.get(_INPUTS, ()), list[InputRecord], run_id)
    return RecordedRun(command=command, inputs=inputs, stale=frozenset(states.get(_STALE, ())))


def _convert(value: object, kind: Any, run_id: str) -> Any:  # Any: a type, and a value of it
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = f"what is recorded of the command of run {run_id} can't be read by this version: {error}"
        raise JournalError(text, reason="unreadable", run_id=run_id) from error


def python_version() -> str:
    """Return the version of Python that digests of code hold for."""
    return ".".join(platform.python_version_tuple()[:2])


def stale_tasks(archive: Archive, run_id: str, changed: Collection[str]) -> set[str]:
    """Return the recorded tasks that worked on inputs which have changed since."""
    if not changed:
        return set()
    return {entry.task_id for entry in archive.tasks(JournalQuery(run_id=run_id)) if entry.key in changed}


class CommandJournal:
    """A journal that records with the run what the command is to do; the rest it leaves to the one it was given."""

    api: int = 1

    def __init__(self, journal: Journal, states: Mapping[str, Any], stale: frozenset[str] = frozenset()) -> None:
        """Record `states` as the run begins or goes on; have the tasks `stale` run again. Any: JSON-safe values."""
        self._journal = journal
        self._states = states
        self._stale = stale
        self._kinds: dict[TaskKind, TaskKind] = {}
        self.run_id: str | None = None
        """The run that was opened; None before."""
        self.cut_short = False
        """Whether the run is being ended before its inputs were, which the pool cannot know."""
        self.left_inputs: int | None = None
        """How many inputs have no result yet; None as long as that is not known."""
        self._failed: dict[str, FailedInput] = {}
        self._changes = self._recorded = 0

    def note_input(self, name: str, failed: FailedInput | None) -> None:
        """Take note of how an input ended: `failed` though no task of its did, or otherwise, as tasks or nobody tell.

        The next commit has it, or a later one where there are many; the last one has all.
        """
        key = key_of(name)
        if failed is None:
            self._changes += self._failed.pop(key, None) is not None
        else:
            self._failed[key] = failed
            self._changes += 1

    def open(self, run: RunOpening) -> Recalled:
        """Begin the run, or go on with it."""
        opening = msgspec.structs.replace(run, states={**run.states, **self._states})
        recalled = self._journal.open(opening)
        self.run_id = run.run_id
        self._failed = {one.key: one for one in _failed_inputs(recalled, run.run_id)}
        self._recorded = len(self._failed)
        return msgspec.structs.replace(recalled, tasks=[self._seen(entry) for entry in recalled.tasks])

    def commit(self, batch: CommitBatch) -> None:
        """Make the batch last."""
        if batch.ended == "completed" and self.cut_short:
            batch = msgspec.structs.replace(batch, ended="stopped")
        if batch.ended is not None and self.left_inputs is not None:
            batch = msgspec.structs.replace(batch, states={**batch.states, LEFT_INPUTS: self.left_inputs})
        if self._changes and (batch.ended is not None or self._changes * _OFTEN >= self._recorded):
            batch = msgspec.structs.replace(batch, states={**batch.states, FAILED_INPUTS: self._failed_now()})
        self._journal.commit(batch)

    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        """Return recorded outcomes."""
        return self._journal.load(query)

    def close(self) -> None:
        """Let go of the run."""
        self._journal.close()

    def archive(self) -> Archive:
        """Return a reader of all runs."""
        return self._journal.archive()

    def _failed_now(self) -> list[Any]:  # Any: JSON-safe values
        self._changes = 0
        failed = list(self._failed.values())
        self._recorded = len(failed)
        return as_state(failed)

    def _seen(self, entry: TaskEntry) -> TaskEntry:
        """Return the entry as the command sees it: code is compared once for all, and told, and decides nothing."""
        kind = self._kinds.get(entry.kind)
        if kind is None:
            kind = self._kinds[entry.kind] = msgspec.structs.replace(entry.kind, code=None)
        return msgspec.structs.replace(entry, kind=kind, stale=entry.task_id in self._stale)


def failed_input(name: str, state: TaskState, error: tuple[str, str] | None) -> FailedInput | None:
    """Return what is recorded of an input that failed though no task of its did; None for one that did not fail."""
    if state not in (TaskState.FAILED, TaskState.TIMED_OUT):
        return None
    kind, reason = error or (state.value, state.value)
    return FailedInput(key=key_of(name), state=state.value, type=key_of(kind), reason=key_of(reason))


def _failed_inputs(recalled: Recalled, run_id: str) -> list[FailedInput]:
    try:
        return from_state(recalled.states.get(FAILED_INPUTS))
    except msgspec.ValidationError as error:
        text = f"what is recorded of the inputs of run {run_id} that failed can't be read by this version: {error}"
        raise JournalError(text, reason="unreadable", run_id=run_id) from error


def _text(path: str) -> str:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return _NO_TEXT + os.fsencode(path).hex()
    return path


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
