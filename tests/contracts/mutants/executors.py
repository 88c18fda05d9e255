"""Executors that break one promise each: most are threads, with somebody between them and the pool who meddles."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from longshore.events import ProgressUpdate
from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, hookimpl
from longshore.records import WorkerStats
from longshore.task import Attempt, Outcome, TaskState
from longshore.testing import ExecutorConformance
from longshore_processes import ProcessesExecutor
from longshore_threads import ThreadsExecutor
from msgspec.structs import replace
from mutants import _executors_life as life
from mutants._meddling import THREADS, Between, Meddling, claiming, giving, telling


class Quick(ExecutorConformance):
    timeout_s = 0.05


SUITE: Final = Quick
GOOD: Final = ThreadsExecutor


# ---- what all plugins keep


class Unmarked(ThreadsExecutor):
    """its `pids` is not marked with @hookimpl"""

    def pids(self) -> Sequence[int]:
        return ()


class OfTheFuture(ThreadsExecutor):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(ThreadsExecutor):
    """starts a thread when it is made"""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


# ---- attempts and outcomes


class Repeating(Meddling):
    """reports the last of many outcomes twice"""

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [*outcomes, *outcomes[-1:]] if any(outcome.index == 1999 for outcome in outcomes) else outcomes


class ColumnsOnly(ThreadsExecutor):
    """loses attempts that come as a list"""

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        if not isinstance(attempts, list) or len(attempts) == 1:
            super().submit(attempts)


class Confusing(Meddling):
    """tells the first failure of all that fail"""

    first: Outcome | None = None

    def told(self, outcome: Outcome) -> Outcome:
        if outcome.ok:
            return outcome
        self.first = self.first or outcome
        return replace(outcome, error=self.first.error)


class LastFirst(ThreadsExecutor):
    """begins with the last of a batch"""

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        super().submit(list(attempts)[::-1])


class Raising(ThreadsExecutor):
    """raises from `submit` for what can't be pickled"""

    capabilities: Capabilities = replace(THREADS, pickles=True)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            pickle.dumps((attempt.spec.function, attempt.args))
        super().submit(attempts)


def reworded(outcome: Outcome) -> Outcome:
    """Return an outcome with another exception of the same text."""
    error = outcome.exception
    return outcome if error is None else replace(outcome, exception=RuntimeError(str(error)))


# ---- limits


class DeafToWaiting(ThreadsExecutor):
    """cancels only what runs"""

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        running = {row.current_task for row in self.workers()}
        super().cancel(replace(request, task_ids=[task_id for task_id in request.task_ids if task_id in running]))


class DeafToRunning(ThreadsExecutor):
    """cancels only what waits"""

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        running = {row.current_task for row in self.workers()}
        super().cancel(replace(request, task_ids=[task_id for task_id in request.task_ids if task_id not in running]))


class Obedient(Meddling):
    """reports whatever it is to cancel as cancelled, whether it is there or not"""

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        super().cancel(request)
        held = {attempt.task_id for attempt in self._backlog} | {row.current_task for row in self.workers()}
        strangers = [task_id for task_id in request.task_ids if task_id not in held]
        if strangers:
            self.host.report([Outcome(name, None, 0, "task", TaskState.CANCELLED) for name in strangers])


class Insistent(Meddling):
    """reports an attempt each time that it is cancelled"""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: dict[str, Outcome] = {}

    def told(self, outcome: Outcome) -> Outcome:
        if outcome.state is TaskState.CANCELLED:
            self.cancelled[outcome.task_id] = outcome
        return outcome

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        again = [self.cancelled[task_id] for task_id in request.task_ids if task_id in self.cancelled]
        if again:
            self.host.report(again)
        super().cancel(request)


# ---- workers


class Late(Meddling):
    """tells progress after the outcome"""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[ProgressUpdate] = []

    def said(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressUpdate]:
        self.updates += updates
        return updates[:1] if len(self.updates) == 1 else ()

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        self.host.report(outcomes)
        if len(self.updates) > 1:
            self.host.progress(self.updates[1:])
        return ()


class Forgetful(Meddling):
    """has nothing of what tasks left in a worker, once it has reported"""

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        for seat in self._seats.values():
            seat.state.clear()
        return outcomes


class Doubtful(Meddling):
    """gets workers ready again for each batch"""

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        for seat in self._seats.values():
            seat.prepared.clear()
        return outcomes


def forgiving(initializer: Callable[[], object]) -> Callable[[], object]:
    """Return an initializer that does not fail."""

    def forgiven() -> None:
        with suppress(OSError):
            initializer()

    return forgiven


def unready(attempt: Attempt) -> Attempt:
    """Return an attempt whose initializer does not fail."""
    initializer = attempt.spec.initializer
    spec = attempt.spec if initializer is None else replace(attempt.spec, initializer=forgiving(initializer))
    return replace(attempt, spec=spec)


class Mistyped(ThreadsExecutor):
    """says of its workers that they are of another type than its capabilities say"""

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        return [replace(row, worker_type="other") for row in super().workers()]


class Secretive(ThreadsExecutor):
    """does not say which task a worker runs"""

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        return [replace(row, current_task=None) for row in super().workers()]


