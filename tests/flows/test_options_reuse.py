"""What `pool.options` gives is kept and used again: many times, and over restarts of the pool."""

from __future__ import annotations

import threading

import pytest
from longshore import PoolNotRunning, Priority, Settings, WorkerPool

pytestmark = pytest.mark.anyio


def where(_: int) -> int:
    return threading.get_ident()


async def test_options_outlive_a_restart() -> None:
    """One set of options serves submit and streams again and again, also after the pool was stopped and started."""
    pool = WorkerPool(settings=Settings())
    here = pool.options(executor="inline", priority=Priority.HIGH)
    with pytest.raises(PoolNotRunning):
        await here.submit(where, 0)
    for _ in range(2):
        async with pool:
            for number in range(3):
                assert await (await here.submit(where, number)) == threading.get_ident()
            assert [value async for value in here.map(where, range(2))] == [threading.get_ident()] * 2
            assert await (await here.options(executor="threads").submit(where, 0)) != threading.get_ident()
            assert await (await here.submit(where, 0)) == threading.get_ident()


async def test_inline_is_plain() -> None:
    """Inline runs in the loop's thread, raises the very exception, takes handles; not time limits or coroutines."""
    error = LookupError("mine")

    def fail() -> None:
        raise error

    async def wait() -> None:
        pass

    async with WorkerPool(settings=Settings()) as pool:
        here = pool.options(executor="inline")
        first = await here.submit(where, 0)
        assert await (await here.submit(abs, first)) == threading.get_ident()
        with pytest.raises(LookupError) as caught:
            await (await here.submit(fail))
        assert caught.value is error
        with pytest.raises(ValueError, match="cannot end a task"):
            await here.options(timeout=5).submit(where, 0)
        with pytest.raises(ValueError, match="cannot run the coroutine"):
            await here.submit(wait)
