"""Which work a task is, and what a run that goes on has of it already: identities go in, recorded outcomes come out.

What becomes of a task that is recorded, `_engine/recall.py` says; here the recorder is told of it. Used on the loop by
whoever makes tasks; without a journal there is none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from longshore._engine.messages import Past
from longshore._engine.recall import Recall, past_of, restored, unknown
from longshore._runtime.recording import Recorder
from longshore.records import TaskEntry
from longshore.task import Attempt, Outcome, TaskSpec

Identify = Callable[[tuple[Any, ...], Mapping[str, Any] | None], str | None]
"""Returns what identifies a call by the content of its arguments, None where nothing does. Any: the user's."""

_SHORT: Final = 96
_KNOWN_MOST: Final = 256


class Found(NamedTuple):
    """What becomes of a task that is recorded: it ends as `outcome` without being run, or goes on as `attempt`."""

    attempt: Attempt
    outcome: Outcome | None = None
    past: Past | None = None


class Way(NamedTuple):
    """How the calls of a spec are told apart."""

    identify: Identify
    plainly: bool
    """Whether plain arguments say all there is to say, as where a function has nothing in it but its code."""

    def work(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> str | None:  # Any: the user's arguments
        """Return which work a call is; as its plain arguments are written, where they are short."""
        if self.plainly and not kwargs and PLAIN.issuperset(map(type, args)) and len(text := repr(args)) < _SHORT:
            return text
        return self.identify(args, kwargs)


class Identities(Protocol):
    """Says what tasks are by their content."""

    def of(self, spec: TaskSpec) -> Way | None:
        """Return what identifies the calls of a spec; None where nothing can."""


class Recalling:
    """Says of tasks which work they are, and takes what is recorded of it; for the loop's thread."""

    def __init__(self, recorder: Recorder, identities: Identities, recall: Recall | None = None) -> None:
        """Tell `recorder` of each task; `recall` where the run goes on."""
        self._recorder = recorder
        self._identities = identities
        self._known: dict[TaskSpec, Way | None] = {}
        self._recall = recall

    @property
    def goes_on(self) -> bool:
        """Whether any task may be recorded already, so that each is to be asked about."""
        return self._recall is not None

    def notes(self) -> list[str]:
        """Return what a person should know of how the run went on."""
        return self._recall.notes() if self._recall is not None else []

    def many(
        self, spec: TaskSpec, ids: Sequence[str], calls: Sequence[tuple[Any, ...]], keys: Sequence[str | None] | None
    ) -> list[str | None]:
        """Take note of tasks, and return which work each is; their keys stand in where arguments can't say it.

        Any: the user's arguments.
        """
        way, plain = self._of(spec), PLAIN.issuperset
        if way is None:
            found: list[str | None] = [None] * len(ids)
        elif way.plainly:  # as `work` does, and in half the time
            found = [
                text if plain(map(type, args)) and len(text := repr(args)) < _SHORT else way.identify(args, None)
                for args in calls
            ]
        else:
            found = [way.identify(args, None) for args in calls]
        if keys is not None and None in found:
            named = zip(found, keys, strict=True)
            found = [by_key(spec, key) if identity is None else identity for identity, key in named]
        self._recorder.identify(ids, found)
        return found

    def one(self, attempt: Attempt, key: str | None = None, *, fixed: bool = False) -> Found:
        """Take note of a task, and return what becomes of it; its id may become the recorded one, unless `fixed`.

        `key` says what it is, whatever its arguments are.
        """
        identity = by_key(attempt.spec, key)
        if identity is None:
            way = self._of(attempt.spec)
            identity = way.work(attempt.args, attempt.kwargs) if way is not None else None
        if self._recall is None:
            self._recorder.identify((attempt.task_id,), (identity,))
            return Found(attempt)
        return self.ask(attempt, identity, fixed=fixed)

    def ask(self, attempt: Attempt, identity: str | None, *, fixed: bool = False) -> Found:
        """Return what becomes of a task of this identity, in a run that goes on."""
        recorder, recall = self._recorder, self._recall
        if recall is None:
            return Found(attempt)
        kind = recorder.kind(attempt.spec)
        entry = recall.take(kind, identity)
        if entry is None:
            recall.counts["new" if identity is not None else "no identity"] += 1
            recorder.identify((attempt.task_id,), (identity,))
            return Found(attempt)
        word = recall.judge(kind, entry)
        recall.counts[word] += 1
        recorder.forget((attempt.task_id,))
        return self._found(attempt, identity, entry, word, fixed=fixed)

    def _of(self, spec: TaskSpec) -> Way | None:
        if spec not in self._known:
            if len(self._known) >= _KNOWN_MOST:
                self._known.clear()
            self._known[spec] = self._identities.of(spec)
        return self._known[spec]

    def _found(self, attempt: Attempt, identity: str | None, entry: TaskEntry, word: str, *, fixed: bool) -> Found:
        recorder = self._recorder
        past = past_of(entry) if word == "unfinished" else None
        if past is not None:
            attempt = replace(attempt, number=past.number)
        if word in ("unfinished", "unknown", "restored") and not fixed:
            attempt = replace(attempt, task_id=entry.task_id)
            recorder.known(entry.task_id)
        elif word == "restored":
            recorder.read_from(attempt.task_id, entry.task_id)
        else:
            recorder.again(attempt.task_id, entry.task_id)
        recorder.identify((attempt.task_id,), (identity,))
        if word == "restored":
            return Found(attempt, restored(attempt, entry))
        return Found(attempt, unknown(attempt, entry) if word == "unknown" else None, past)


def by_key(spec: TaskSpec, key: str | None) -> str | None:
    """Return the identity of a task that its key says all of."""
    return None if key is None else f"key {spec.name} {key}"


PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose values are told apart, and from each other, by their `repr`."""


def pasts(recalls: Iterable[Found]) -> dict[str, Past]:
    """Return what the engine is to remember of tasks."""
    return {found.attempt.task_id: found.past for found in recalls if found.past is not None}
