"""How many reservations a second can be made and given back while many others are live.

uv run python tests/bench/reservations.py    # with 10, 1,000, 10,000 and 100,000 live ones
"""

from __future__ import annotations

import asyncio
import sys
import time

from longshore import ResourceLimits, ResourceMonitor
from longshore._engine.ledger import Ledger

PAIRS = 50_000
LIVE = (10, 1_000, 10_000, 100_000)
AMOUNTS = {"cpu": 0.0001, "memory": 0.0001}
FLOOR = 100_000.0


def ledger_per_s(live: int) -> float:
    """Return how many calls a second the engine's ledger does, of asking, lending and taking back."""
    ledger = Ledger({"cpu": 1e9, "memory": 1e9})
    for number in range(live):
        ledger.lend(f"live-{number}", AMOUNTS)
    began = time.perf_counter()
    for number in range(PAIRS):
        if ledger.fits(AMOUNTS):
            ledger.lend(str(number), AMOUNTS)
        ledger.take_back(str(number))
    return 2 * PAIRS / (time.perf_counter() - began)


async def monitor_per_s(live: int) -> float:
    """Return the same of `ResourceMonitor.allocate` and `release`."""
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=100.0, max_memory_percent=100.0))
    for number in range(live):
        await monitor.allocate(f"live-{number}", AMOUNTS)
    began = time.perf_counter()
    for number in range(PAIRS):
        if not await monitor.allocate(str(number), AMOUNTS):
            raise AssertionError("there was room")
        await monitor.release(str(number))
    return 2 * PAIRS / (time.perf_counter() - began)


def main() -> int:
    """Measure, print, and return 1 where ten thousand live ones are too many."""
    slowest = float("inf")
    for live in LIVE:
        ledger = max(ledger_per_s(live) for _ in range(3))
        monitor = max(asyncio.run(monitor_per_s(live)) for _ in range(3))
        print(f"{live} live: {monitor:,.0f} calls a second of the monitor, {ledger:,.0f} of the ledger")
        slowest = min(slowest, monitor, ledger) if live <= 10_000 else slowest
    return 0 if slowest > FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
