"""What the tests of this plugin share: a started executor with its host, and a coroutine that won't end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from longshore.testing import CollectingHost, Rig
from longshore.worker import current_task
from longshore_asyncio import AsyncioExecutor

MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start() -> AsyncIterator[MakeRig]:
    """A maker of rigs with so many workers; each is stopped at the end."""
    made: list[Rig] = []

    async def make(workers: int, **settings: Any) -> Rig:
        rig = Rig(AsyncioExecutor(AsyncioExecutor.Settings(**settings)), CollectingHost(workers))
        await rig.start()
        made.append(rig)
        return rig

    yield make
    for rig in made:
        await rig.stop()


class Stubborn:
    """A coroutine function that goes on, however often it is cancelled, until it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ended = 0

    async def __call__(self) -> str:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        current_task().progress(1.0, "late")
        self.ended += 1
        return "late"


@pytest.fixture
def stubborn() -> Any:
    return Stubborn()
