"""To wait for what others bring about: on a condition, with a deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

PATIENCE_S = 30.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition while the loop goes on."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited too long for {what}"
        await asyncio.sleep(0.002)


def wait_until(condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition that another thread or process brings about."""
    give_up = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up, f"waited too long for {what}"
        pause.wait(0.002)
