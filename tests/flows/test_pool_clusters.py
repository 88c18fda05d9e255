"""A pool with an executor whose workers are elsewhere: what it measures there, shows, and holds its tasks against."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from longshore import Resources, ResourceUnavailable, Settings, WorkerPool
from longshore._parts import Parts
from longshore.hookspecs import Executor, Probe, hookimpl
from longshore.records import Bound, Reading, Usage
from longshore.testing import ManualExecutor, ScriptedProbe

pytestmark = pytest.mark.anyio

Eventually = Callable[[Callable[[], object], str], Awaitable[None]]


def reading(*workers_mb: float, used_mb: float = 0.0) -> Reading:
    """Workers with one core and so much memory each."""
    cores = [Bound(f"w{number}", 0.0, 1.0) for number in range(len(workers_mb))]
    memory = [Bound(f"w{number}", used_mb, there) for number, there in enumerate(workers_mb)]
    now = datetime.now(UTC)
    return Reading(now, {"cpu": Usage.across(cores), "memory": Usage.across(memory)} if workers_mb else {})


class Afar(ManualExecutor):
    """An executor that says what its cluster has."""

    def __init__(self, probe: ScriptedProbe) -> None:
        super().__init__()
        self._probe = probe

    @hookimpl
    def cluster(self) -> Probe | None:
        return self._probe


def work() -> None:
    """Stand for a user's function: nothing calls it."""


async def test_a_cluster_is_measured_and_counts(monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    """Its readings are in snapshots by the executor's name, decide what starts there, and fail without harm."""
    probe = ScriptedProbe([reading(4000.0, 1000.0)])
    afar = Afar(probe)
    others = Parts.executor

    def make(parts: Parts, name: str) -> Executor:
        return afar if name == "afar" else others(parts, name)

    monkeypatch.setattr(Parts, "executor", make)
    monkeypatch.setattr(Parts, "workers", lambda parts, name: 2)
    async with asyncio.timeout(20.0), WorkerPool(settings=Settings(probes=())) as pool:
        on = pool.options(executor="afar")
        first = await on.options(resources=Resources(memory_mb=3000)).submit(work)
        never = await on.options(resources=Resources(memory_mb=4500)).submit(work)
        with pytest.raises(ResourceUnavailable, match="4000 MB are all that the largest worker of the cluster of afar"):
            await never
        with pytest.raises(ResourceUnavailable, match="largest worker") as caught:
            await on.options(resources=Resources(cpu=2)).submit(work)
        assert (caught.value.facts["needed"], caught.value.facts["limit"]) == (2, 1)
        snapshot = pool.snapshot()
        assert snapshot.usage["afar.memory"].capacity == 5000.0
        assert snapshot.loads["afar.memory"].each == 4000.0
        second = await on.options(resources=Resources(memory_mb=3000)).submit(work)
        said = "waits for memory of the cluster of afar: needs 3000 MB, 1732 MB free"
        await eventually(lambda: said in pool.explain(second.task_id), "why it waits")
        third = await pool.submit_task(
            "slow", None, named, executor="afar", resources=Resources(cpu=1), resource_timeout=0.0
        )

        def lent() -> dict[str, float]:
            return {one.resource: one.lent for one in pool.diagnose().reservations if one.lent}

        await eventually(lambda: lent() == {"afar.memory": 3000.0, "afar.cpu": 1.0}, "it runs beside the first")
        probe.then(OSError("nobody answers"))
        asked = len(probe.requests)
        await eventually(lambda: len(probe.requests) > asked + 2, "two more readings")
        afar.finish(first.task_id, None)
        await first
        await eventually(lambda: second.task_id in {one.task_id for one in afar.submitted}, "the second has its turn")
        pool.cancel(second.task_id)
        pool.cancel(third)
    assert pool.summary is not None
    assert any("measuring the cluster of afar failed" in note for note in pool.summary.notes)


def named(_: object) -> None:
    """Stand for a processor."""
