"""What becomes of attempts: results, exceptions, what can't travel. A part of the executors' suite."""

from __future__ import annotations

import functools
from typing import Any

from msgspec.structs import replace

from longshore.errors import PayloadError
from longshore.task import Attempt, TaskState
from longshore.testing.conformance._executor_suite import (
    ExecutorSuite,
    SuiteRig,
    brief,
    driven,
    error_type,
    no_coroutines,
    not_pickled,
    work,
)
from longshore.testing.conformance._host import Function

_MANY = 2000


class TaskConformance(ExecutorSuite):
    """Results and exceptions."""

    @driven()
    async def test_a_result_is_reported_with_its_task(self, rig: SuiteRig) -> None:
        """An outcome says whose it is (id, key, index, name, attempt), what came of it, where, and how long it took."""
        attempt = replace(rig.attempt(work.double, 21, name="doubling"), key="k", index=7)
        rig.executor.submit([attempt])
        outcome = await rig.outcome(attempt.task_id)
        assert (outcome.state, outcome.value, outcome.error) == (TaskState.COMPLETED, 42, None), (
            f"report: 2 * 21 ended as {brief(outcome)}"
        )
        named = (outcome.key, outcome.index, outcome.name, outcome.attempts)
        wanted = ("k", 7, "doubling", 1)
        assert named == wanted, f"report: (key, index, name, attempts) are {named}, and those of the task {wanted}"
        assert outcome.worker, "report: a completed outcome names its worker"
        took = (outcome.queued_s, outcome.ran_s)
        assert min(took) >= 0, f"report: (queued_s, ran_s) are {took}; take both from time.monotonic()"

    @driven()
    async def test_any_callable_is_a_task(self, rig: SuiteRig) -> None:
        """Functions, methods, partials and callable objects run, with their arguments, and keywords as keywords."""
        calls: list[tuple[Function, dict[str, Any]]] = [
            (work.double, {}),
            (work.double, {"plus": 1}),
            (functools.partial(work.double, plus=1), {}),
            (work.Doubler().method, {}),
            (work.Doubler(), {}),
        ]
        values = [(await rig.run(function, 21, kwargs=kwargs or None)).value for function, kwargs in calls]
        assert values == [42, 43, 43, 42, 42], f"submit: a function, one with a keyword, a partial, … gave {values}"

    @driven(no_coroutines)
    async def test_coroutine_functions_run(self, rig: SuiteRig) -> None:
        """What `capabilities.runs` names runs: a coroutine function is awaited to its end."""
        ids = rig.many(work.double_later, range(20))
        values = [outcome.value for outcome in await rig.all_of(ids)]
        assert values == [2 * x for x in range(20)], f"submit: coroutine functions that return 2 * x gave {values}"

    @driven()
    async def test_thousands_are_each_reported_once(self, rig: SuiteRig) -> None:
        """Thousands of short attempts in one batch, in columns where those are read, give each its own result, once."""
        outcomes = await rig.all_of(rig.many(work.double, range(_MANY)))
        wrong = [(x, brief(outcome)) for x, outcome in enumerate(outcomes) if outcome.value != 2 * x]
        assert not wrong, f"report: of {_MANY} attempts {len(wrong)} have not their own result, such as {wrong[:3]}"
        indexes = [outcome.index for outcome in outcomes]
        assert indexes == list(range(_MANY)), "report: outcomes have not the index of their task"
        assert rig.host.empty_reports == 0, f"report: was called {rig.host.empty_reports} times with no outcome"

    @driven()
    async def test_attempts_without_columns_do_as_well(self, rig: SuiteRig) -> None:
        """A plain list of attempts is taken too, whatever `capabilities.columns` says, and a list of none."""
        batch = rig.attempts(work.double, [(x,) for x in range(50)])
        rig.executor.submit([])
        rig.executor.submit(batch)
        values = [outcome.value for outcome in await rig.all_of([attempt.task_id for attempt in batch])]
        assert values == [2 * x for x in range(50)], f"submit: a list of 50 attempts gave {values}"

    @driven()
    async def test_each_outcome_is_its_own_tasks(self, rig: SuiteRig) -> None:
        """In one batch each failure is that of the task that failed, and costs no other one its result."""
        outcomes = await rig.all_of(rig.many(work.fail_thirds, range(60)))
        found = [outcome.value if outcome.ok else outcome.error and outcome.error.message for outcome in outcomes]
        wanted = [2 * x if x % 3 else f"no {x}" for x in range(60)]
        assert found == wanted, f"report: each third of 60 was to fail, saying its number: {found}"

    @driven(workers=1)
    async def test_attempts_begin_in_the_order_they_came(self, rig: SuiteRig) -> None:
        """One worker begins attempts as they were submitted, batch after batch."""
        rig.only_one()
        path = rig.folder / "order"
        batches = [rig.attempts(work.note, [(path, str(n)) for n in numbers]) for numbers in (range(20), range(20, 30))]
        for batch in batches:
            rig.executor.submit(batch)
        await rig.all_of([attempt.task_id for batch in batches for attempt in batch])
        begun = [int(line) for line in path.read_text("utf-8").split()]
        assert begun == list(range(30)), f"submit: takes attempts in their order, and they began as {begun}"

    # ---- exceptions

    @driven()
    async def test_an_exception_is_reported_as_it_was_raised(self, rig: SuiteRig) -> None:
        """What a task raises is there with its type and arguments, and in words, with the traceback."""
        outcome = await rig.run(work.fail, "wrong berth", 3)
        assert outcome.state is TaskState.FAILED, f"report: a task that raised ended as {brief(outcome)}"
        error = outcome.exception
        assert type(error) is ValueError, f"report: the exception of a task that raised a ValueError is {error!r}"
        assert error.args == ("wrong berth", 3), f"report: the exception lost its arguments: {error.args}"
        record = outcome.error
        assert record is not None, "report: a failed outcome has an ErrorRecord: `worker.failed` makes one"
        assert record.type == "ValueError", f"report: the record's type is {record.type!r}, of a ValueError"
        assert "wrong berth" in record.message, f"report: the record's message is {record.message!r}"
        assert "in fail" in record.traceback, f"report: the traceback does not lead to the function: {record.traceback}"

    @driven()
    async def test_a_retry_says_which_attempt_it_is(self, rig: SuiteRig) -> None:
        """The number of the try is in the outcome and its error, and known to the task."""
        right = await rig.run(work.facts, number=3)
        wrong = await rig.run(work.fail, "again", number=2)
        assert wrong.error is not None, f"report: a task that raised ended as {brief(wrong)}"
        numbers = (right.attempts, right.value["attempt"], wrong.attempts, wrong.error.attempt)
        assert numbers == (3, 3, 2, 2), (
            f"report: (attempts, task.attempt) of a third try and (attempts, error.attempt) of a second are {numbers}"
        )

    @driven()
    async def test_what_ends_a_program_ends_one_task(self, rig: SuiteRig) -> None:
        """SystemExit, KeyboardInterrupt and GeneratorExit fail the task that raised them, and nothing else."""
        for name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
            outcome = await rig.run(work.end_all, name)
            found = (outcome.state, error_type(outcome))
            assert found == (TaskState.FAILED, name), f"report: a task that raised {name} ended as {brief(outcome)}"
            await rig.goes_on(f"after a task that raised {name}")

    @driven()
    async def test_a_task_may_say_that_it_is_cancelled(self, rig: SuiteRig) -> None:
        """A task that raises TaskCancelled is cancelled, not failed, and is not tried again for it."""
        outcome = await rig.run(work.give_up)
        assert outcome.state is TaskState.CANCELLED, f"report: a task that raised TaskCancelled is {brief(outcome)}"

    # ---- what can't travel

    @driven(not_pickled)
    async def test_a_result_that_can_not_travel_costs_its_own_task(self, rig: SuiteRig) -> None:
        """A result that can't be pickled, or not unpickled, is its own task's PayloadError; others have theirs."""
        bad = [rig.submit(work.unfit, kind) for kind in ("pickle", "load")]
        good = rig.many(work.double, range(20))
        for outcome in await rig.all_of(bad):
            self._check_payload(outcome, "a result")
        values = [outcome.value for outcome in await rig.all_of(good)]
        assert values == [2 * x for x in range(20)], f"report: beside results that can't travel others gave {values}"

    @driven(not_pickled)
    async def test_a_call_that_can_not_travel_costs_its_own_task(self, rig: SuiteRig) -> None:
        """`submit` does not raise for a function or argument that can't be pickled, or loaded: its task fails."""
        batch = rig.attempts(work.double, [(1,), (work.Refuses(),), (work.BadToLoad(),), (2,)])
        odd = rig.attempt(work.Refuses(), name="refuses")
        self._submit(rig, batch)
        self._submit(rig, [odd])
        first, refused, unloaded, last, function = await rig.all_of([one.task_id for one in [*batch, odd]])
        assert (first.value, last.value) == (2, 4), (
            f"report: the neighbours of what can't travel ended as {brief(first)}, {brief(last)}"
        )
        for outcome, what in ((refused, "an argument"), (unloaded, "an argument"), (function, "a function")):
            self._check_payload(outcome, what)

    @staticmethod
    def _submit(rig: SuiteRig, batch: list[Attempt]) -> None:
        try:
            rig.executor.submit(batch)
        except Exception as error:
            raise AssertionError(f"submit: never raises for a task, and raised {error!r}") from error

    @staticmethod
    def _check_payload(outcome: Any, what: str) -> None:  # Any: an Outcome; its type would be that of `brief` only
        assert isinstance(outcome.exception, PayloadError), (
            f"report: {what} that can't travel is a PayloadError of its task, which ended as {brief(outcome)}"
        )
