"""What the parts of the executors' suite share: how a test gets a started executor, and why one is skipped.

A test is a coroutine function that is given a `SuiteRig`; `driven` makes a plain one of it, with a loop of its own, so
that nothing but pytest is needed. What the executor's capabilities rule out is skipped, and the reason names them.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from longshore.hookspecs import Capabilities, Executor
from longshore.task import Outcome, TaskState
from longshore.testing.conformance import _work as work
from longshore.testing.conformance._host import CollectingHost, Function, Rig
from longshore.testing.conformance._plugin import MakePlugin, PluginConformance, raised

MakeExecutor = Callable[[], Executor]
Unless = Callable[[Capabilities], str | None]
"""Returns why a test makes no sense with these capabilities, None if it does."""


class SuiteRig(Rig):
    """A started executor in a test of the suite: functions are given as it takes them, and may be held up."""

    def __init__(self, executor: Executor, host: CollectingHost, folder: Path, isolation: str = "task") -> None:
        """Have what is held up, and let go, told by files in `folder`; submit tasks with this isolation."""
        self.can: Capabilities = executor.capabilities
        super().__init__(executor, host, adapt=self.suited, isolation=isolation)
        self.folder = folder

    def suited(self, function: Function) -> Function:
        """Return a function as this executor takes it."""
        return function if "function" in self.can.runs else work.as_coroutine(function)

    @property
    def at_once(self) -> int:
        """How many workers there are, as the host was told."""
        return self.host.sizes[-1]

    def hold(self, name: str, **options: Any) -> str:  # Any: the fields of a TaskSpec
        """Submit a task that holds on until it is let go; return its id."""
        return self.submit(work.hold, self.folder, name, **options)

    def has(self, name: str, what: str) -> bool:
        """Tell whether the task that holds on by this name "began", "ended" or was "cancelled", as it says itself."""
        return (self.folder / f"{name}.{what}").exists()

    async def begun(self, *names: str) -> list[int]:
        """Wait until all of these hold on; return the processes they do it in."""
        for name in names:
            await self.host.until(partial(self.has, name, "began"), what=f"the beginning of {name!r}")
        return [int((self.folder / f"{name}.began").read_text("utf-8")) for name in names]

    async def occupied(self) -> list[str]:
        """Have each worker hold on to a task, all at once; return the ids of these."""
        names = [f"worker-{number}" for number in range(self.at_once)]
        ids = [self.hold(name) for name in names]
        await self.begun(*names)
        return ids

    def let_go(self, name: str = work.ALL) -> None:
        """Have what holds on by this name end, or all."""
        if self.folder.exists():
            (self.folder / f"{name}.go").touch()

    def only_one(self) -> None:
        """Have one worker at work at a time; skip the test where that can't be."""
        if self.at_once > 1 and not self.limits:
            pytest.skip(f"one worker was asked for, there are {self.at_once}, and there is no `limit`")
        if self.at_once > 1:
            self.limit(1)

    @property
    def limits(self) -> bool:
        """Whether the executor has the optional method `limit`."""
        return callable(getattr(self.executor, "limit", None))

    async def goes_on(self, after: str) -> None:
        """Check that the executor still runs tasks."""
        outcome = await self.run(work.double, 21)
        assert outcome.value == 42, f"submit: {after}, the next attempt ended as {brief(outcome)}"


Suite = TypeVar("Suite", bound="ExecutorSuite")


class ExecutorSuite(PluginConformance):
    """The fixtures of the executors' suite, and what tunes it."""

    kind = "executors"
    workers: int = 2
    """How many workers each test asks for."""
    timeout_s: float = 0.2
    """The time limit of what is to pass one: long enough to begin, and to write a file."""
    isolation: str = "task"
    """The isolation of the tasks: one that `capabilities.isolation` names. Another class may try another one."""

    @pytest.fixture
    def make_executor(self) -> MakeExecutor:
        """Return what makes an executor that is not started."""
        raise NotImplementedError("the class that inherits ExecutorConformance needs a fixture make_executor")

    @pytest.fixture
    def make_plugin(self, make_executor: MakeExecutor) -> MakePlugin:
        """Return what makes an executor, for what all plugins keep."""
        return make_executor

    def drive(
        self, body: Callable[[SuiteRig], Awaitable[None]], executor: Executor, folder: Path, workers: int | None = None
    ) -> None:
        """Run the body of a test on a loop of its own, with the executor started; stop it, whatever happens."""
        with asyncio.Runner() as runner:
            runner.run(self._driven(body, executor, folder, min(workers or self.workers, self.workers)))

    async def _driven(
        self, body: Callable[[SuiteRig], Awaitable[None]], executor: Executor, folder: Path, workers: int
    ) -> None:
        host = CollectingHost(workers, patience_s=self.patience_s)
        rig = SuiteRig(executor, host, folder, self.isolation)
        await rig.start()
        try:
            await host.until(lambda: host.sizes and rig.at_once, what="start: `host.resized`, which tells of workers,")
            await body(rig)
        except BaseException:
            rig.let_go()
            with suppress(Exception):
                await rig.stop(self.patience_s)
            raise
        rig.let_go()
        await rig.stop(self.patience_s)
        ids = [outcome.task_id for outcome in host.outcomes]
        twice = sorted({task_id for task_id in ids if ids.count(task_id) > 1}) if len(set(ids)) < len(ids) else []
        assert not twice, f"report: attempts are reported exactly once, and these were more often: {twice[:5]}"
        assert not host.failures, f"failed: the executor said that it can't go on: {host.failures}"


