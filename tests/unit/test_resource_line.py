"""The line of those who wait for resources outside of the queue."""

from __future__ import annotations

import asyncio

import pytest
from longshore._runtime.line import Line
from longshore.task import Resources

pytestmark = pytest.mark.anyio


class Quay:
    """A line, and how much there is to be had."""

    def __init__(self) -> None:
        self.free: dict[str, float] = {}
        self.changes = 0
        self.line = Line(self._lacks, lambda executor: executor if executor == "afar" else "", self._changed)

    def _lacks(self, resources: Resources, executor: str) -> str | None:
        short = [name for name, amount in resources.amounts().items() if amount > self.free.get(name, 0.0)]
        return f"too little {short[0]}" if short else None

    def _changed(self) -> None:
        self.changes += 1

    async def ask(self, timeout_s: float = 10.0, executor: str = "threads", **wanted: float) -> asyncio.Task[bool]:
        task = asyncio.create_task(self.line.wait(Resources(**wanted), executor, timeout_s))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return task


@pytest.mark.requirement("req:D09")
async def test_one_is_let_in_at_a_time_in_order() -> None:
    """The second comes in only when the first has come and left what he wants."""
    quay = Quay()
    first, second = await quay.ask(cpu=1), await quay.ask(cpu=1)
    quay.line.let_in()
    await asyncio.sleep(0)
    assert not first.done()
    quay.free["cpu"] = 2
    quay.line.let_in()
    quay.line.let_in()
    assert await first
    assert not second.done()
    quay.line.let_in()
    assert await second
    assert not quay.line
    assert quay.changes == 2


async def test_who_is_cancelled_on_the_way_gives_his_turn_to_the_next() -> None:
    """Let in and cancelled before he comes, he holds nobody up, and the pool is told."""
    quay = Quay()
    first, second = await quay.ask(cpu=1), await quay.ask(cpu=1)
    quay.free["cpu"] = 1
    quay.line.let_in()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert quay.changes == 1
    quay.line.let_in()
    assert await second


@pytest.mark.requirement("req:D09")
async def test_only_what_others_want_too_is_kept_for_them() -> None:
    """Who wants nothing of what one before him waits for is let in past him; who wants a little of it is not."""
    quay = Quay()
    large, little, other = await quay.ask(cpu=4), await quay.ask(cpu=1), await quay.ask(memory_mb=10)
    quay.free.update(cpu=2, memory=10)
    quay.line.let_in()
    assert await other
    quay.line.let_in()
    await asyncio.sleep(0)
    assert not large.done()
    assert not little.done()
    assert quay.line.lacks(Resources(cpu=1), "processes") == "cpu: others wait for it, and came first"
    assert quay.line.lacks(Resources(cpu=1), "afar") is None, "those are the cores of a cluster"
    assert quay.line.lacks(Resources(memory_mb=1), "threads") is None
    assert quay.line.lacks(Resources(gpu=1), "threads") == "too little gpu"
    quay.line.turn_away()
    assert await large
    assert await little


async def test_whose_patience_ends_leaves_the_line() -> None:
    """He is told so, and those behind him are looked at again."""
    quay = Quay()
    assert not await quay.line.wait(Resources(cpu=1), "threads", 0.01)
    assert not quay.line
    assert quay.changes == 1
