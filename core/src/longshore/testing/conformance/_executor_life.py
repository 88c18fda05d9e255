"""Starting, resizing, limiting and stopping. A part of the executors' suite."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from longshore.hookspecs import Executor
from longshore.task import TaskState
from longshore.testing.conformance._executor_suite import (
    ExecutorSuite,
    MakeExecutor,
    SuiteRig,
    brief,
    check_cut_short,
    driven,
    gone,
    most_at_once,
    not_cancelled,
    not_held,
    raised,
    work,
)

_NAP_S = 0.01


class LifeConformance(ExecutorSuite):
    """From start to stop."""

    @driven(not_held)
    async def test_all_workers_work_at_once(self, rig: SuiteRig) -> None:
        """As many attempts run at once as `host.resized` tells of workers."""
        busy = await rig.occupied()
        rig.let_go()
        values = [outcome.value for outcome in await rig.all_of(busy)]
        assert values == ["late"] * len(busy), f"report: attempts that ran at once gave {values}"

    @driven()
    async def test_no_more_at_once_than_there_are_workers(self, rig: SuiteRig) -> None:
        """However many attempts wait, no more run at once than there are workers, as the host was told."""
        most = await _most_of(rig, 5 * rig.at_once)
        assert most <= rig.at_once, f"submit: {most} attempts ran at once, and there are {rig.at_once} workers"

    @driven()
    async def test_resizing_loses_nothing(self, rig: SuiteRig) -> None:
        """With more workers and with fewer each attempt ends once; the host is told how many there are."""
        ids = rig.many(work.nap, [_NAP_S / 4] * 20)
        for wanted in (rig.at_once + 1, 1):
            self._resize(rig, wanted)
            ids += rig.many(work.nap, [_NAP_S / 4] * 10)
        outcomes = await rig.all_of(ids)
        wrong = [brief(outcome) for outcome in outcomes if not outcome.ok]
        assert not wrong, f"resize: attempts that were there ended as {wrong[:3]}"
        sizes = rig.host.sizes
        await rig.host.until(lambda: len(sizes) > 1, what="resize: another number of workers, by `host.resized`,")

    @driven(not_held)
    async def test_more_workers_work_at_once(self, rig: SuiteRig) -> None:
        """When the host has been told of more workers, so many attempts run at once."""
        before = rig.at_once
        self._resize(rig, before + 1)
        await rig.host.until(
            lambda: rig.at_once == before + 1, what=f"resize: `host.resized` with {before + 1} workers"
        )
        await rig.occupied()

    @driven()
    async def test_fewer_workers_take_less_at_once(self, rig: SuiteRig) -> None:
        """With fewer workers what runs goes on, and then no more run at once than there are."""
        await rig.all_of(rig.many(work.nap, [_NAP_S / 10] * 4 * rig.at_once))
        self._resize(rig, 1)
        await rig.host.until(lambda: rig.at_once == 1, what="resize: `host.resized` with 1 worker")
        most = await _most_of(rig, 5)
        assert most == 1, f"resize: to one worker, and {most} attempts ran at once"

    @staticmethod
    def _resize(rig: SuiteRig, workers: int) -> None:
        try:
            rig.resize(workers)
        except RuntimeError as error:
            pytest.skip(f"the number of workers is not this executor's to change: {error}")

    @driven(not_held)
    async def test_the_limit_holds(self, rig: SuiteRig) -> None:
        """With `limit` 0 nothing begins, with 1 one at a time; without one all work again. Attempts wait meanwhile."""
        if not rig.limits:
            pytest.skip("it has no `limit`, which is optional")
        path = rig.folder / "begun"
        rig.limit(0)
        first, second = rig.submit(work.note, path, "first"), rig.submit(work.note, path, "second")
        rig.cancel(first)
        check_cut_short(await rig.outcome(first), TaskState.CANCELLED, "cancelled")
        assert not path.exists(), f"limit: to 0 workers, and there began {path.read_text('utf-8').split()}"
        rig.limit(1)
        outcome = await rig.outcome(second)
        assert outcome.ok, f"limit: from 0 to 1, and what had waited ended as {brief(outcome)}"
        most = await _most_of(rig, 5)
        assert most == 1, f"limit: to 1 worker, and {most} attempts ran at once"
        rig.limit(None)
        await rig.occupied()

    # ---- stopping

    @driven()
    async def test_stop_reports_what_it_holds_as_cancelled(self, rig: SuiteRig) -> None:
        """When `stop` has returned, each attempt that still ran or waited is reported, once, as cancelled."""
        held = not_held(rig.can) is None and not_cancelled(rig.can) is None
        ids = await rig.occupied() if held else []
        ids += rig.many(work.nap, [_NAP_S] * 5)
        await rig.executor.stop(time.monotonic() + self.patience_s)
        missing = [task_id for task_id in ids if not rig.of(task_id)]
        assert not missing, f"stop: returned, and {len(missing)} of {len(ids)} attempts were not reported"
        states = {outcome.state for outcome in await rig.all_of(ids)}
        may_be = {TaskState.CANCELLED} if held else {TaskState.CANCELLED, TaskState.COMPLETED}  # naps may have ended
        assert states <= may_be, f"stop: what it held is cancelled, not {states}"

    def test_stop_may_come_at_any_time(self, make_executor: MakeExecutor, tmp_path: Path) -> None:
        """An executor that was never started can be stopped, and one that has stopped once more."""
        executor = make_executor()
        error = _raised_by_stop(executor)
        assert error is None, f"stop: of an executor that was never started raised {error!r}"
        again = make_executor()

        async def body(rig: SuiteRig) -> None:
            await rig.goes_on("after its start")

        self.drive(body, again, tmp_path)
        error = _raised_by_stop(again)
        assert error is None, f"stop: a second time raised {error!r}"

    def test_nothing_is_left_after_stop(self, make_executor: MakeExecutor, tmp_path: Path) -> None:
        """When `stop` has returned none of its processes runs any more, and its threads end."""
        pids: list[int] = []

        async def body(rig: SuiteRig) -> None:
            await rig.all_of(rig.many(work.double, range(20)))
            pids.extend(rig.executor.pids())

        self.drive(body, make_executor(), tmp_path)  # what a library starts but once is not this executor's
        before = set(threading.enumerate())
        self.drive(body, make_executor(), tmp_path)
        until = time.monotonic() + self.patience_s
        ticker = threading.Event()
        while (left := set(threading.enumerate()) - before) and time.monotonic() < until:
            ticker.wait(0.005)
        assert not left, f"stop: has left threads behind: {[thread.name for thread in left]}"
        alive = [pid for pid in pids if not gone(pid)]
        assert not alive, f"stop: has returned, and of its workers' processes these still run: {alive}"


async def _most_of(rig: SuiteRig, how_many: int) -> int:
    """Run so many that take a moment each, and return how many of them ran at once at most."""
    ids = rig.many(work.nap, [_NAP_S] * how_many)
    outcomes = await rig.each_of(ids)
    wrong = [brief(outcome) for outcome in outcomes if not outcome.ok]
    assert not wrong, f"report: of {how_many} attempts {len(wrong)} ended as {wrong[:3]}"
    return most_at_once([outcome.value for outcome in outcomes])


def _raised_by_stop(executor: Executor) -> BaseException | None:
    return raised(lambda: asyncio.run(executor.stop(time.monotonic() + 1.0)))
