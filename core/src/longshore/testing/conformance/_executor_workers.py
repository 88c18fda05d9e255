"""What tasks have of their worker, and what is told of it. A part of the executors' suite."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Sequence
from contextvars import Context, copy_context
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.records import WorkerStats
from longshore.task import TaskState
from longshore.testing.conformance._executor_suite import (
    ExecutorSuite,
    SuiteRig,
    brief,
    driven,
    error_type,
    not_held,
    not_initialized,
    not_timed,
    not_weighed,
    pickled,
    work,
)

_WEIGHT_MB = 80.0


class WorkerConformance(ExecutorSuite):
    """Workers, as tasks have them and as others see them."""

    @driven()
    async def test_a_task_knows_what_it_is(self, rig: SuiteRig) -> None:
        """`current_task()` has the task's id and name, and the worker that its outcome names; each task its own."""
        outcomes = await rig.all_of([rig.submit(work.facts, name=f"task {n}") for n in range(10)])
        for outcome in outcomes:
            assert outcome.ok, f"report: a task that asks for current_task() ended as {brief(outcome)}"
            told = {name: outcome.value[name] for name in ("task_id", "name", "worker", "left_s", "cancelled")}
            known: dict[str, Any] = {"task_id": outcome.task_id, "name": outcome.name, "worker": outcome.worker}
            wanted = {**known, "left_s": None, "cancelled": False}
            assert told == wanted, f"current_task: says {told} to a task of which {wanted} is so; bind a `worker.Seat`"

    @driven(not_timed)
    async def test_a_task_knows_how_long_it_has(self, rig: SuiteRig) -> None:
        """`time_remaining()` counts down from the timeout, or from what is left of the deadline if that is less."""
        timed = await rig.run(work.facts, timeout_s=60.0)
        expires = await rig.run(work.facts, timeout_s=60.0, left_s=30.0)
        left = [outcome.value and outcome.value["left_s"] for outcome in (timed, expires)]
        assert None not in left, f"current_task: tasks with a limit of time have {left} s left"
        assert 30 < left[0] <= 60, f"current_task: with a timeout of 60 s a task has {left[0]} s left as it begins"
        assert 0 < left[1] <= 30, f"current_task: with 30 s over all attempts a task has {left[1]} s left"

    @driven()
    async def test_progress_is_told_before_the_end(self, rig: SuiteRig) -> None:
        """Of what a task says of its progress the first and the last arrive, in order, before its outcome."""
        task_id = rig.submit(work.tell, 50, number=2)
        outcome = await rig.outcome(task_id)
        assert outcome.value == 50, f"report: a task that tells progress ended as {brief(outcome)}"
        updates = [update for update in rig.host.updates if update.task_id == task_id]
        messages = [update.message for update in updates]
        assert messages, "progress: a task told its progress, and the host was told nothing before its outcome"
        ends = (messages[0], messages[-1])
        assert ends == ("step 1", "step 50"), (
            f"progress: the first and last updates are {ends}; `Seat.finish`, called before the report, sends the last"
        )
        fractions = [update.progress for update in updates]
        assert fractions == sorted(fractions), f"progress: went back: {fractions}"
        assert {update.attempt for update in updates} == {2}, "progress: updates have not the number of the attempt"
        order = [what for what, whose in rig.host.order if whose == task_id]
        assert order[-1] == "outcome", f"progress: {order[::-1].index('outcome')} updates came after the outcome"

    @driven()
    async def test_a_worker_keeps_what_its_tasks_leave(self, rig: SuiteRig) -> None:
        """`worker_state` is one dict for all tasks of a worker, from its first to its last, and no other's."""
        counted: dict[str, list[int]] = defaultdict(list)
        for _ in _rounds(rig):
            for outcome in await rig.each_of(rig.many(work.count, range(10))):
                worker, number = outcome.value
                counted[worker].append(number)
        wrong = {worker: sorted(numbers) for worker, numbers in counted.items() if sorted(numbers) != _to(len(numbers))}
        assert not wrong, f"current_task: the tasks of a worker counted in its worker_state, and came to {wrong}"

    @driven(not_initialized)
    async def test_an_initializer_runs_once_in_each_worker(self, rig: SuiteRig) -> None:
        """Each worker is got ready once, before its first task of the kind, and not again for a later batch."""
        for _ in _rounds(rig):
            ids = rig.many(work.how_often_ready, range(10), initializer=work.get_ready)
            found = {outcome.value for outcome in await rig.each_of(ids)}
            assert found == {1}, (
                f"submit: spec.initializer runs once in each worker; tasks found that it ran {found} times"
            )

    @driven(not_initialized, workers=1)
    async def test_an_initializer_that_fails_is_the_attempts_failure(self, rig: SuiteRig) -> None:
        """What an initializer raises fails the attempt that it ran for; the next attempt tries it again."""
        rig.only_one()
        first = await rig.run(work.double, 1, initializer=work.balk)
        assert first.state is TaskState.FAILED, f"report: the initializer raised, and the attempt is {brief(first)}"
        found = (error_type(first), first.error.message if first.error is not None else "")
        assert found == ("OSError", "no crane"), f"report: the initializer raised OSError('no crane'): {found}"
        again = [await rig.run(work.double, n, initializer=work.balk) for n in range(2 * self.workers + 2)]
        assert any(one.ok for one in again), (
            f"submit: an initializer that failed is tried again, and then succeeds: {[brief(one) for one in again]}"
        )

    @driven(pickled)
    async def test_a_task_sees_its_submitters_context(self, rig: SuiteRig) -> None:
        """A task runs in a copy of its attempt's context, else of its spec's; others don't see what it changes."""
        if self.isolation != "task":
            pytest.skip("tasks with isolation 'shared' share a context")
        stream = rig.attempt(work.look, context=_context("of the stream"))
        own = replace(rig.attempt(work.look, context=_context("of the stream")), context=_context("of the attempt"))
        again = replace(stream, task_id="again")
        batch = [stream, own, again]
        rig.executor.submit(batch)
        seen = [outcome.value for outcome in await rig.all_of([attempt.task_id for attempt in batch])]
        wanted = ["of the stream", "of the attempt", "of the stream"]
        assert seen == wanted, f"submit: context variables are {seen}, not {wanted}: `worker.call_in` calls in a copy"
        mine = work.colour.get()
        assert mine == "none", f"submit: what a task did to a context variable is seen outside: {mine}"

    # ---- as others see them

    @driven()
    async def test_workers_say_what_they_have_done(self, rig: SuiteRig) -> None:
        """There is a row for each worker, of the capabilities' type, with an id of its own and what it has done."""
        await rig.all_of(rig.many(work.double, range(20)))
        await rig.run(work.fail, "wrong")
        await rig.host.until(lambda: _done(rig.executor.workers()) == (20, 1), what="20 completed and 1 failed in rows")
        rows = rig.executor.workers()
        types = {row.worker_type for row in rows}
        assert types == {rig.can.worker_type}, f"workers: the types are {types}, not {rig.can.worker_type!r}"
        ids = [row.worker_id for row in rows]
        assert len(set(ids)) == len(ids), f"workers: ids are not one a worker: {ids}"
        assert len(rows) == rig.at_once, f"workers: {len(rows)} rows, and the host was told of {rig.at_once} workers"

    @driven(not_held)
    async def test_workers_say_what_they_do(self, rig: SuiteRig) -> None:
        """From any thread: a worker that runs something is busy with that task, and for how long; then idle again."""
        task_id = rig.hold("busy")
        await rig.begun("busy")
        await rig.host.until(lambda: _busy(rig.executor.workers(), task_id), what="a busy row with the running task")
        rows, pids = await asyncio.to_thread(lambda: (rig.executor.workers(), rig.executor.pids()))
        [row] = _busy(rows, task_id)
        assert row.running_s is None or row.running_s >= 0, f"workers: running_s is {row.running_s}"
        assert all(isinstance(pid, int) for pid in pids), f"pids: are numbers of processes, not {pids}"
        rig.let_go()
        await rig.outcome(task_id)
        await rig.host.until(lambda: not _busy(rig.executor.workers(), task_id), what="a worker that is idle again")

    @driven()
    async def test_pids_are_those_that_tasks_run_in(self, rig: SuiteRig) -> None:
        """An executor whose workers are processes of their own names them: a task runs in one of those."""
        outcome = await rig.run(work.pid)
        pids = list(rig.executor.pids())
        if not pids:
            pytest.skip("pids() names no processes")
        assert outcome.value in pids, f"pids: are {pids}, and a task ran in process {outcome.value}"
        assert os.getpid() not in pids, f"pids: has the pool's own process {os.getpid()}"

    @driven(not_held)
    async def test_a_worker_that_dies_costs_its_own_attempt(self, rig: SuiteRig) -> None:
        """The attempt of a killed worker fails with WorkerDied; others go on, and there is a worker for the next."""
        victim, bystander = rig.hold("victim"), None
        [pid] = await rig.begun("victim")
        if pid not in rig.executor.pids() or pid == os.getpid():
            pytest.skip("pids() names no process that the task runs in")
        if rig.at_once > 1:
            bystander = rig.hold("bystander")
            await rig.begun("bystander")
        os.kill(pid, signal.SIGKILL)
        died = await rig.outcome(victim)
        found = (died.state, error_type(died))
        assert found == (TaskState.FAILED, "WorkerDied"), f"report: its worker was killed, and it is {brief(died)}"
        rig.let_go()
        if bystander is not None:
            other = await rig.outcome(bystander)
            assert other.value == "late", f"report: another worker was killed, and this one's attempt is {brief(other)}"
        await rig.goes_on("after a worker was killed")
        assert not rig.host.failures, f"failed: for one worker that died: {rig.host.failures}"

    @driven(not_weighed)
    async def test_what_a_task_takes_is_weighed(self, rig: SuiteRig) -> None:
        """`peak_memory_mb` tells by how much a task's worker grew: much of one that takes much."""
        heavy = await rig.run(work.allocate, _WEIGHT_MB, 0.2)
        light = await rig.run(work.nap, 0.05)
        assert heavy.peak_memory_mb is not None, "capabilities.weighs is True, and an outcome has no peak_memory_mb"
        peak = heavy.peak_memory_mb
        assert _WEIGHT_MB / 2 < peak < _WEIGHT_MB * 3, (
            f"report: a task took {_WEIGHT_MB} MB, and is said to have {peak}"
        )
        assert (light.peak_memory_mb or 0.0) < _WEIGHT_MB / 2, (
            f"report: a task that takes next to nothing is said to have taken {light.peak_memory_mb} MB"
        )


def _rounds(rig: SuiteRig) -> range:
    """Return so many rounds that some worker has a part in two of them, whoever takes what."""
    return range(rig.at_once + 1)


def _to(count: int) -> list[int]:
    return list(range(1, count + 1))


def _context(value: str) -> Context:
    context = copy_context()
    context.run(work.colour.set, value)
    return context


def _done(rows: Sequence[WorkerStats]) -> tuple[int, int]:
    return sum(row.tasks_completed for row in rows), sum(row.tasks_failed for row in rows)


def _busy(rows: Sequence[WorkerStats], task_id: str) -> list[WorkerStats]:
    return [row for row in rows if row.current_task == task_id and row.status == "busy"]
