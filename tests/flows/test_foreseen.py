"""What earlier runs took: the order of inputs goes by it, and the estimate of a run's end from the start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import Pipeline, ProcessorContext, Settings, Stage, WorkerConfig, WorkerPool

Command = Any  # the fixture's class: test modules cannot import a conftest
DEADLINE_S = 8.0
QUIET = ("--progress", "none", "--executor", "threads")
NAPS = """
import pathlib, time
def nap(path):
    time.sleep(0.2 if pathlib.Path(path).read_text() == "slow" else 0)
    return path
"""


@pytest.fixture
def napping(inside: Command) -> Command:
    """Return the command, with a function that takes long over a small file, and no time over large ones."""
    (inside.folder / "job.py").write_text(NAPS)
    inside.inputs({"large": "x" * 100, "small": "slow", "tiny": "x"})
    return inside


def planned(command: Command, *options: str) -> tuple[list[str], str]:
    """Return the order in which inputs would be begun, and what is said of it."""
    code, out, errors = command("run", "job:nap", "in", "--order", "largest-first", "--dry-run", *options)
    assert code == 0, errors
    said = re.search(r"longshore: (order: .*)", errors)
    return out.split(), said[1] if said else ""


@pytest.mark.slow
def test_the_longest_of_an_earlier_run_go_first(napping: Command) -> None:
    """Without an earlier run the largest input is begun first; with one, that which took longest, and it is named."""
    by_size = ["in/large", "in/small", "in/tiny"]
    assert planned(napping) == (by_size, "order: by size, for no earlier run of job:nap is recorded")
    _, _, errors = napping("run", "job:nap", "in", *QUIET)
    run_id = errors.split("recorded as run ")[1].split()[0]
    order, said = planned(napping)
    assert (order[0], said) == ("in/small", f"order: all 3 inputs by how long they took in run {run_id}")
    (napping.folder / "in" / "new").write_text("x" * 1000)
    assert planned(napping)[1] == f"order: 3 of 4 inputs by how long they took in run {run_id}, the rest by size"
    assert planned(napping, "--no-journal")[0] == ["in/new", *by_size]


@pytest.mark.slow
def test_a_journal_that_can_not_be_read_stops_no_run(napping: Command) -> None:
    """A damaged run says nothing of how long inputs take, and the next one goes as ever."""
    _, _, errors = napping("run", "job:nap", "in", *QUIET)
    run_id = errors.split("recorded as run ")[1].split()[0]
    database = napping.folder / "state" / "longshore" / "runs" / run_id / "journal.db"
    database.write_bytes(b"no database" * 100)
    assert planned(napping)[1] == "order: by size, for no earlier run of job:nap is recorded"
    code, _, errors = napping("run", "job:nap", "in", "--order", "largest-first", *QUIET)
    assert code == 0, errors


# ---- the estimate


@asynccontextmanager
async def open_pool() -> AsyncIterator[WorkerPool]:
    settings = Settings.model_validate({"probes": [], "workers": WorkerConfig(async_workers=2)})
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings) as pool:
        yield pool


@pytest.mark.anyio
@pytest.mark.requirement("req:H07")
async def test_the_estimate_is_there_from_the_start() -> None:
    """With what documents took before, the range holds their sum among the workers before any of them has ended."""
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def read(context: ProcessorContext) -> str:
        begun.release()
        await go_on.wait()
        return context.document_id

    names = [f"d{number}" for number in range(20)]
    took = {name: {"read": 10.0} for name in names}
    pipeline = Pipeline("p", [Stage("read", read, executor="asyncio")])
    async with open_pool() as pool:
        stream = pool.run_pipeline(pipeline, names, expected_s=took)
        first = asyncio.ensure_future(anext(stream))
        for _ in range(2):
            await begun.acquire()
        snapshot = pool.snapshot()
        go_on.set()
        await first
        given = 1 + len([result async for result in stream])
        over = pool.snapshot()
    assert snapshot.eta_low_s is not None
    assert snapshot.eta_high_s is not None
    assert (snapshot.completed, snapshot.total, given) == (0, 20, 20)
    assert 10.0 < snapshot.eta_low_s < 100.0 < snapshot.eta_high_s < 1000.0
    assert (over.eta_low_s, over.eta_high_s) == (0.0, 0.0)


@pytest.mark.anyio
async def test_what_is_expected_of_a_stream_goes_with_it() -> None:
    """A stream that is closed early leaves nothing behind that the estimate would wait for."""

    async def read(context: ProcessorContext) -> str:
        return context.document_id

    names = [f"d{number}" for number in range(50)]
    pipeline = Pipeline("p", [Stage("read", read, executor="asyncio")])
    async with open_pool() as pool:
        expected_s = {name: {"read": 100.0} for name in names}
        async with pool.run_pipeline(pipeline, names, in_flight=2, expected_s=expected_s) as stream:
            await anext(stream)
        await pool.wait_for_completion(DEADLINE_S)
        snapshot = pool.snapshot()
    assert (snapshot.eta_low_s, snapshot.eta_high_s) == (0.0, 0.0)
