"""How long inputs took in earlier runs of the same target, and so how long each will likely take now.

In: the archive, a job's target and inputs. Out: a forecast, which the order of the inputs and the first estimate of the
run's end go by. Nothing of it decides what is done.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Final, NamedTuple, Self

from longshore._objects import ObjectFacts
from longshore.cli.objects import place_of
from longshore.cli.recorded import read_run
from longshore.errors import JournalError
from longshore.hookspecs import Archive
from longshore.records import JournalQuery, TaskTrace
from longshore.task import TaskState

LOOKED_AT: Final = 50
"""So many of the newest runs are looked at for runs of the same target."""
READ_MOST: Final = 5
"""So many of these are read, the newest first."""
TASKS_MOST: Final = 50_000
"""And so many tasks in all: reading one takes 8 us."""
_ALIKE_LEAST = 3  # inputs of one suffix that tell what a byte of it takes; with fewer, all inputs do
_Input = tuple[str, int]
"""An input: its whole path, and its size."""
_NONE: Final[Mapping[str, ObjectFacts]] = {}
_ENDED = (TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT)


class Target(NamedTuple):
    """What is called: a pipeline, or `module:function`, which another folder may mean another one by."""

    name: str
    folder: str

    def is_of(self, name: str, folder: str) -> bool:
        """Tell whether a recorded command called the same."""
        return name == self.name and (":" not in name or folder == self.folder)


class _Took:
    """What an input took, while it had one size, in the runs that were read."""

    def __init__(self) -> None:
        self._completed: dict[str, list[float]] = defaultdict(list)
        self._cut_short: dict[str, list[float]] = defaultdict(list)

    def add(self, trace: TaskTrace) -> None:
        """Count a task, with all its attempts."""
        seconds = (trace.ran_s or 0.0) + sum(one.ran_s or 0.0 for one in trace.tries)
        found = self._completed if trace.state is TaskState.COMPLETED else self._cut_short
        found[trace.kind.name].append(seconds)

    def stages(self) -> dict[str, float]:
        """Return the median by stage; what did not complete takes no less than it ran, and than what completed."""
        told = {}
        for stage in dict.fromkeys((*self._completed, *self._cut_short)):
            completed = self._completed.get(stage, [])
            usual = median(completed) if completed else 0.0
            told[stage] = median([*completed, *(max(usual, ran) for ran in self._cut_short.get(stage, ()))])
        return told


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long inputs will likely take."""

    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By input and stage."""
    recorded: int = 0
    """How many of the inputs took so long before; that of the others follows from their size."""
    runs: Sequence[str] = ()
    """The runs that say so, the newest first."""

    def total_s(self, path: str) -> float | None:
        """Return what all stages of an input will take; None where nothing says."""
        stages = self.seconds.get(path)
        return None if stages is None else sum(stages.values())

    @classmethod
    def read(
        cls, archive: Archive, target: Target, paths: Sequence[str], objects: Mapping[str, ObjectFacts] = _NONE
    ) -> Self:
        """Return what the newest runs of a target say of these inputs: of the same path and size, else by size.

        `objects` is what is known of those that are URLs.

        JournalError where no run can be listed; one that can't be read is passed over.
        """
        history = _History(archive, target)
        if not history.took:
            return cls()
        took = {at: one.stages() for at, one in history.took.items()}
        rates = _Rates(took)
        seconds, recorded, here = {}, 0, os.getcwd()
        for path in paths:
            size = _size(path, objects)
            known = took.get((place_of(here, path), size))
            recorded += known is not None
            if size >= 0:
                seconds[path] = known or rates.of(path, size)
        return cls(seconds, recorded, history.runs)


class _History:
    """What is recorded of the newest runs of a target."""

    def __init__(self, archive: Archive, target: Target) -> None:
        self.took: dict[_Input, _Took] = defaultdict(_Took)
        self.runs: list[str] = []
        self._left = TASKS_MOST
        for run in archive.runs(newest=LOOKED_AT):
            if len(self.runs) == READ_MOST or self._left <= 0:
                break
            if run.name == target.name:
                with suppress(JournalError):
                    self._read(archive, target, run.run_id)

    def _read(self, archive: Archive, target: Target, run_id: str) -> None:
        recorded = read_run(archive, run_id)
        if recorded is None or not target.is_of(recorded.command.target, recorded.command.folder):
            return
        folder = recorded.command.folder
        inputs = {each.path: (place_of(folder, each.path), each.size) for each in recorded.inputs}
        for trace in islice(archive.traces(JournalQuery(run_id=run_id, states=_ENDED)), self._left):
            self._left -= 1
            if not trace.redone and trace.key in inputs:
                self.took[inputs[trace.key]].add(trace)
                if run_id not in self.runs[-1:]:
                    self.runs.append(run_id)


class _Rates:
    """What a byte takes, by stage and suffix of the file's name: the median, in seconds."""

    def __init__(self, took: Mapping[_Input, Mapping[str, float]]) -> None:
        by_suffix: dict[tuple[str, str], list[float]] = defaultdict(list)
        by_stage: dict[str, list[float]] = defaultdict(list)
        for (place, size), stages in took.items():
            for stage, seconds in stages.items() if size > 0 else ():
                by_suffix[_suffix(place), stage].append(seconds / size)
                by_stage[stage].append(seconds / size)
        self._by_stage = {stage: median(rates) for stage, rates in by_stage.items()}
        self._by_suffix = {at: median(rates) for at, rates in by_suffix.items() if len(rates) >= _ALIKE_LEAST}

    def of(self, path: str, size: int) -> dict[str, float]:
        """Return what the stages of a file will take."""
        suffix = _suffix(path)
        return {stage: size * self._by_suffix.get((suffix, stage), rate) for stage, rate in self._by_stage.items()}


def ordered(paths: Iterable[str], forecast: Forecast, objects: Mapping[str, ObjectFacts] = _NONE) -> list[str]:
    """Return the paths, what takes longest first: by the forecast, by size where that knows nothing, else as given."""

    def weight(path: str) -> tuple[float, int]:
        return forecast.total_s(path) or 0.0, _size(path, objects)

    return sorted(paths, key=weight, reverse=True)


def order_told(forecast: Forecast, target: str) -> str:
    """Return the line that says what the order goes by."""
    if not forecast.runs:
        return f"order: by size, for no earlier run of {target} is recorded"
    newest, *others = forecast.runs
    them = newest if not others else f"{newest} and {len(others)} other{'s' if len(others) > 1 else ''}"
    count, inputs = forecast.recorded, len(forecast.seconds)
    if count == inputs:
        return f"order: all {inputs} inputs by how long they took in run {them}"
    if not count:
        return f"order: by size and kind of file, and what such took in run {them}"
    return f"order: {count} of {inputs} inputs by how long they took in run {them}, the rest by size"


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _size(path: str, objects: Mapping[str, ObjectFacts]) -> int:
    if path in objects:
        return objects[path].size
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1