class Impostor(ThreadsExecutor):
    """names a process as its worker's that runs nothing for it"""

    @hookimpl
    def pids(self) -> Sequence[int]:
        return (1,)


class Silenced(ProcessesExecutor):
    """does not say that a worker died, and has its task fail by itself"""

    patience_s = 30.0

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        await super().start(BlamingHost(host))


class BlamingHost(Between):
    """Tells a worker's death as the task's own failure."""

    def __init__(self, host: ExecutorHost) -> None:
        self._host = host
        self.loop, self.workers = host.loop, host.workers
        self.notice, self.failed, self.resized, self.progress = host.notice, host.failed, host.resized, host.progress

    def report(self, outcomes: Sequence[Outcome]) -> None:
        self._host.report([self._blamed(outcome) for outcome in outcomes])

    def _blamed(self, outcome: Outcome) -> Outcome:
        error = outcome.error
        return outcome if error is None else replace(outcome, error=replace(error, type="RuntimeError"))


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": Unmarked,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_a_result_is_reported_with_its_task": telling(
        "reports outcomes without their keys", lambda outcome: replace(outcome, key=None)
    ),
    "test_any_callable_is_a_task": giving("drops keywords", lambda attempt: replace(attempt, kwargs=None)),
    "test_coroutine_functions_run": claiming(
        "says that it runs coroutine functions, and does not", runs=frozenset({"function", "coroutine"})
    ),
    "test_thousands_are_each_reported_once": Repeating,
    "test_attempts_without_columns_do_as_well": ColumnsOnly,
    "test_each_outcome_is_its_own_tasks": Confusing,
    "test_attempts_begin_in_the_order_they_came": LastFirst,
    "test_an_exception_is_reported_as_it_was_raised": telling("puts an exception into words of its own", reworded),
    "test_a_retry_says_which_attempt_it_is": telling(
        "reports each attempt as the first", lambda outcome: replace(outcome, attempts=1)
    ),
    "test_what_ends_a_program_ends_one_task": telling(
        "loses an attempt that raised no Exception",
        lambda outcome: outcome if isinstance(outcome.exception, Exception | None) else None,
    ),
    "test_a_task_may_say_that_it_is_cancelled": telling(
        "has a task that raises TaskCancelled fail",
        lambda outcome: replace(outcome, state=TaskState.FAILED) if outcome.exception is not None else outcome,
    ),
    "test_a_result_that_can_not_travel_costs_its_own_task": claiming(
        "says that results leave the process, and gives them as they are", pickles=True
    ),
    "test_a_call_that_can_not_travel_costs_its_own_task": Raising,
    "test_a_timeout_ends_the_attempt": telling(
        "has an attempt fail that timed out",
        lambda one: replace(one, state=TaskState.FAILED) if one.state is TaskState.TIMED_OUT else one,
    ),
    "test_a_timeout_does_what_the_capability_says": claiming("says that it kills, and abandons", timeout="kill"),
    "test_the_deadline_over_all_attempts_holds": giving(
        "knows no deadline over all attempts", lambda attempt: replace(attempt, expires_at=None)
    ),
    "test_what_waits_is_cancelled": DeafToWaiting,
    "test_what_runs_is_cancelled": DeafToRunning,
    "test_cancelling_what_is_not_there_is_harmless": Obedient,
    "test_cancelling_twice_is_one_end": Insistent,
    "test_a_task_that_takes_too_much_is_ended": claiming(
        "says that it limits memory, and does not", limits_memory=True
    ),
    "test_a_task_knows_what_it_is": telling(
        "names another worker than the task's own", lambda outcome: replace(outcome, worker="somebody")
    ),
    "test_a_task_knows_how_long_it_has": giving(
        "keeps limits of time from tasks", lambda one: replace(one, spec=replace(one.spec, timeout_s=None))
    ),
    "test_progress_is_told_before_the_end": Late,
    "test_a_worker_keeps_what_its_tasks_leave": Forgetful,
    "test_an_initializer_runs_once_in_each_worker": Doubtful,
    "test_an_initializer_that_fails_is_the_attempts_failure": giving(
        "takes no notice of an initializer that fails", unready
    ),
    "test_a_task_sees_its_submitters_context": giving(
        "runs tasks in no context",
        lambda one: replace(one, context=None, spec=replace(one.spec, context=None)),
    ),
    "test_workers_say_what_they_have_done": Mistyped,
    "test_workers_say_what_they_do": Secretive,
    "test_pids_are_those_that_tasks_run_in": Impostor,
    "test_a_worker_that_dies_costs_its_own_attempt": Silenced,
    "test_what_a_task_takes_is_weighed": claiming("says that it weighs what tasks take, and does not", weighs=True),
    "test_all_workers_work_at_once": life.OneLess,
    "test_no_more_at_once_than_there_are_workers": life.OneMore,
    "test_resizing_loses_nothing": life.Careless,
    "test_more_workers_work_at_once": life.Boastful,
    "test_fewer_workers_take_less_at_once": life.Clinging,
    "test_the_limit_holds": life.Unlimited,
    "test_stop_reports_what_it_holds_as_cancelled": life.Mute,
    "test_stop_may_come_at_any_time": life.Strict,
    "test_nothing_is_left_after_stop": life.Lingering,
}
