"""longshore: PoolExecutor with time limit and retry on, submit, then the result of each future; no sink."""

from __future__ import annotations

from futures import seconds_to_submit
from longshore import PoolExecutor, Settings
from ours import RETRY, TIMEOUT_S
from work import WORKERS


def measure(n: int, executor: str) -> float:
    """Return the seconds for n tasks."""
    with PoolExecutor(WORKERS, executor=executor, settings=Settings()) as pool:
        return seconds_to_submit(pool.with_options(timeout=TIMEOUT_S, retry=RETRY), n)
