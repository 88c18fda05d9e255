"""Pools with a monitor that somebody else wrote: what it is asked, and what its faults change, which is nothing."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from longshore import EventBus, ResourceMonitor, ResourceUnavailable, Settings, WorkerPool
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0


class Theirs:
    """A monitor that somebody else wrote: percent by resource, and a pair for an answer."""

    def __init__(self, used: dict[str, float] | Exception, answer: object = (True, None)) -> None:
        self.used = used
        self.answer = answer
        self.check_interval = 0.005
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    @property
    def current_usage(self) -> dict[str, float]:
        if isinstance(self.used, Exception):
            raise self.used
        return self.used

    async def check_availability(self, required: dict[str, float]) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.throttling
async def test_a_monitor_that_somebody_else_wrote_is_asked() -> None:
    """Its figures count against the limits, its own no holds everything, and it lives as long as the pool."""
    theirs = Theirs({"memory": 90.0})
    pool = WorkerPool(resource_monitor=theirs, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        await until(lambda: pool.get_stats().resource_utilization, "an answer")
        assert pool.get_stats().resource_utilization == {"memory": pytest.approx(90.0)}
        handle = await pool.submit(abs, -1)
        await until(lambda: pool.snapshot().throttled is not None, "the reason")
        assert pool.snapshot().throttled == "memory 90 % is over the limit of 75 %: nothing new starts"
        theirs.used, theirs.answer = {}, (False, "the licence server sleeps")
        await until(lambda: "licence" in str(pool.snapshot().throttled), "its own reason")
        theirs.answer = True
        assert await handle == 1
    assert theirs.calls == ["start", "stop"]


@pytest.mark.requirement("req:F09")
@pytest.mark.parametrize(
    "theirs",
    [Theirs(OSError("no figures")), Theirs({}, OSError("no answer")), Theirs({"memory": "much"})],  # type: ignore[dict-item]  # that it is wrong is the point
)
async def test_a_monitor_that_raises_changes_no_outcome(theirs: Theirs) -> None:
    """What it raises is counted and noted in the summary; every task ends as it would have."""
    pool = WorkerPool(resource_monitor=theirs, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        outcomes = [outcome async for outcome in pool.outcomes(int, ["1", "no", "3"], ordered=True)]
        await asyncio.to_thread(time.sleep, 0.02)
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert pool.summary is not None
    assert pool.summary.state == "completed"
    (note,) = pool.summary.notes
    assert note.startswith("measuring the machine failed ")
    assert ("no figures" in note) or ("no answer" in note) or ("much" in note)


@pytest.mark.slow
@pytest.mark.allocation
@pytest.mark.requirement("req:D08")
async def test_a_monitor_that_somebody_else_wrote_is_asked_for_a_tasks_resources() -> None:
    """Sync or async it is asked in its own units, and its no refuses what may not wait, with its reason."""
    asked: list[dict[str, float]] = []

    class Answers:
        """Says no while anything is asked of it."""

        check_interval = 0.005
        full = True

        def check_availability(self, required: dict[str, float]) -> object:
            if not required:
                return True
            asked.append(required)
            return (False, "the quay is taken") if self.full else (True, None)

    class AnswersLater(Answers):
        """The same as a coroutine."""

        async def check_availability(self, required: dict[str, float]) -> object:  # type: ignore[override]
            return Answers.check_availability(self, required)

    for theirs in (Answers(), AnswersLater()):
        asked.clear()
        pool = WorkerPool(resource_monitor=theirs, settings=Settings(probes=()))
        async with asyncio.timeout(DEADLINE_S), pool:
            for timeout_s in (0, 0.02):
                with pytest.raises(ResourceUnavailable, match="the quay is taken") as refused:
                    await pool.submit_task("abs", -1, abs, resources={"cpu": 5.0}, resource_timeout=timeout_s)
                assert refused.value.facts["reason"] == "the quay is taken"
            assert asked
            assert all(one == {"cpu": pytest.approx(5.0)} for one in asked)
            assert pool.get_stats().submitted_tasks == 0
            theirs.full = False
            taken = await pool.submit_task("abs", -1, abs, resources={"cpu": 5.0}, resource_timeout=0)
            assert await pool.get_task_result(taken) == 1


@pytest.mark.requirement("req:F09")
async def test_a_monitor_whose_answers_or_end_fail_changes_nothing_for_the_caller() -> None:
    """What it raises when asked is counted, and no refusal; a CancelledError of its own ends no `stop`."""

    class Faulty:
        """Fails at everything but being there."""

        check_interval = 0.005
        current_usage: ClassVar[dict[str, float]] = {}

        def check_availability(self, required: dict[str, float]) -> object:
            raise OSError("no answer")

        async def stop(self) -> None:
            raise asyncio.CancelledError

        async def start(self) -> None:
            raise asyncio.CancelledError

    pool = WorkerPool(resource_monitor=Faulty(), settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S):
        await pool.start()
        task_id = await pool.submit_task("abs", -1, abs, resources={"cpu": 5.0}, resource_timeout=0)
        assert await pool.get_task_result(task_id) == 1
        summary = await pool.stop()
    assert summary is not None
    assert summary.state == "completed"
    assert "measuring the machine failed" in summary.notes[0]


@pytest.mark.parametrize(
    "double",
    [MagicMock(), AsyncMock(), Mock(spec=ResourceMonitor), SimpleNamespace(current_usage={})],
    ids=["magic", "async", "spec", "empty"],
)
async def test_a_monitor_and_a_bus_may_be_test_doubles(double: Any) -> None:
    """Mocks of any kind, and a monitor that has measured nothing yet, hold up no work."""
    for bus in (None, Mock(spec=EventBus)):
        pool = WorkerPool(event_bus=bus, resource_monitor=double, settings=Settings(probes=()))
        async with asyncio.timeout(DEADLINE_S), pool:
            assert await (await pool.submit(abs, -1)) == 1


async def test_what_is_no_monitor_is_refused() -> None:
    """An object that can be asked nothing is named when the pool starts, and nothing is left open."""
    pool = WorkerPool(resource_monitor=object(), settings=Settings(probes=()))
    with pytest.raises(TypeError, match="no resource monitor"):
        await pool.start()
