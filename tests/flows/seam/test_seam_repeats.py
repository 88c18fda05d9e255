"""`submit_task` with an idempotency key: who asks twice gets one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from longshore import Resources, ResourceUnavailable, ResultLimits

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


@pytest.mark.requirement("req:D17")
async def test_the_same_idempotency_key_twice_is_one_task(open_pool: Opener) -> None:
    """Asked for twice at once, and again after its end, it is one task; another key, or none, is another one."""
    calls: list[object] = []

    def noted(context: object) -> object:
        calls.append(context)
        return context

    async with open_pool() as pool:
        ask = partial(pool.submit_task, "noted", processor_func=noted)
        first, second = await asyncio.gather(ask("a", idempotency_key="k"), ask("b", idempotency_key="k"))
        assert first == second
        assert await pool.get_task_result(first) == "a"
        assert await ask("c", idempotency_key="k") == first
        others = [await ask("d", idempotency_key="other"), await ask("e"), await ask("f")]
        assert [await pool.get_task_result(one) for one in others] == ["d", "e", "f"]
    assert calls == ["a", "d", "e", "f"]
    with pytest.raises(ValueError, match="idempotency_key must be of the type str"):
        await ask("g", idempotency_key=7)


@pytest.mark.requirement("req:D17")
async def test_a_key_is_free_again_when_its_submission_failed_or_its_result_has_gone(open_pool: Opener) -> None:
    """What was refused stands for nothing; and once a result is no longer kept, the same key is a new task."""
    async with open_pool(results=ResultLimits(keep_s=0.01)) as pool:
        with pytest.raises(ResourceUnavailable):
            await pool.submit_task("same", 1, str, resources=Resources(cpu=1e6), idempotency_key="k")
        first = await pool.submit_task("same", 1, str, idempotency_key="k")
        assert await pool.get_task_result(first) == "1"
        await asyncio.sleep(0.02)
        await pool.get_task_result(await pool.submit_task("other", 2, str))
        second = await pool.submit_task("same", 3, str, idempotency_key="k")
        assert second != first
        assert await pool.get_task_result(second) == "3"
