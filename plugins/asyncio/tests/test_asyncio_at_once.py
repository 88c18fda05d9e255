"""How many coroutines may run at once: fewer than there are seats, for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_a_limit_leaves_seats_free_though_attempts_wait(start: Any, isolation: str) -> None:
    """So many coroutines run at once and no more; when more may, the others begin."""
    running = peak = 0

    async def watched(x: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.001)
        running -= 1
        return x

    rig = await start(4)
    rig.limit(2)
    ids = rig.many(watched, range(200), isolation=isolation)
    await rig.host.until(lambda: len(rig.host.outcomes) > 20)
    assert peak == 2
    rig.limit(None)
    await rig.host.until(lambda: peak == 4)
    rig.limit(0)
    await rig.host.until(lambda: running == 0)
    before = len(rig.host.outcomes)
    assert before < 200
    rig.limit(1)
    assert [outcome.value for outcome in await rig.all_of(ids)] == list(range(200))
