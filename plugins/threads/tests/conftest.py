"""What the tests of this plugin share: a started executor with its host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from longshore.testing import CollectingHost, Rig
from longshore_threads import ThreadsExecutor

MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start() -> AsyncIterator[MakeRig]:
    """A maker of rigs with so many workers; each is stopped at the end."""
    made: list[Rig] = []

    async def make(workers: int, **settings: Any) -> Rig:
        rig = Rig(ThreadsExecutor(ThreadsExecutor.Settings(**settings)), CollectingHost(workers))
        await rig.start()
        made.append(rig)
        return rig

    yield make
    for rig in made:
        await rig.stop()
