"""Journals that lose a part of what is committed together: of each kind of record the first, the last, or others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from longshore.hookspecs import hookimpl
from longshore.records import CommitBatch, JournalQuery, Recalled, RunOpening, RunRecord, Settled, TaskEntry, TaskTrace
from longshore.task import Outcome
from longshore.testing.journal import MemoryArchive
from msgspec.structs import replace
from mutants._keeping import GoodJournal, misread

_PARTS: Final = ("accepted", "started", "tried", "settled", "states")
_CUTS: Final = {"the first": slice(1), "all but the last": slice(-1)}
Change = Callable[[CommitBatch, set[str]], CommitBatch]
"""What is recorded in place of a batch, where the journal has tasks of these ids."""


def recording(wrong: str, change: Change) -> type[GoodJournal]:
    """Return a journal that records what `change` makes of each batch, and says itself what is wrong with it."""

    class Recording(GoodJournal):
        @hookimpl
        def commit(self, batch: CommitBatch) -> None:
            known = set(self._runs[batch.run_id].tasks)
            left = change(batch, known)
            known |= {one.task_id for one in left.accepted}
            of_known = {
                name: [one for one in getattr(left, name) if one.task_id in known] for name in ("started", "tried")
            }
            super().commit(replace(left, **of_known))

    Recording.__doc__ = wrong
    return Recording


def cut(part: str, cut_to: slice) -> Change:
    """Return what keeps of one kind of record in a batch so many, where there are several."""

    def change(batch: CommitBatch, known: set[str]) -> CommitBatch:
        found: Any = getattr(batch, part)
        if len(found) < 2:
            return batch
        if isinstance(found, Mapping):
            return replace(batch, **{part: dict(list(found.items())[cut_to])})
        return replace(batch, **{part: found[cut_to]})

    return change


def cuts(part: str) -> list[type[GoodJournal]]:
    return [recording(f"records {what} of `CommitBatch.{part}`", cut(part, cut_to)) for what, cut_to in _CUTS.items()]


def in_groups(cut_to: slice) -> Change:
    """Return what keeps so many outcomes of each group that has several."""

    def cut_group(group: Settled) -> Settled:
        if len(group.outcomes) < 2:
            return group
        return Settled(group.kind, group.outcomes[cut_to], group.identities[cut_to])

    return lambda batch, known: replace(batch, settled=list(map(cut_group, batch.settled)))


def one_of_a_kind(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, settled=list({group.kind: group for group in batch.settled}.values()))


def one_attempt(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, started=list({one.task_id: one for one in batch.started}.values()))


def one_end(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, tried=list({one.task_id: one for one in reversed(batch.tried)}.values()))


def no_identities(batch: CommitBatch, known: set[str]) -> CommitBatch:
    settled = [
        replace(one, identities=[*one.identities[:1], *[None] * (len(one.identities) - 1)]) for one in batch.settled
    ]
    return replace(batch, settled=settled)


def of_one_kind(batch: CommitBatch, known: set[str]) -> CommitBatch:
    """Of all groups the kind of the first."""
    return replace(batch, settled=[replace(group, kind=batch.settled[0].kind) for group in batch.settled])


def nothing_beside(part: str, *others: str) -> Change:
    """Return what leaves a kind of record out of a batch that has another kind as well."""
    return lambda batch, known: replace(batch, **{part: ()}) if any(getattr(batch, one) for one in others) else batch


def no_states_beside(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, states={}) if batch.settled else batch


def outcomes_of_known(batch: CommitBatch, known: set[str]) -> CommitBatch:
    """Outcomes of those only that were not told of in an earlier batch."""

    def new(group: Settled) -> Settled:
        pairs = zip(group.outcomes, group.identities, strict=True)
        kept = [pair for pair in pairs if pair[0].task_id not in known]
        return Settled(group.kind, [one for one, _ in kept], [identity for _, identity in kept])

    return replace(batch, settled=list(map(new, batch.settled)))


def ends_of_new(batch: CommitBatch, known: set[str]) -> CommitBatch:
    begun = {(one.task_id, one.number) for one in batch.started}
    return replace(batch, tried=[one for one in batch.tried if (one.task_id, one.number) in begun])


def first_tries(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, tried=[one for one in batch.tried if one.number < 4])


def ends_alone(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, settled=(), accepted=()) if batch.ended is not None else batch


def lists_only(batch: CommitBatch, known: set[str]) -> CommitBatch:
    return replace(batch, settled=[group for group in batch.settled if isinstance(group.outcomes, list)])


def no_large(batch: CommitBatch, known: set[str]) -> CommitBatch:
    def small(outcome: Outcome) -> Outcome:
        long = isinstance(outcome.value, str | list) and len(outcome.value) > 250_000
        return replace(outcome, value=outcome.value[:250_000]) if long else outcome

    return replace(batch, settled=[replace(one, outcomes=list(map(small, one.outcomes))) for one in batch.settled])


class Full(GoodJournal):
    """records the first 39 batches of a run, and no more"""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self._count = 0

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        self._count += 1
        if self._count <= 39:
            super().commit(batch)


class Sudden(GoodJournal):
    """takes the first batch of a run for its opening, where others have come before it is closed"""

    @hookimpl
    def close(self) -> None:
        if self._open is not None and len(self.batches) > 3:
            first = self.batches[0]
            for outcome in first.outcomes:
                self._open.outcomes.pop(outcome.task_id, None)
        super().close()


class Finished(GoodJournal):
    """records nothing of tasks that come when a run has gone on"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        if self._runs[batch.run_id].record.generation == 1:
            super().commit(batch)


