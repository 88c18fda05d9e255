"""One program on every executor there is: where its tasks run is one word in the settings."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from longshore import RetryPolicy, TaskCancelled, TaskTimeout, WorkerPool, current_task, load_settings
from longshore.testing import RecordingSink

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(attempts=3, backoff=0.01, jitter=0.0)
ITEMS, BAD, FLAKY = 60, 13, 29
DEADLINE_S = 150.0  # for a cluster to come up on a busy machine

TENANTS = """
from contextvars import ContextVar
tenant = ContextVar("tenant", default="nobody")

def who():
    return tenant.get()
"""


def on(name: str, *marks: pytest.MarkDecorator) -> Any:
    """One of the executors, which is skipped where it is not installed."""
    missing = importlib.util.find_spec(f"longshore_{name}") is None and name != "inline"
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(missing, reason=f"longshore-{name} is not installed")])


SLOW = pytest.mark.slow
PATIENT = pytest.mark.timeout(DEADLINE_S + 30.0)
ours = [on("asyncio"), on("threads"), on("processes", SLOW), on("dask", SLOW, PATIENT)]
that_limit = [*ours, on("ray", SLOW, PATIENT, pytest.mark.long)]
everywhere = pytest.mark.parametrize("word", [on("inline"), *ours, on("ray", SLOW, PATIENT)])


class Broken(Exception):
    """An exception of the user's own."""


def work(number: int) -> int:
    """Double a number, and tell so; one number is bad, one is good at the third try."""
    current_task().progress(0.5, f"half of {number}")
    if number == BAD:
        raise Broken(f"{number} is bad")
    if number == FLAKY and current_task().attempt < 3:
        raise Broken(f"not yet: {current_task().attempt}")
    return 2 * number


def nap() -> None:
    time.sleep(2.0)


async def nap_async() -> None:
    await asyncio.sleep(2.0)


def as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = function.__name__
    return call


def form(function: Callable[..., Any], word: str) -> Callable[..., Any]:
    """Return the function in the form that the executor takes."""
    return as_coroutine(function) if word == "asyncio" else function


@asynccontextmanager
async def pool_of(word: str, folder: Path, *sinks: RecordingSink) -> AsyncIterator[WorkerPool]:
    """A pool whose settings are those of a file with this word."""
    file = folder / "longshore.toml"
    file.write_text(f'executor = "{word}"\nprobes = []\n[workers]\nprocess_workers = 2\n')
    settings = load_settings(file).settings
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


@everywhere
async def test_the_same_program_has_the_same_outcomes(word: str, tmp_path: Path) -> None:
    """Order, values, a failure, a retry and progress are the same, whatever the word is."""
    sink = RecordingSink()
    async with pool_of(word, tmp_path, sink) as pool:
        stream = pool.options(retry=QUICK).outcomes(form(work, word), range(ITEMS), ordered=True)
        outcomes = [outcome async for outcome in stream]
        stats = pool.get_stats()
    assert [outcome.index for outcome in outcomes] == list(range(ITEMS))
    assert [outcome.value for outcome in outcomes] == [None if n == BAD else 2 * n for n in range(ITEMS)]
    bad = outcomes[BAD]
    assert bad.error is not None
    assert (bad.state.value, bad.attempts, bad.error.message) == ("failed", 3, f"{BAD} is bad")
    assert bad.error.type.endswith("Broken")
    assert isinstance(bad.exception, Broken)
    assert {outcome.index: outcome.attempts for outcome in outcomes if outcome.attempts > 1} == {BAD: 3, FLAKY: 3}
    assert (stats.submitted_tasks, stats.completed_tasks, stats.failed_tasks) == (ITEMS, ITEMS - 1, 1)
    said = {event.data["message"] for event in sink.of_type("task_progress")}
    assert said == {f"half of {number}" for number in range(ITEMS)}
    assert {event.data["executor"] for event in sink.of_type("task_started")} == {word}


@pytest.mark.parametrize("word", that_limit)
async def test_limits_and_context_are_the_same(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit, a cancellation and the submitter's context mean the same, whatever the word is."""
    monkeypatch.syspath_prepend(tmp_path)
    module = f"tenants_on_{word}"
    (tmp_path / f"{module}.py").write_text(TENANTS)
    tenants = importlib.import_module(module)
    slow = nap_async if word == "asyncio" else nap
    async with pool_of(word, tmp_path) as pool:
        with pytest.raises(TaskTimeout):
            await (await pool.options(timeout=0.1).submit(slow))
        cancelled = await pool.submit(slow)
        cancelled.cancel()
        with pytest.raises(TaskCancelled):
            await cancelled
        tenants.tenant.set("acme")
        assert await (await pool.options(context=(tenants.tenant,)).submit(form(tenants.who, word))) == "acme"
        stats = pool.get_stats()
        assert (stats.completed_tasks, stats.timed_out_tasks, stats.cancelled_tasks) == (1, 1, 1)
