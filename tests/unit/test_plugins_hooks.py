"""Hooks are called by pluggy and guarded by us: one that raises costs nobody but itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from longshore._plugins.hooks import PATIENCE, HookCaller
from longshore.hookspecs import hookimpl
from longshore.records import PoolInfo, RunSnapshot, RunSummary
from longshore.task import Outcome, Task, TaskSpec, TaskState

TASK = Task("t1", TaskSpec(function=print, name="print", executor="threads"))
SNAPSHOT = RunSnapshot(run_id="r", name="run", started=datetime.now(UTC), elapsed_s=0.0)
OUTCOME = Outcome("t1", None, 0, "print", TaskState.COMPLETED)


class Recorder:
    """Implements every hook, each with fewer arguments than it could have."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @hookimpl
    def admit(self, task: Task) -> str | None:
        self.heard.append("admit")
        return None

    @hookimpl
    def route(self) -> str | None:
        self.heard.append("route")
        return None

    @hookimpl
    def task_settled(self, outcome: Outcome) -> None:
        self.heard.append(f"task_settled {outcome.task_id}")

    @hookimpl
    def pool_started(self, pool_info: PoolInfo) -> None:
        self.heard.append("pool_started")

    @hookimpl
    def pool_stopped(self) -> None:
        self.heard.append("pool_stopped")


class Says:
    """Answers `admit` and `route` with a fixed value."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    @hookimpl
    def admit(self, task: Task, snapshot: RunSnapshot) -> Any:
        self.asked += 1
        return self.answer

    @hookimpl
    def route(self, task: Task) -> Any:
        self.asked += 1
        return self.answer


class Raises:
    """Raises in `task_settled` until told to stop."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or RuntimeError("no luck")
        self.broken = True
        self.asked = 0

    @hookimpl
    def task_settled(self, task: Task) -> None:
        self.asked += 1
        if self.broken:
            raise self.error

    @hookimpl
    def admit(self, task: Task) -> str | None:
        self.task_settled(task)
        return None


def test_without_hooks_nothing_is_active() -> None:
    """A pool without hooks can skip the calls altogether, and calling them is harmless."""
    hooks = HookCaller()
    assert (hooks.active, hooks.admit_wanted, hooks.route_wanted, hooks.settled_wanted) == (False,) * 4
    assert hooks.admit(TASK, SNAPSHOT) is None
    assert hooks.route(TASK) is None
    assert list(hooks.notes) == []


def test_wanted_tells_which_hooks_are_implemented() -> None:
    """The hot path asks only for what somebody listens to."""
    hooks = HookCaller([("says", Says(None))])
    assert (hooks.active, hooks.admit_wanted, hooks.route_wanted, hooks.settled_wanted) == (True, True, True, False)


@pytest.mark.requirement("req:K09")
def test_every_hook_reaches_the_plugin_with_the_arguments_it_takes() -> None:
    """A hook may take any of its arguments, or none."""
    recorder = Recorder()
    hooks = HookCaller([("recorder", recorder)])
    hooks.pool_started(PoolInfo(run_id="r", executors={}))
    hooks.admit(TASK, SNAPSHOT)
    hooks.route(TASK)
    hooks.task_settled(TASK, OUTCOME)
    hooks.pool_stopped(RunSummary(snapshot=SNAPSHOT, state="completed"))
    assert recorder.heard == ["pool_started", "admit", "route", "task_settled t1", "pool_stopped"]


def test_the_first_answer_counts_and_ends_the_asking() -> None:
    """`admit` and `route` take the first answer that is not None, in the order the hooks are listed."""
    none, first, second = Says(None), Says("first"), Says("second")
    hooks = HookCaller([("none", none), ("first", first), ("second", second)])
    assert hooks.admit(TASK, SNAPSHOT) == "first"
    assert hooks.route(TASK) == "first"
    assert (none.asked, first.asked, second.asked) == (2, 2, 0)


