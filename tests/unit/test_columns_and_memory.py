"""Attempts in columns where memory is learnt: whole for as long as it is nobody's matter, one by one where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from longshore._columns import AttemptColumns, OutcomeColumns
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import Command, ExecutorUp, InUse, Measured, Pause, Reported, Settle, Start, Submit
from longshore.records import Load
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

LIMIT_MB = 10_000.0
HEAVY_MB = 3000.0


def work() -> None:
    """Stand for a user's function."""


def spec_of(name: str) -> TaskSpec:
    return TaskSpec(function=work, name=name, executor="quay")


HEAVY, LIGHT = spec_of("heavy"), spec_of("light")


def columns_of(spec: TaskSpec, count: int) -> AttemptColumns:
    return AttemptColumns(spec, [f"{spec.name}-{n}" for n in range(count)], [(n,) for n in range(count)], 0, 0.0)


class Rig:
    """An engine with one executor that tells what memory its tasks take, and what was started and settled."""

    def __init__(self) -> None:
        self.engine = Engine(EngineConfig(max_queue_size=10_000, capacity={"memory": LIMIT_MB}))
        self.now = 0.0
        self.tell(ExecutorUp("quay", 4, True, True, True))

    def tell(self, *stimuli: Any) -> list[Command]:  # Any: stimuli
        self.now += 0.01
        commands = self.engine.handle(stimuli, self.now)
        self.started = [command.attempts for command in commands if isinstance(command, Start)]
        self.settled = [command.outcomes for command in commands if isinstance(command, Settle)]
        return commands

    def submit(self, spec: TaskSpec, attempts: Sequence[Attempt]) -> None:
        self.tell(Submit(spec, attempts))

    def teach(self, spec: TaskSpec, peak_mb: float, count: int = 20) -> None:
        """Have tasks of a spec end one by one that took so much."""
        for number in range(count):
            task = Attempt(f"{spec.name}-taught-{number}", spec)
            self.submit(spec, [task])
            self.tell(Reported("quay", [ended(task, peak_mb)]))


def ended(attempt: Attempt, peak_mb: float | None) -> Outcome:
    name, state = attempt.spec.name, TaskState.COMPLETED
    return Outcome(
        attempt.task_id, None, attempt.index, name, state, attempts=1, ran_s=1.0, peak_memory_mb=peak_mb, worker="w-1"
    )


def test_columns_of_who_takes_little_stay_whole() -> None:
    """Another kind's tasks are admitted by what they take, and those of this one go through as they came."""
    rig = Rig()
    rig.teach(HEAVY, HEAVY_MB)
    rig.submit(LIGHT, columns_of(LIGHT, 100))
    assert rig.started
    assert all(type(part) is AttemptColumns for part in rig.started)
    [part] = rig.started
    assert isinstance(part, AttemptColumns)
    count = len(part)
    outcomes = OutcomeColumns(part, [None] * count, [0.0] * count, [0.1] * count, "w", cpu=True)
    rig.tell(Reported("quay", outcomes))
    assert rig.settled == [outcomes]
    assert outcomes._made is None


def test_columns_of_who_takes_much_are_admitted_one_by_one() -> None:
    """Of a stream of tasks that were seen to take 3 GB each as many start as there is memory for."""
    rig = Rig()
    rig.teach(HEAVY, HEAVY_MB / 1.15)
    rig.submit(HEAVY, columns_of(HEAVY, 100))
    [started] = rig.started
    assert [attempt.task_id for attempt in started] == ["heavy-0", "heavy-1", "heavy-2"]
    assert rig.engine.lent()["memory"] == pytest.approx(3 * HEAVY_MB, rel=0.01)
    why = rig.engine.why("heavy-9", rig.now)
    assert why is not None
    assert "so much its kind was seen to take" in why
    assert "; 6 tasks ahead" in why


def test_columns_that_wait_are_sorted_out_when_their_kind_turns_out_to_take_much() -> None:
    """What waits behind the first of a stream follows what those were seen to take; other streams stay whole."""
    rig = Rig()
    rig.submit(HEAVY, [Attempt("first", HEAVY)])
    rig.tell(Pause())
    rig.submit(HEAVY, columns_of(HEAVY, 100))
    rig.submit(LIGHT, columns_of(LIGHT, 100))
    rig.tell(Reported("quay", [ended(Attempt("first", HEAVY), HEAVY_MB)]))
    lanes = list(rig.engine._dispatch._lanes.values())
    waiting = {lane.key[5].name if lane.key[5] is not None else None: lane for lane in lanes if lane.waits()}
    [light] = [item for queue in waiting[None].queues for item in queue]
    assert isinstance(light, AttemptColumns)
    assert light.spec is LIGHT
    assert all(isinstance(item, Attempt) for queue in waiting["heavy"].queues for item in queue)
    assert rig.engine._dispatch.queued[0] == sum(len([*lane.waiting(p)]) for lane in lanes for p in range(5))


def test_peaks_that_come_with_columns_are_learnt() -> None:
    """Columns may be made of records, and those may say what was taken."""
    rig = Rig()
    rig.submit(HEAVY, columns_of(HEAVY, 4))
    [part] = rig.started
    assert isinstance(part, AttemptColumns)
    for outcomes in OutcomeColumns.of(part, [ended(attempt, HEAVY_MB) for attempt in part]):
        assert type(outcomes) is OutcomeColumns
        rig.tell(Reported("quay", outcomes))
    assert [kind.name for kind in rig.engine._dispatch.aside.kinds] == ["heavy"]


def test_tasks_of_columns_are_known_when_memory_runs_short() -> None:
    """One that runs of a stream may be ended for its memory, and what waits of it is looked at from then on."""
    rig = Rig()
    rig.submit(LIGHT, columns_of(LIGHT, 100))
    [part] = rig.started
    using = {attempt.task_id: InUse(2000.0, 5.0) for attempt in part}
    for _ in range(8):
        rig.now += 1.0
        load = Load(97.0, 75.0, 65.0, 0.0, "%", LIMIT_MB, LIMIT_MB / 75.0)
        commands = rig.tell(Measured({"memory": load}, tasks=using))
        if any(type(command).__name__ == "Shed" for command in commands):
            break
    else:
        pytest.fail("nobody was ended")
    assert all(lane.guessed for lane in rig.engine._dispatch._lanes.values() if lane.waits())
