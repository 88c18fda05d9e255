"""A plain function that returns a coroutine, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest
from longshore import Settings, WorkerPool

pytestmark = pytest.mark.anyio


async def aimless() -> None:
    raise AssertionError


def gives_one() -> Coroutine[None, None, None]:
    return aimless()


def gives_a_stubborn_one() -> Coroutine[None, None, None]:
    """Return a coroutine that has begun and resists being closed."""

    async def stay() -> None:
        try:
            await asyncio.sleep(0)
        except GeneratorExit:
            await asyncio.sleep(0)  # once: who collects it may end it

    made = stay()
    made.send(None)
    return made


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize("function", [gives_one, gives_a_stubborn_one])
async def test_it_fails_with_the_same_words_everywhere(executor: str, function: object) -> None:
    """It fails with a TypeError that names the function and what to submit instead, also if the coroutine resists."""
    assert callable(function)
    async with asyncio.timeout(60), WorkerPool(settings=Settings()) as pool:
        with pytest.raises(TypeError) as caught:
            await (await pool.options(executor=executor).submit(function))
    assert str(caught.value) == (
        f"{function.__name__} returned a coroutine, which only an async def may: "
        "submit `async def call(*args): return await f(*args)` in its place"
    )
