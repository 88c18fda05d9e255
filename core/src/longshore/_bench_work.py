"""Work to measure with: nothing, a moment of CPU, a moment of waiting. Light: a worker imports it."""

from __future__ import annotations

import asyncio
import time

COMPUTE_S = 0.001
WAIT_S = 0.005


def nothing(item: object) -> None:
    """Do nothing."""


async def nothing_async(item: object) -> None:
    """Do nothing, as a coroutine."""


def compute(item: object) -> None:
    """Use a millisecond of CPU."""
    until = time.thread_time() + COMPUTE_S
    while time.thread_time() < until:
        pass


async def compute_async(item: object) -> None:
    """Use a millisecond of CPU, as a coroutine: nothing else on the loop goes on meanwhile."""
    compute(item)


def wait(item: object) -> None:
    """Wait for five milliseconds."""
    time.sleep(WAIT_S)


async def wait_async(item: object) -> None:
    """Wait for five milliseconds, as a coroutine."""
    await asyncio.sleep(WAIT_S)
