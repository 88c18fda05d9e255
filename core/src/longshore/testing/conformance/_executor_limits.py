"""Time limits and cancelling. A part of the executors' suite."""

from __future__ import annotations

import os

from longshore.task import TaskState
from longshore.testing.conformance._executor_suite import (
    ExecutorSuite,
    SuiteRig,
    brief,
    check_cut_short,
    driven,
    gone,
    not_cancelled,
    not_held,
    not_limited,
    not_timed,
    work,
)

_LIMIT_MB = 60.0


class LimitConformance(ExecutorSuite):
    """What ends attempts before they end by themselves."""

    @driven(not_timed)
    async def test_a_timeout_ends_the_attempt(self, rig: SuiteRig) -> None:
        """An attempt that runs for longer than its timeout is timed out, not before, and the next ones run."""
        for name in ("first", "second"):
            outcome = await rig.outcome(rig.hold(name, timeout_s=self.timeout_s))
            check_cut_short(outcome, TaskState.TIMED_OUT, "timeout")
            assert outcome.ran_s >= self.timeout_s, f"report: timed out after {outcome.ran_s} s of {self.timeout_s} s"
            await rig.goes_on("after one that was timed out")
        outcome = await rig.run(work.double, 1, timeout_s=60.0)
        assert outcome.value == 2, f"report: an attempt well within its timeout ended as {brief(outcome)}"

    @driven(not_timed)
    async def test_a_timeout_does_what_the_capability_says(self, rig: SuiteRig) -> None:
        """The process ends with "kill", the coroutine with "cancel"; with "abandon" what is done later is discarded."""
        task_id = rig.hold("late", timeout_s=self.timeout_s)
        [pid] = await rig.begun("late")
        outcome = await rig.outcome(task_id)
        check_cut_short(outcome, TaskState.TIMED_OUT, "timeout")
        if rig.can.timeout == "kill":
            assert pid != os.getpid(), "capabilities.timeout is 'kill', and the task runs in the pool's own process"
            await rig.host.until(lambda: gone(pid), what=f"the end of process {pid}, which `timeout` 'kill' promises,")
        elif rig.can.timeout == "cancel":
            await rig.host.until(lambda: rig.has("late", "cancelled"), what="asyncio.CancelledError in the coroutine")
        else:
            rig.let_go("late")
            await rig.host.until(lambda: rig.has("late", "ended"), what="the end of a task that was only abandoned")
            await rig.goes_on("after an abandoned one has ended")
        assert len(rig.of(task_id)) == 1, f"report: what came after the timeout was reported too: {rig.of(task_id)}"

    @driven(not_timed)
    async def test_the_deadline_over_all_attempts_holds(self, rig: SuiteRig) -> None:
        """`Attempt.expires_at` ends what runs and what waits for a worker; what is past it does not begin."""
        running = await rig.outcome(rig.hold("running", left_s=self.timeout_s))
        check_cut_short(running, TaskState.TIMED_OUT, "timeout")
        path = rig.folder / "begun"
        over = await rig.run(work.note, path, "over", left_s=-1.0)
        check_cut_short(over, TaskState.TIMED_OUT, "timeout")
        busy = await rig.occupied()
        waiting = await rig.run(work.note, path, "waiting", left_s=self.timeout_s)
        check_cut_short(waiting, TaskState.TIMED_OUT, "timeout")
        early = [brief(rig.of(task_id)[0]) for task_id in busy if rig.of(task_id)]
        assert not early, f"report: others, which have no deadline, ended with it: {early}"
        begun = path.read_text("utf-8").split() if path.exists() else []
        assert not begun, f"submit: what is past its deadline must not begin, and did: {begun}"

    # ---- cancelling

    @driven(not_held)
    async def test_what_waits_is_cancelled(self, rig: SuiteRig) -> None:
        """A cancelled attempt that waits for a worker never begins, and is reported with the message; others go on."""
        busy = await rig.occupied()
        path = rig.folder / "begun"
        first, second = rig.submit(work.note, path, "first"), rig.submit(work.note, path, "second")
        rig.cancel(first, message="not wanted")
        outcome = await rig.outcome(first)
        check_cut_short(outcome, TaskState.CANCELLED, "cancelled")
        assert outcome.error is not None
        assert "not wanted" in outcome.error.message, f"cancel: the message given is not in {outcome.error.message!r}"
        rig.let_go()
        others = [brief(one) for one in await rig.all_of([*busy, second]) if not one.ok]
        assert not others, f"cancel: attempts that nobody cancelled ended as {others}"
        begun = path.read_text("utf-8").split()
        assert begun == ["second"], f"cancel: one of two that waited was cancelled, and begun have {begun}"

    @driven(not_cancelled)
    async def test_what_runs_is_cancelled(self, rig: SuiteRig) -> None:
        """A cancelled attempt that runs is reported so, with the message, and its worker or another takes the next."""
        task_id, other = rig.hold("unwanted"), None
        await rig.begun("unwanted")
        if rig.at_once > 1:
            other = rig.hold("other")
            await rig.begun("other")
        rig.cancel(task_id, message="not wanted")
        outcome = await rig.outcome(task_id)
        check_cut_short(outcome, TaskState.CANCELLED, "cancelled")
        assert outcome.error is not None
        assert "not wanted" in outcome.error.message, f"cancel: the message given is not in {outcome.error.message!r}"
        await rig.goes_on("after one that was cancelled as it ran")
        if other is not None:
            assert not rig.of(other), f"cancel: an attempt that nobody cancelled ended as {brief(rig.of(other)[0])}"

    @driven()
    async def test_cancelling_what_is_not_there_is_harmless(self, rig: SuiteRig) -> None:
        """Ids that are unknown, or have ended, are ignored; nothing is reported of them."""
        first = await rig.run(work.double, 1)
        rig.cancel("nosuch", first.task_id)
        rig.cancel()
        second = rig.submit(work.double, 2)
        rig.cancel("nosuch", first.task_id)
        outcome = await rig.outcome(second)
        assert outcome.value == 4, f"cancel: ids of others ended an attempt as {brief(outcome)}"
        await rig.goes_on("after unknown ids were cancelled")
        told = [one.task_id for one in rig.host.outcomes]
        assert told.count(first.task_id) == 1, "cancel: an attempt that had ended was reported again"
        assert "nosuch" not in told, "cancel: an attempt that was never submitted was reported"

    @driven(not_cancelled)
    async def test_cancelling_twice_is_one_end(self, rig: SuiteRig) -> None:
        """An attempt that is cancelled again and again, while it runs and after, is reported once."""
        task_id = rig.hold("unwanted")
        await rig.begun("unwanted")
        for _ in range(3):
            rig.cancel(task_id)
        outcome = await rig.outcome(task_id)
        check_cut_short(outcome, TaskState.CANCELLED, "cancelled")
        rig.cancel(task_id)
        await rig.goes_on("after one that was cancelled several times")
        assert len(rig.of(task_id)) == 1, f"cancel: an attempt was reported {len(rig.of(task_id))} times"

    # ---- memory

    @driven(not_limited)
    async def test_a_task_that_takes_too_much_is_ended(self, rig: SuiteRig) -> None:
        """An attempt whose memory grows over its limit fails with MemoryLimitExceeded; one below it does not."""
        below = await rig.run(work.allocate, _LIMIT_MB / 5, 0.0, memory_limit_mb=_LIMIT_MB)
        assert below.ok, f"report: a task that takes a fifth of its memory limit ended as {brief(below)}"
        above = await rig.run(work.hoard, rig.folder, "hoard", _LIMIT_MB * 5, memory_limit_mb=_LIMIT_MB)
        found = above.error.type if above.error is not None else brief(above)
        assert found.endswith("MemoryLimitExceeded"), (
            f"capabilities.limits_memory is True, and a task with five times its limit ended as {found}"
        )
        await rig.goes_on("after one that took too much memory")
