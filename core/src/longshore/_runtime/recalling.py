"""Which work a task is, and what a run that goes on has of it already: identities go in, recorded outcomes come out.

A recorded task is found by what it is: the function, the user's tag of its version, and the content of its arguments;
never by its place. What is found is taken, so that the same work asked for twice is found twice only if it was done
twice. Used on the loop by whoever makes tasks; without a journal there is none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from longshore._engine.messages import Past
from longshore._runtime.recording import Recorder
from longshore.errors import JournalError, OutcomeUnknown
from longshore.records import Recalled, TaskEntry, TaskKind
from longshore.task import Attempt, ErrorRecord, Outcome, TaskSpec, TaskState

Identify = Callable[[tuple[Any, ...], Mapping[str, Any] | None], str | None]
"""Returns what identifies a call by the content of its arguments, None where nothing does. Any: the user's."""

_SHORT: Final = 96
_KNOWN_MOST: Final = 256
_RESTORED = (TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT)
_Place = tuple[str, str | None]


class Found(NamedTuple):
    """What becomes of a task that is recorded: it ends as `outcome` without being run, or goes on as `attempt`."""

    attempt: Attempt
    outcome: Outcome | None = None
    past: Past | None = None


class Recall:
    """What is recorded of a run that goes on, by what it is; what was asked for is taken out."""

    def __init__(self, recalled: Recalled, *, failed: bool = False) -> None:
        """Take what the journal has; with `failed`, what failed is to be done again."""
        self._failed = failed
        self._places: dict[_Place, dict[str, list[TaskEntry]]] = {}
        self.counts: Counter[str] = Counter()
        """How many tasks were found and what became of them, by a word for each."""
        entries = list(recalled.tasks)
        redone = {entry.retry_of for entry in entries}
        for entry in entries:
            if entry.identity is not None and entry.task_id not in redone:
                place = self._places.setdefault((entry.kind.function, entry.kind.version), {})
                place.setdefault(entry.identity, []).append(entry)
        for place in self._places.values():
            for found in place.values():
                if len(found) > 1:
                    found.sort(key=_worth)  # what need not be run comes first

    def take(self, kind: TaskKind, identity: str | None) -> TaskEntry | None:
        """Return what is recorded of this work, once."""
        place = self._places.get((kind.function, kind.version))
        if identity is None or place is None:
            return None
        found = place.get(identity)
        if found is None:
            return None
        entry = found.pop(0)
        if not found:
            del place[identity]
        return entry

    def judge(self, kind: TaskKind, entry: TaskEntry) -> str:
        """Return in a word what becomes of a task that is recorded; "restored" and "unknown" run nothing."""
        if kind.version is None and None not in (kind.code, entry.kind.code) and kind.code != entry.kind.code:
            return "changed"
        if entry.state is None:
            return "unknown" if entry.kind.at_most_once and entry.attempts else "unfinished"
        if entry.stale:
            return "stale"
        if entry.state not in _RESTORED:
            return "cancelled"
        if self._failed and entry.state is not TaskState.COMPLETED:
            return "failed"
        return "restored" if entry.kept else "not kept"

    @property
    def left(self) -> int:
        """How many recorded tasks nobody has asked for."""
        return sum(len(found) for place in self._places.values() for found in place.values())

    def notes(self) -> list[str]:
        """Return what a person should know of how the run went on."""
        told = [(self.counts[word], *forms) for word, forms in _WORDS.items()]
        told.append((self.left, *_KEPT))
        return [f"{count} {one if count == 1 else many}" for count, one, many in told if count]


_KEPT: Final = (
    "recorded task stays as it is: nothing asked for it again",
    "recorded tasks stay as they are: nothing asked for them again",
)
_WORDS: Final = {
    "restored": (
        "result was recorded before, and its task not run again",
        "results were recorded before, and their tasks not run again",
    ),
    "unfinished": ("task had not ended, and ran again", "tasks had not ended, and ran again"),
    "unknown": (
        "task had begun and may not run twice: its outcome is unknown",
        "tasks had begun and may not run twice: their outcome is unknown",
    ),
    "changed": (
        "task ran again, since the code of its function has changed",
        "tasks ran again, since the code of their function has changed",
    ),
    "stale": ("task ran again, since its input has changed", "tasks ran again, since their inputs have changed"),
    "failed": ("task that had failed ran again", "tasks that had failed ran again"),
    "cancelled": ("task that had been cancelled ran again", "tasks that had been cancelled ran again"),
    "not kept": (
        "task ran again, since its result could not be stored",
        "tasks ran again, since their results could not be stored",
    ),
    "no identity": (
        "task ran whatever is recorded: nothing says whether it is the same work",
        "tasks ran whatever is recorded: nothing says whether they are the same work",
    ),
}
"""What is said of tasks by what was found of them: of one, and of more."""


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
        past = _past(entry) if word == "unfinished" else None
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
            return Found(attempt, _placeholder(attempt, entry))
        return Found(attempt, _unknown(attempt, entry) if word == "unknown" else None, past)


def by_key(spec: TaskSpec, key: str | None) -> str | None:
    """Return the identity of a task that its key says all of."""
    return None if key is None else f"key {spec.name} {key}"


PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose values are told apart, and from each other, by their `repr`."""


def _worth(entry: TaskEntry) -> int:
    return 0 if entry.state is TaskState.COMPLETED else 1 if entry.state is not None else 2


def _past(entry: TaskEntry) -> Past | None:
    """Return what there was of a task that had not ended; None where it has certainly not begun.

    A first attempt is recorded only once it lasts, so there may have been one that nothing tells of.
    """
    if entry.attempts:
        return Past(entry.attempts + 1, entry.lost, entry.deaths)
    return None if entry.kind.at_most_once else Past(2, 1)


def _placeholder(attempt: Attempt, entry: TaskEntry) -> Outcome:
    """Return an outcome whose value is still to be read."""
    if entry.state is None:
        raise JournalError(f"task {entry.task_id} has no recorded outcome")
    name = attempt.spec.name
    return Outcome(
        attempt.task_id, attempt.key, attempt.index, name, entry.state, attempts=entry.attempts, restored=True
    )


def _unknown(attempt: Attempt, entry: TaskEntry) -> Outcome:
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) may have done its work or not: the run ended under attempt "
        f'{entry.attempts}, and with on_crash="unknown" it is not run again'
    )
    error = ErrorRecord(
        type="longshore.errors.OutcomeUnknown", message=message, reason="unknown", attempt=max(1, entry.attempts)
    )
    return Outcome(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        TaskState.FAILED,
        error=error,
        attempts=max(1, entry.attempts),
        exception=OutcomeUnknown(message, reason="unknown"),
    )


def pasts(recalls: Iterable[Found]) -> dict[str, Past]:
    """Return what the engine is to remember of tasks."""
    return {found.attempt.task_id: found.past for found in recalls if found.past is not None}
