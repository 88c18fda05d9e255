"""What tasks share reaches each worker once, in any executor and by any way of calling."""

from __future__ import annotations

import array
import asyncio
import copy
import os
import pickle
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import longshore
import pytest
from longshore import PayloadError, Settings, Shared, WorkerConfig, WorkerPool

pytestmark = pytest.mark.anyio


class Model:
    """Notes in a file each time it is read in a process."""

    def __init__(self, log: Path, factor: int = 3) -> None:
        self.log = log
        self.factor = factor

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")


class Table:
    """Has a large buffer that pickle leaves out of band."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Table, (pickle.PickleBuffer(self.data),)


def scale(model: Model, x: int) -> tuple[int, int]:
    return os.getpid(), model.factor * x


def scale_named(x: int, *, model: Model) -> tuple[int, int]:
    return scale(model, x)


def scale_nested(given: dict[str, Any]) -> tuple[int, int]:
    return scale(given["model"].value, given["x"])


async def scale_async(model: Model, x: int) -> Model:
    return model


def identity(model: Model, x: int) -> Model:
    return model


def pool_of(workers: int = 2) -> WorkerPool:
    return WorkerPool(WorkerConfig(process_workers=workers), settings=Settings())


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "argument": lambda pool, model: pool.starmap(scale, ((model, x) for x in range(1000))),
    "partial": lambda pool, model: pool.map(partial(scale_named, model=model), range(1000)),
    "nested": lambda pool, model: pool.map(scale_nested, ({"model": model, "x": x} for x in range(1000))),
    "closure": lambda pool, model: pool.map(lambda x: scale(model.value, x), range(1000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_each_worker_process_reads_it_once(tmp_path: Path, way: str) -> None:
    """For 1,000 tasks that use it, a shared object is sent to each worker process once, however it is given."""
    log = tmp_path / "log"
    async with pool_of() as pool:
        results = [result async for result in WAYS[way](pool.options(executor="processes"), pool.share(Model(log)))]
    assert [value for _, value in results] == [3 * x for x in range(1000)]
    read = log.read_text().split()
    assert sorted(read) == sorted({str(pid) for pid, _ in results})


@pytest.mark.slow
async def test_submit_and_a_worker_that_was_replaced(tmp_path: Path) -> None:
    """A worker that takes the place of a dead one gets it again; submit takes it by position and by name."""
    log = tmp_path / "log"
    async with pool_of(1) as pool:
        fast, model = pool.options(executor="processes"), pool.share(Model(log))
        assert (await (await fast.submit(scale, model, 2)))[1] == 6
        assert (await (await fast.submit(scale_named, 2, model=model)))[1] == 6
        with pytest.raises(longshore.WorkerDied):
            await (await fast.submit(leave, 1))
        assert (await (await fast.submit(scale, model, 2)))[1] == 6
    first, second = log.read_text().split()
    assert first != second


@pytest.mark.parametrize("executor", ["threads", "asyncio", "inline"])
async def test_in_this_process_it_is_the_object_itself(tmp_path: Path, executor: str) -> None:
    """Threads, coroutines and inline tasks get the very object, whether submitted, mapped or in a partial."""
    function = scale_async if executor == "asyncio" else identity
    model = Model(tmp_path / "log")
    async with WorkerPool(settings=Settings()) as pool:
        here, shared = pool.options(executor=executor), pool.share(model)
        assert await (await here.submit(function, shared, 1)) is model
        assert await here.submit_nowait(function, shared, x=1) is model
        assert [result async for result in here.starmap(function, [(shared, 1)])] == [model]
        for _ in range(2):
            assert await (await here.submit(partial(function, shared), 1)) is model
        assert [result async for result in here.map(partial(function, shared), [1])] == [model]
    assert not model.log.exists()


async def test_it_is_what_it_was_when_it_comes_back() -> None:
    """A task that returns what it was given gives the caller the same Shared, not another copy."""
    async with pool_of(1) as pool:
        shared = pool.share([1, 2])
        [back] = await (await pool.options(executor="processes").submit(list, [shared]))
        assert back is shared
        assert copy.deepcopy([shared])[0] is shared


def leave(code: int) -> None:
    """End the process; what measures coverage puts another `os._exit` in place, which can't be pickled itself."""
    os._exit(code)


