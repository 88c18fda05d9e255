"""Others use a `PoolExecutor` as any executor: asyncio, dask, joblib, tqdm."""

from __future__ import annotations

import asyncio
import importlib
import io
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import longshore.futures
import pytest
from longshore import PoolExecutor, Settings

DEADLINE_S = 30.0
PLAIN = Settings(probes=())


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[PoolExecutor]:
    """Two workers of either kind."""
    with PoolExecutor(2, executor=request.param, settings=PLAIN) as made:
        yield made


WORK = """
import os, threading

def inverse(number):
    return 1 / number

def where(_):
    return os.getpid(), threading.current_thread().name

def nested(number):
    import joblib
    return joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(number))
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # Any: a module made here
    """Return a module of functions that workers can import too, as others name functions in what they send."""
    (tmp_path / "work_for_others.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("work_for_others")
    del sys.modules["work_for_others"]


@pytest.mark.anyio
async def test_a_loop_runs_functions_in_it(executor: PoolExecutor, work: Any) -> None:
    """`loop.run_in_executor` and `asyncio.wrap_future` give results and exceptions, from many calls at once."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE_S):
        calls = [loop.run_in_executor(executor, math.factorial, number) for number in range(100)]
        assert await asyncio.gather(*calls) == [math.factorial(number) for number in range(100)]
        assert await asyncio.wrap_future(executor.submit(abs, -3)) == 3
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, work.inverse, 0)


@pytest.mark.anyio
async def test_cancelling_an_awaited_call_cancels_what_is_pending() -> None:
    """As asyncio does with any executor: the pending call never runs."""
    loop, go, ran = asyncio.get_running_loop(), threading.Event(), list[int]()
    with PoolExecutor(1, executor="threads", settings=PLAIN) as executor:
        running = loop.run_in_executor(executor, go.wait, DEADLINE_S)
        pending = loop.run_in_executor(executor, ran.append, 1)
        await asyncio.sleep(0)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        go.set()
        assert await running
    assert ran == []


@pytest.mark.slow
def test_dask_computes_in_it(executor: PoolExecutor, work: Any) -> None:
    """Given as `pool=` or as `scheduler=`, it computes a graph of tasks, and raises what one of them raises."""
    dask = pytest.importorskip("dask", reason="dask is not installed here")
    total = dask.delayed(sum)([dask.delayed(math.factorial)(number) for number in range(20)])
    expected = sum(math.factorial(number) for number in range(20))
    with dask.config.set(pool=executor, scheduler="threads"):
        assert total.compute() == expected
    assert total.compute(scheduler=executor) == expected
    with dask.config.set(scheduler=executor), pytest.raises(ZeroDivisionError):
        dask.delayed(work.inverse)(0).compute()


@pytest.mark.slow
def test_tqdm_shows_what_is_completed(executor: PoolExecutor) -> None:
    """`tqdm(as_completed(...))` counts to the end."""
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed here")
    shown = io.StringIO()
    futures = [executor.submit(abs, -number) for number in range(50)]
    done = list(tqdm.tqdm(as_completed(futures, DEADLINE_S), total=50, file=shown))
    assert sorted(future.result() for future in done) == list(range(50))
    assert "50/50" in shown.getvalue()


@pytest.fixture
def joblib() -> Any:  # it carries no types
    """Return joblib with our backend."""
    module = pytest.importorskip("joblib", reason="joblib is not installed here")
    longshore.futures.register_joblib()
    return module


@pytest.mark.slow
def test_joblib_calls_run_in_it(joblib: Any, work: Any) -> None:
    """Under `parallel_config("longshore")` results come in order, from other processes, kept warm between calls."""
    with joblib.parallel_config("longshore", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(math.factorial)(n) for n in range(50)) == list(
            map(math.factorial, range(50))
        )
        first = {pid for pid, _ in joblib.Parallel()(joblib.delayed(work.where)(n) for n in range(20))}
        again = {pid for pid, _ in joblib.Parallel()(joblib.delayed(work.where)(n) for n in range(20))}
    assert os.getpid() not in first
    assert first & again


@pytest.mark.slow
def test_joblib_uses_all_processors_by_itself(joblib: Any) -> None:
    """Without n_jobs, and with -1, there are as many workers as usable processors; -2 is one less, 0 is refused."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with joblib.parallel_config("longshore"):
        assert joblib.Parallel().n_jobs == -1
    with joblib.parallel_config("longshore", n_jobs=-1):
        assert joblib.effective_n_jobs(-1) <= usable
        assert joblib.effective_n_jobs(-2) == max(1, joblib.effective_n_jobs(-1) - 1)
        assert joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(5)) == list(range(5))
        with pytest.raises(ValueError, match="n_jobs == 0"):
            joblib.Parallel(n_jobs=0)(joblib.delayed(abs)(-n) for n in range(5))


@pytest.mark.slow
def test_joblib_raises_what_a_call_raises_and_goes_on(joblib: Any, work: Any) -> None:
    """The exception is the call's own; the next call under the same config works."""
    with joblib.parallel_config("longshore", n_jobs=2):
        with pytest.raises(ZeroDivisionError):
            joblib.Parallel()(joblib.delayed(work.inverse)(n) for n in (1, 0, 2))
        assert joblib.Parallel()(joblib.delayed(work.inverse)(n) for n in (1, 2)) == [1.0, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["threads", "processes"])
def test_joblib_calls_may_be_nested(joblib: Any, place: str, work: Any) -> None:
    """A call that uses joblib itself gives its results, in threads and in processes."""
    with joblib.parallel_config("longshore", n_jobs=2, executor=place):
        assert joblib.Parallel()(joblib.delayed(work.nested)(n) for n in (2, 3)) == [[0, 1], [0, 1, 2]]


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")  # joblib tells how much was done for nothing
def test_joblib_gives_results_as_they_come(joblib: Any) -> None:
    """`return_as="generator"` works, and stopping early ends it."""
    with joblib.parallel_config("longshore", n_jobs=2, executor="threads"):
        results = joblib.Parallel(return_as="generator")(joblib.delayed(abs)(-n) for n in range(100))
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        results.close()


@pytest.mark.slow
def test_joblib_takes_options(joblib: Any) -> None:
    """What `parallel_config` is given beside n_jobs are options of the calls, such as a time limit."""
    with joblib.parallel_config("longshore", n_jobs=2, timeout=0.2), pytest.raises(TimeoutError):
        joblib.Parallel()(joblib.delayed(time.sleep)(n) for n in (60, 60))
