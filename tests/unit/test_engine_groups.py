"""Groups of tasks in the engine: held and released as one, in the order of their oldest, the higher rank first."""

from __future__ import annotations

import pytest
from longshore._engine.engine import Engine
from longshore._engine.messages import Cancel, Command, Drain, ExecutorUp, Pause, Reported, Start, Submit, Tick, Unpause
from longshore.task import Attempt, Outcome, Priority, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


def spec_of(name: str, group: str | None = "one", rank: int = 0, **options: object) -> TaskSpec:
    return TaskSpec(function=work, name=name, executor="quay", group=group, rank=rank, **options)  # type: ignore[arg-type]  # as given


def submit(engine: Engine, spec: TaskSpec, now: float, *names: str) -> None:
    engine.handle([Submit(spec, [Attempt(name, spec, queued_at=now) for name in names])], now)


def started(commands: list[Command]) -> list[str]:
    return [attempt.task_id for command in commands if isinstance(command, Start) for attempt in command.attempts]


def in_order(engine: Engine, now: float) -> list[str]:
    """Return what one worker is given, one after another."""
    order = started(engine.handle([ExecutorUp("quay", 1)], now))
    for name in order:
        spec = next(attempt.spec for attempt in engine.live() if attempt.task_id == name)
        order += started(
            engine.handle([Reported("quay", [Outcome(name, None, 0, spec.name, TaskState.COMPLETED)])], now)
        )
    return order


@pytest.mark.parametrize("waited_s", [0.0, 60.0])
def test_the_higher_rank_of_a_group_goes_first(waited_s: float) -> None:
    """However long the lower rank has waited; equal ranks keep the order they came in."""
    engine = Engine()
    submit(engine, spec_of("first", rank=0), 0.0, "a0", "b0")
    submit(engine, spec_of("last", rank=2), waited_s, "a2")
    submit(engine, spec_of("second", rank=1), waited_s, "a1", "b1")
    assert in_order(engine, waited_s) == ["a2", "a1", "b1", "a0", "b0"]


def test_a_group_takes_its_turn_by_its_oldest_task() -> None:
    """Others wait for what is older of a group, not for what is of a higher rank and came later."""
    engine = Engine()
    submit(engine, spec_of("first"), 0.0, "old")
    submit(engine, spec_of("plain", group=None), 0.1, "plain")
    submit(engine, spec_of("first"), 0.2, "young")
    submit(engine, spec_of("last", rank=1), 0.3, "late")
    assert in_order(engine, 0.4) == ["late", "old", "plain", "young"]


def test_rank_counts_within_a_group_and_priority_only() -> None:
    """Without a group it says nothing, and the urgent go first."""
    engine = Engine()
    submit(engine, spec_of("x", group=None), 0.0, "plain")
    submit(engine, spec_of("x", group=None, rank=9), 0.1, "ranked")
    submit(engine, spec_of("x", rank=9), 0.2, "low rank 9")
    submit(engine, spec_of("x", rank=0, priority=Priority.HIGH), 0.3, "high")
    assert in_order(engine, 0.4) == ["high", "plain", "ranked", "low rank 9"]


@pytest.mark.requirement("req:J05")
def test_a_held_group_starts_nothing_and_holds_up_nobody() -> None:
    """What waits of the group stays, another group and plain tasks go on; released, it goes on where it was."""
    engine = Engine()
    engine.handle([Pause("one"), ExecutorUp("quay", 2)], 0.0)
    submit(engine, spec_of("held"), 0.0, "held", "cancelled")
    submit(engine, spec_of("other", group="two"), 0.0, "other")
    submit(engine, spec_of("plain", group=None), 0.0, "plain")
    assert sorted(name for name in ("held", "other", "plain") if engine.is_running(name)) == ["other", "plain"]
    outcomes = [Outcome(name, None, 0, name, TaskState.COMPLETED) for name in ("other", "plain")]
    assert started(engine.handle([Reported("quay", outcomes), Tick()], 1.0)) == []
    assert engine.held_because() == "paused: the run of a pipeline"
    engine.handle([Cancel(["cancelled"])], 1.0)
    assert started(engine.handle([Unpause("one")], 2.0)) == ["held"]


def test_a_pool_that_ends_releases_what_is_held() -> None:
    """What was accepted goes on to its end, although nobody is left to release it."""
    engine = Engine()
    engine.handle([Pause("one"), ExecutorUp("quay", 1)], 0.0)
    submit(engine, spec_of("held"), 0.0, "held")
    assert started(engine.handle([Drain()], 1.0)) == ["held"]


def test_groups_share_a_number_and_not_a_rate() -> None:
    """A rate belongs to one group; how many of a name may run at once counts over all groups."""
    engine = Engine()
    engine.handle([ExecutorUp("quay", 9)], 0.0)
    for group in ("one", "two"):
        submit(engine, spec_of("rated", group, max_per_second=1.0), 0.0, f"{group} rated", f"{group} rated later")
        submit(engine, spec_of("few", group, concurrent_limit=1), 0.0, f"{group} few")
    running = [name for name in ("one rated", "two rated", "one few", "two few") if engine.is_running(name)]
    assert running == ["one rated", "two rated", "one few"]
    assert not engine.is_running("one rated later")


def test_stages_of_one_processor_share_its_number() -> None:
    """How many tasks of a processor may run at once counts over all stages and groups that name it."""
    engine = Engine()
    engine.handle([ExecutorUp("quay", 9)], 0.0)
    for group in ("one", "two"):
        submit(engine, spec_of(f"stage of {group}", group, concurrent_limit=1, processor="ocr"), 0.0, group)
    assert [engine.is_running("one"), engine.is_running("two")] == [True, False]


def test_what_is_over_leaves_nothing_of_its_group() -> None:
    """Lanes of a group are dropped when nothing waits or runs there."""
    engine = Engine()
    for number in range(50):
        submit(engine, spec_of("work", f"group {number}"), 0.0, f"task {number}")
    assert len(in_order(engine, 0.0)) == 50
    assert engine._dispatch._lanes == engine._dispatch._groups == {}