def describe(table: Table) -> tuple[int, int, bool]:
    view = memoryview(table.data)
    before = view[5]
    view[5] = 77
    return before, view.nbytes, "/shared" in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at the mappings of a process")
async def test_large_buffers_are_mapped_and_private() -> None:
    """A large array is mapped from the file instead of copied; what one worker writes into it nobody else sees."""
    data = array.array("B", bytes(range(256)) * 4096)
    async with pool_of(1) as pool:
        table = pool.share(Table(data))
        told = await (await pool.options(executor="processes").submit(describe, table))
        assert told == (5, 1 << 20, True)
        with pytest.raises(longshore.WorkerDied):
            await (await pool.options(executor="processes").submit(leave, 1))
        assert await (await pool.options(executor="processes").submit(describe, table)) == told
    assert data[5] == 5


def copies() -> int:
    from longshore import shared

    return len(shared._copies)


@pytest.mark.slow
async def test_it_goes_with_the_pool_with_close_and_with_its_last_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is left when the pool stopped, or it was closed or let go of; workers then let go of their copy, too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with pool_of(1) as pool:
        fast = pool.options(executor="processes")
        kept, closed, dropped = pool.share([1]), pool.share([2]), pool.share([3])
        assert [await (await fast.submit(sum, shared)) for shared in (kept, closed, dropped)] == [1, 2, 3]
        folders = [path for path in tmp_path.iterdir() if path.name.startswith("longshore-")]
        assert [path.stat().st_mode & 0o777 for path in folders] == [0o700] * 3
        assert await (await fast.submit(copies)) == 3
        closed.close()
        del dropped
        assert await (await fast.submit(copies)) == 1
        with pytest.raises(PayloadError, match="closed"):
            await (await fast.submit(sum, closed))
        with pytest.raises(PayloadError, match="closed"):
            _ = closed.value
    assert list(tmp_path.iterdir()) == []
    async with pool:
        assert await (await fast.submit(sum, kept)) == 1
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_sent_costs_its_task_only() -> None:
    """An object that can't be pickled is refused with a PayloadError where it would leave the process, else works."""
    async with pool_of(1) as pool:
        lock = pool.share(threading.Lock())
        assert await (await pool.submit(lambda held: held.locked(), lock)) is False
        outcome = await (await pool.options(executor="processes").submit(id, lock)).outcome()
        assert isinstance(outcome.exception, PayloadError)
        assert "shared lock" in str(outcome.exception)
        assert await (await pool.options(executor="processes").submit(abs, -1)) == 1


def refer(shared: Shared[Any]) -> bool:
    shared.close()
    return shared.value[0] is shared


async def test_one_that_refers_to_itself() -> None:
    """An object that holds its own Shared travels, and a task that closes it takes it away from nobody."""
    async with pool_of(1) as pool:
        held: list[Any] = []
        shared = pool.share(held)
        held.append(shared)
        fast = pool.options(executor="processes")
        for _ in range(2):
            assert await (await fast.submit(lambda given: refer(given[0]), [shared])) is True


@pytest.mark.slow
def test_without_async(tmp_path: Path) -> None:
    """The calls without async take a Shared that was made by itself; left by `with`, it is closed."""
    log = tmp_path / "log"
    with Shared(Model(log, 5)) as model:
        options = {"executor": "processes", "workers": 1}
        assert [v for _, v in longshore.map(partial(scale, model), range(4), **options)] == [0, 5, 10, 15]
        assert [v for _, v in longshore.map(partial(scale, model), range(2))] == [0, 5]
    assert len(log.read_text().split()) == 1
    assert repr(model) == "<Shared closed>"


@pytest.mark.slow
async def test_reading_it_is_not_the_tasks_time(tmp_path: Path) -> None:
    """A time limit counts from when the shared object was read, and its memory is not the task's."""

    class Slow:
        def __setstate__(self, state: object) -> None:
            self.kept = b"x" * (100 << 20)
            threading.Event().wait(0.5)

        def __getstate__(self) -> object:
            return (1,)

    config = WorkerConfig(process_workers=1, task_memory_limit_mb=64)
    async with WorkerPool(config, settings=Settings()) as pool:
        fast = pool.options(executor="processes", timeout=0.4)
        assert await (await fast.submit(lambda slow: len(slow.kept), pool.share(Slow()))) == 100 << 20
        await asyncio.sleep(0)
