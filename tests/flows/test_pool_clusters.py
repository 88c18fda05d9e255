"""A pool with an executor whose workers are elsewhere: what it measures there, shows, and holds its tasks against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from longshore import Resources, ResourceUnavailable, Settings, WorkerPool
from longshore._parts import Parts
from longshore.hookspecs import Probe, hookimpl
from longshore.records import Bound, Reading, Usage
from longshore.testing import ManualExecutor, ScriptedProbe
from support.waiting import until

pytestmark = pytest.mark.anyio


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


@pytest.fixture
def probe() -> ScriptedProbe:
    """What measures the cluster: one worker with 4 GB, one with 1 GB."""
    return ScriptedProbe([reading(4000.0, 1000.0)])


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch, probe: ScriptedProbe) -> AsyncIterator[tuple[WorkerPool, Afar]]:
    """A pool with two workers on that cluster, and its executor."""
    afar, others = Afar(probe), Parts.executor
    monkeypatch.setattr(Parts, "executor", lambda parts, name: afar if name == "afar" else others(parts, name))
    monkeypatch.setattr(Parts, "workers", lambda parts, name: 2)
    async with asyncio.timeout(20.0), WorkerPool(settings=Settings(probes=())) as made:
        yield made, afar


async def test_a_cluster_is_measured_and_counts(pool: tuple[WorkerPool, Afar]) -> None:
    """Its readings are in snapshots by the executor's name, and what no worker has is refused."""
    on = pool[0].options(executor="afar")
    never = await on.options(resources=Resources(memory_mb=4500)).submit(work)
    with pytest.raises(ResourceUnavailable, match="4000 MB are all that the largest worker of the cluster of afar"):
        await never
    with pytest.raises(ResourceUnavailable, match="largest worker") as caught:
        await on.options(resources=Resources(cpu=2)).submit(work)
    assert (caught.value.facts["needed"], caught.value.facts["limit"]) == (2, 1)
    snapshot = pool[0].snapshot()
    assert snapshot.usage["afar.memory"].capacity == 5000.0
    assert snapshot.loads["afar.memory"].each == 4000.0


async def test_tasks_wait_for_what_their_cluster_has(pool: tuple[WorkerPool, Afar], probe: ScriptedProbe) -> None:
    """What waits there says so, others go past it, and it starts when that is free, whatever becomes of the probe."""
    made, afar = pool
    large, small = Resources(memory_mb=3000), Resources(cpu=1)
    on = made.options(executor="afar", resources=large)
    first = await on.submit(work)
    await until(lambda: "afar.memory" in made.snapshot().usage, "a reading")
    second = await on.submit(work)
    said = "waits for memory of the cluster of afar: needs 3000 MB, 1732 MB free"
    await until(lambda: said in made.explain(second.task_id), "why it waits")
    third = await made.submit_task("slow", None, named, executor="afar", resources=small, resource_timeout=0.0)

    def lent() -> dict[str, float]:
        return {one.resource: one.lent for one in made.diagnose().reservations if one.lent}

    await until(lambda: lent() == {"afar.memory": 3000.0, "afar.cpu": 1.0}, "the third to run")
    probe.then(OSError("nobody answers"))
    asked = len(probe.requests)
    await until(lambda: len(probe.requests) > asked + 2, "two more readings")
    afar.finish(first.task_id, None)
    await first
    await until(lambda: second.task_id in {one.task_id for one in afar.submitted}, "the second to have its turn")
    made.cancel(second.task_id)
    made.cancel(third)
    await made.stop()
    assert made.summary is not None
    assert any("measuring the cluster of afar failed" in note for note in made.summary.notes)


def named(_: object) -> None:
    """Stand for a processor."""