class Fresh(GoodJournal):
    """forgets which attempts began before a run went on"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        if run.resume and run.run_id in self._runs:
            kept = self._runs[run.run_id]
            kept.tasks = {
                name: replace(one, attempts=0) if one.state is None else one for name, one in kept.tasks.items()
            }
        return super().open(run)


class LastUnread(MemoryArchive):
    """yields all outcomes but the last"""

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        return iter(list(super().outcomes(query))[:-1])


class OneTask(MemoryArchive):
    """yields the tasks of the first kind only"""

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        found = list(super().tasks(query))
        return (one for one in found if one.kind == found[0].kind)


class LastTry(MemoryArchive):
    """tells of the last two attempts of a task"""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        return (replace(one, tries=one.tries[-2:]) for one in super().traces(query))


class Unstated(MemoryArchive):
    """gives one state, however many were asked for"""

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
        return super().states(run_id, names[:1])


class Miscounting(MemoryArchive):
    """counts only the tasks that ended"""

    def run(self, run_id: str) -> RunRecord:
        found = super().run(run_id)
        return replace(found, counts={state: n for state, n in found.counts.items() if state != "unfinished"})


def hundred(part: str) -> type[GoodJournal]:
    return recording(f"records a hundred of `CommitBatch.{part}`, and no more", cut(part, slice(100)))


OF_BATCHES: Final[Mapping[str, Sequence[Callable[..., Any]]]] = {
    "test_all_of_a_mixed_batch_is_recalled": [
        *(mutant for part in _PARTS[:-1] for mutant in cuts(part)),
        recording("records the last group of outcomes of each kind in a batch", one_of_a_kind),
        recording("records the first end of an attempt of each task in a batch", one_end),
        recording("records the identity of the first outcome in a group", no_identities),
        recording("records all outcomes of a batch as of the kind of the first", of_one_kind),
        recording("records no task as accepted where outcomes are in the batch", nothing_beside("accepted", "settled")),
        recording("records no attempt as begun where outcomes are in the batch", nothing_beside("started", "settled")),
        recording("records no attempt as ended where outcomes are in the batch", nothing_beside("tried", "settled")),
        recording("records no outcome where attempts ended in the batch", nothing_beside("settled", "tried")),
    ],
    "test_all_of_a_mixed_batch_is_given_again": [
        *cuts("settled"),
        *(recording(f"records {what} of the outcomes in a group", in_groups(part)) for what, part in _CUTS.items()),
        recording("records no outcome of a task that it was told of in an earlier batch", outcomes_of_known),
    ],
    "test_all_of_a_mixed_batch_is_read_by_others": [
        *(mutant for part in _PARTS for mutant in cuts(part)),
        recording("records the last beginning of each task in a batch", one_attempt),
        *map(misread, (LastUnread, OneTask, LastTry, Unstated, Miscounting)),
    ],
    "test_states_are_recorded_beside_all_else": [
        *cuts("states"),
        recording("records no state where outcomes are in the batch", no_states_beside),
    ],
    "test_many_of_each_kind_are_kept_together": list(map(hundred, _PARTS)),
    "test_a_task_is_recorded_by_many_batches": [
        recording("records no end of an attempt that began in an earlier batch", ends_of_new),
        recording("records the ends of the first three attempts of a task", first_tries),
        recording("records no outcome of a task that it was told of in an earlier batch", outcomes_of_known),
    ],
    "test_each_of_many_batches_is_recorded": [
        Full,
        Sudden,
        recording("records of the batch that ends the run nothing but that", ends_alone),
    ],
    "test_a_run_that_goes_on_records_what_comes": [Finished, Fresh],
    "test_outcomes_in_columns_are_recorded": [recording("records outcomes that come as a list only", lists_only)],
    "test_large_values_come_back": [recording("cuts values down to a quarter of a million", no_large)],
}
