"""On which loop a pool may be called: on its own, as nothing of it would wake who waits on another."""

from __future__ import annotations

import asyncio

from longshore.errors import WrongPlace


def check_on(loop: asyncio.AbstractEventLoop) -> None:
    """Raise WrongPlace unless this is called on `loop`."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # a thread without one
        here = None
    if here is loop:
        return
    if loop.is_closed():
        raise WrongPlace("the loop that the pool ran on is closed: start the pool anew on the loop that is to use it")
    raise WrongPlace(
        "this was called outside of the loop that the pool runs on; from another thread or loop use "
        "`pool.submit_threadsafe(...)`, or `asyncio.run_coroutine_threadsafe(..., pool.loop)` for a coroutine"
    )


def in_no_task() -> bool:
    """Tell whether a callback of the loop runs here, and no task."""
    try:
        return asyncio.current_task() is None
    except RuntimeError:
        return True