def test_pluggys_order_marks_are_honoured() -> None:
    """A method marked tryfirst is asked before those that are not, one marked trylast after them."""

    class First:
        @hookimpl(tryfirst=True)
        def route(self) -> str | None:
            return "tryfirst"

    class Last:
        @hookimpl(trylast=True)
        def route(self) -> str | None:
            return "trylast"

    assert HookCaller([("last", Last()), ("plain", Says("plain"))]).route(TASK) == "plain"
    assert HookCaller([("plain", Says("plain")), ("first", First())]).route(TASK) == "tryfirst"


@pytest.mark.parametrize("error", [RuntimeError("no luck"), SystemExit(3), GeneratorExit()])
def test_a_raising_hook_does_not_stop_the_others(error: BaseException) -> None:
    """Whatever one plugin raises, the others are still told, and it is counted."""
    recorder = Recorder()
    hooks = HookCaller([("raises", Raises(error)), ("recorder", recorder)])
    hooks.task_settled(TASK, OUTCOME)
    assert recorder.heard == ["task_settled t1"]
    assert hooks.errors == {"raises": 1}
    assert "hook raises had 1 error" in hooks.notes[0]


def test_a_raising_admit_refuses_nothing() -> None:
    """A broken veto lets work in: the next plugin is asked, and without another reason the task is admitted."""
    assert HookCaller([("raises", Raises())]).admit(TASK, SNAPSHOT) is None
    assert HookCaller([("raises", Raises()), ("says", Says("no"))]).admit(TASK, SNAPSHOT) == "no"


def test_a_keyboard_interrupt_passes() -> None:
    """Ctrl-C is the user's, wherever it lands."""
    with pytest.raises(KeyboardInterrupt):
        HookCaller([("raises", Raises(KeyboardInterrupt()))]).task_settled(TASK, OUTCOME)


def test_an_answer_of_the_wrong_type_counts_as_an_error() -> None:
    """`return True` from a veto is a mistake to be told of, not a reason."""
    hooks = HookCaller([("says", Says(True))])
    assert hooks.admit(TASK, SNAPSHOT) is None
    assert hooks.route(TASK) is None
    assert hooks.errors == {"says": 2}
    assert "answered bool where str or None was due" in hooks.notes[0]


def test_a_hook_that_keeps_failing_is_quarantined(caplog: pytest.LogCaptureFixture) -> None:
    """After PATIENCE failures in a row a plugin is left alone, with one warning and a line for the summary."""
    told: list[tuple[str, str]] = []
    raises, recorder = Raises(), Recorder()
    hooks = HookCaller([("raises", raises), ("rec", recorder)], quarantine=lambda *what: told.append(what))
    for _ in range(PATIENCE + 3):
        hooks.task_settled(TASK, OUTCOME)
    assert raises.asked == PATIENCE
    assert len(recorder.heard) == PATIENCE + 3
    assert [name for name, _ in told] == ["raises"]
    assert len([line for line in caplog.records if "quarantined" in line.getMessage()]) == 1
    assert f"quarantined after {PATIENCE} errors" in hooks.notes[0]


def test_a_quarantined_plugin_is_wanted_no_more() -> None:
    """With its only plugin quarantined, a caller is inactive and the hot path is free again."""
    hooks = HookCaller([("raises", Raises())])
    for _ in range(PATIENCE):
        hooks.admit(TASK, SNAPSHOT)
    assert (hooks.active, hooks.admit_wanted, hooks.settled_wanted) == (False, False, False)


def test_a_success_between_failures_starts_the_count_again() -> None:
    """Only failures in a row lead to quarantine."""
    raises = Raises()
    hooks = HookCaller([("raises", raises)])
    for _ in range(3):
        raises.broken = True
        for _ in range(PATIENCE - 1):
            hooks.task_settled(TASK, OUTCOME)
        raises.broken = False
        hooks.task_settled(TASK, OUTCOME)
    assert hooks.errors == {"raises": 3 * (PATIENCE - 1)}
    assert hooks.settled_wanted


def test_plugins_that_are_equal_or_unhashable_are_kept_apart() -> None:
    """What a plugin's class says of equality does not matter."""

    class Same(Says):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    hooks = HookCaller([("one", Same(None)), ("two", Same("two"))])
    assert hooks.route(TASK) == "two"
