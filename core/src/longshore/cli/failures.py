"""`longshore failures`: what failed in a recorded run, the same failures together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any

from cyclopts import Parameter

from longshore._report.untasked import FailedInput, read_failed_inputs
from longshore._report.words import plural
from longshore._run_end import RunEnd, read_end
from longshore.cli.console import ExitCode, line, safe, say, show, show_json
from longshore.cli.journals import find_run, open_archive
from longshore.cli.options import JournalPath, Json, RunName
from longshore.records import JournalQuery
from longshore.task import ErrorRecord, Outcome, TaskState

_INPUTS = 5
"""Inputs named of each group; `--json` has as many as this many times ten."""
_UNKNOWN = ErrorRecord(type="unknown", message="no error is recorded")


@dataclass(slots=True)
class _Group:
    """Failures that are the same: of one type, message and place."""

    fingerprint: str
    example: ErrorRecord
    stages: dict[str, None] = field(default_factory=dict)
    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.count += 1
        self.stages[outcome.name] = None
        if len(self.names) < 10 * _INPUTS:
            self.names.append(outcome.key if outcome.key is not None else f"#{outcome.index}")

    def add_input(self, failed: FailedInput) -> None:
        """Count an input that failed though no task of its did."""
        self.count += 1
        if len(self.names) < 10 * _INPUTS:
            self.names.append(failed.key)

    def facts(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the group for machines."""
        error = self.example
        return {
            "fingerprint": self.fingerprint,
            "count": self.count,
            "type": error.type,
            "message": safe(error.message),
            "reason": error.reason,
            "stages": list(self.stages),
            "inputs": [safe(name) for name in self.names],
            "traceback": safe(error.traceback),
        }

    def lines(self, *, traceback: bool) -> Iterable[str]:
        """Yield the group for people."""
        stages = f"in {', '.join(self.stages)}" if self.stages else "outside of tasks"
        yield line(f"{self.count} x {self.example.type} {stages}  [{self.fingerprint}]")
        yield f"    {line(self.example.message.strip().split(chr(10))[0])}"
        yield from (f"      {line(name)}" for name in self.names[:_INPUTS])
        if self.count > _INPUTS:
            yield f"      ... and {self.count - _INPUTS} more"
        if traceback:
            yield from (f"    | {line(text)}" for text in self.example.traceback.splitlines())


def failures(
    run: RunName = "last",
    /,
    *,
    traceback: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Show the traceback of one of each group.")
    ] = False,
    journal: JournalPath = None,
    json: Json = False,
) -> int:
    """Tell what failed in a run: the same failures together, with an example and the first inputs.

    Inputs that failed though no task of theirs did, such as names that are no files, stand there as well, and so does
    what the whole run ended with, where that failed.

    For example: `longshore failures last`, `longshore failures last --traceback`

    Ends with 0 when nothing failed, and with 1 when something did.
    """
    archive, place = open_archive(journal)
    record = find_run(archive, run)
    query = JournalQuery(run_id=record.run_id, states=(TaskState.FAILED, TaskState.TIMED_OUT))
    redone = {entry.task_id for entry in archive.tasks(query)}  # those that no later task has done again
    outcomes = (outcome for outcome in archive.outcomes(query) if outcome.task_id in redone)
    groups = _grouped(outcomes, read_failed_inputs(archive, record.run_id))
    end = read_end(archive, record)
    if json:
        ended = [_Group("", _of_the_run(end), count=1).facts()] if end.state == "failed" else []
        show_json([*ended, *(group.facts() for group in groups)])
        return ExitCode.SOME_FAILED if groups or ended else ExitCode.OK
    told = [f"the run itself failed: {_of_the_run(end).message}"] if end.state == "failed" else []
    for text in chain(map(line, told), *(group.lines(traceback=traceback) for group in groups)):
        show(text)
    return _summed_up(record.run_id, groups, place.option, itself=bool(told))


def _summed_up(run_id: str, groups: Sequence[_Group], option: str, *, itself: bool) -> ExitCode:
    """Tell how much failed, and how to go on; `itself` says whether the run did."""
    total = sum(group.count for group in groups)
    if not total:
        say(f"longshore: {'no input' if itself else 'nothing'} failed in run {run_id}")
        if not itself:
            return ExitCode.OK
        say(f"longshore: to go on with it: longshore resume {run_id}{option}")
        return ExitCode.SOME_FAILED
    say(f"longshore: {plural(total, 'failure')} of {plural(len(groups), 'kind')} in run {run_id}")
    say(f"longshore: to run them again: longshore resume {run_id} --failed{option}")
    return ExitCode.SOME_FAILED


def _of_the_run(end: RunEnd) -> ErrorRecord:
    return ErrorRecord(type=end.type, message=end.error or "why is not recorded")


def _grouped(outcomes: Iterable[Outcome], inputs: Iterable[FailedInput]) -> Sequence[_Group]:
    """Return the failures by their fingerprints, the most frequent first."""
    groups: dict[str, _Group] = {}
    for outcome in outcomes:
        error = outcome.error or _UNKNOWN
        groups.setdefault(error.fingerprint, _Group(error.fingerprint, error)).add(outcome)
    for failed in inputs:
        error = ErrorRecord(type=failed.type, message=failed.reason)
        groups.setdefault(failed.fingerprint, _Group(failed.fingerprint, error)).add_input(failed)
    return sorted(groups.values(), key=lambda group: -group.count)