Body = Callable[[Suite, SuiteRig], Awaitable[None]]


def driven(*unless: Unless, workers: int | None = None) -> Callable[[Body[Suite]], Callable[..., None]]:
    """Return what makes a plain test of one that is given a started executor, of no more than so many workers."""

    def made(body: Body[Suite]) -> Callable[..., None]:
        def test(self: Suite, make_executor: MakeExecutor, tmp_path: Path) -> None:
            executor = make_executor()
            for reason in (rule(executor.capabilities) for rule in unless):
                if reason is not None:
                    pytest.skip(reason)
            self.drive(lambda rig: body(self, rig), executor, tmp_path, workers)

        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, inspect.getdoc(body)
        test.__module__ = body.__module__
        return test

    return made


# ---- what rules a test out


def not_timed(can: Capabilities) -> str | None:
    """Skip where an explicit timeout is refused."""
    return "capabilities.timeout is 'none'" if can.timeout == "none" else None


def not_held(can: Capabilities) -> str | None:
    """Skip where an attempt that runs can be ended by nobody, and so is not held up here: it may hold up the loop."""
    neither = can.timeout == "none" and not can.cancel_running
    return "what runs can be neither timed out nor cancelled: capabilities.timeout, cancel_running" if neither else None


def not_cancelled(can: Capabilities) -> str | None:
    """Skip where what runs can't be cancelled."""
    return None if can.cancel_running else "capabilities.cancel_running is False"


def not_pickled(can: Capabilities) -> str | None:
    """Skip where nothing leaves the process."""
    return None if can.pickles else "capabilities.pickles is False"


def pickled(can: Capabilities) -> str | None:
    """Skip where arguments leave the process."""
    return "capabilities.pickles is True" if can.pickles else None


def not_initialized(can: Capabilities) -> str | None:
    """Skip where there are no initializers."""
    return None if can.initializer else "capabilities.initializer is False"


def not_weighed(can: Capabilities) -> str | None:
    """Skip where nobody measures what tasks take."""
    return None if can.weighs else "capabilities.weighs is False"


def not_limited(can: Capabilities) -> str | None:
    """Skip where a limit of memory is advice."""
    return None if can.limits_memory else "capabilities.limits_memory is False"


def no_coroutines(can: Capabilities) -> str | None:
    """Skip where coroutine functions are not taken."""
    return None if "coroutine" in can.runs else "capabilities.runs has no 'coroutine'"


# ---- looking at outcomes


def brief(outcome: Outcome) -> str:
    """Return an outcome in few words."""
    error = outcome.error
    return (
        f"{outcome.state.value} with {outcome.value!r}" if error is None else f"{outcome.state.value}: {error.message}"
    )


def error_type(outcome: Outcome) -> str:
    """Return the last part of the name of the error's type, "" where there is no error."""
    return outcome.error.type.rpartition(".")[2] if outcome.error is not None else ""


def check_cut_short(outcome: Outcome, state: TaskState, reason: str) -> None:
    """Check the outcome of an attempt that was not let end by itself."""
    assert outcome.state is state, f"report: the attempt was to end as {state.value}, not as {brief(outcome)}"
    assert outcome.error is not None, f"report: an attempt that {state.value} has an ErrorRecord that says so"
    found = outcome.error.reason
    assert found == reason, f"report: the error's reason is {reason!r}, as `worker.{state.value}` has it, not {found!r}"


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """Return how many of these spans of time lie over each other at most."""
    turns = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    running = most = 0
    for _, change in turns:
        running += change
        most = max(most, running)
    return most


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has waited for yet has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


__all__ = [
    "ExecutorSuite",
    "MakeExecutor",
    "SuiteRig",
    "brief",
    "check_cut_short",
    "driven",
    "error_type",
    "gone",
    "most_at_once",
    "no_coroutines",
    "not_cancelled",
    "not_held",
    "not_initialized",
    "not_limited",
    "not_pickled",
    "not_timed",
    "not_weighed",
    "pickled",
    "raised",
    "work",
]
