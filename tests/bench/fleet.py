"""A fleet of workers that is only computed: what the engine decides for it, how fast, and the same when run again.

    uv run python tests/bench/fleet.py                       # 1,000 workers, 1,000,000 tasks
    uv run python tests/bench/fleet.py --workers 10000 --tasks 10000000
    uv run python tests/bench/fleet.py --workers 100 --tasks 20000 --seed 7 --lose 5

Tasks take what the dice say, of time and of memory: some ask for resources, one in a hundred is a straggler that takes
twenty times as long. With `--lose N` a twentieth of all workers is lost N times, for a minute each.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
from collections.abc import Iterator
from typing import NamedTuple

from longshore.task import Resources
from longshore.testing.simulation import Loss, Simulated, Simulation, Work

YARDS = 4
LIMIT_PERCENT = 75.0
MB_PER_WORKER = 1000.0 * 100.0 / LIMIT_PERCENT
_STRAGGLERS, _STRAGGLES = 0.01, 20.0


class Sort(NamedTuple):
    """A kind of task: how often it comes, what it asks for, and what it takes on average."""

    name: str
    weight: float
    ran_s: float
    peak_mb: float
    resources: Resources | None = None


SORTS = (
    Sort("light", 0.70, 0.2, 15.0),
    Sort("heavy", 0.20, 1.0, 2500.0),
    Sort("declared", 0.09, 0.5, 400.0, Resources(cpu=1, memory_mb=900)),
    Sort("either", 0.01, 0.5, 100.0, Resources(custom={"licence": 0.5}) | Resources(cpu=4)),
)


def works(tasks: int, seed: int) -> Iterator[Work]:
    """Yield so many tasks, some dozens of a sort at a time as streams would bring them."""
    dice = random.Random(seed)
    left = tasks
    while left > 0:
        sort = dice.choices(SORTS, [sort.weight for sort in SORTS])[0]
        executor = f"yard-{dice.randrange(YARDS)}"
        for _ in range(min(left, 64)):
            straggles = _STRAGGLES if dice.random() < _STRAGGLERS else 1.0
            yield Work(
                stage=sort.name,
                executor=executor,
                ran_s=sort.ran_s * dice.uniform(0.5, 1.5) * straggles,
                peak_memory_mb=sort.peak_mb * dice.uniform(0.6, 1.4),
                resources=sort.resources,
            )
        left -= 64


def fleet(workers: int, tasks: int, seed: int, lose: int = 0) -> Simulation:
    """Return a fleet that has everything ahead."""
    return Simulation(
        works(tasks, seed),
        workers={f"yard-{yard}": workers // YARDS for yard in range(YARDS)},
        memory_mb=workers * MB_PER_WORKER,
        limit_percent=LIMIT_PERCENT,
        losses=[Loss(20.0 * (number + 1), 0.05, 60.0) for number in range(lose)],
        uniform=random.Random(seed).random,
        capacity={"licence": workers / 100.0},
    )


def say(done: int, simulated_s: float) -> None:
    """Tell how far a long one is."""
    if done % 1_000_000 < 1000:
        print(f"{done} tasks done, {simulated_s:.0f} s simulated", file=sys.stderr, flush=True)


def show(told: Simulated, workers: int) -> None:
    """Print what came of it."""
    percent = 100.0 * told.peak_memory_mb / (workers * MB_PER_WORKER)
    busy_s = sum(told.busy_s.values())
    grown_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000.0
    print(f"{told.completed} tasks on {workers} workers, {told.makespan_s:.0f} s simulated, {told.given_up} given up")
    print(f"{told.starts / told.decide_cpu_s:.0f} starts decided per second of CPU ({told.decide_cpu_s:.1f} s in all)")
    print(f"memory at most {percent:.0f} % where {LIMIT_PERCENT:.0f} % is the limit, {told.shed} ended for it")
    print(f"waited {told.mean_queued_s:.2f} s on average, 95 % at most {told.p95_queued_s:.2f} s")
    print(f"{told.lost_s:.0f} s of work in vain, {100.0 * told.lost_s / busy_s:.2f} % of what was done")
    print(f"this process took {grown_mb:.0f} MB at most")


def main(arguments: list[str] | None = None) -> int:
    """Run a fleet, and print what came of it."""
    parser = argparse.ArgumentParser(description="Decide for a fleet of workers that is only computed.")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lose", type=int, default=0)
    given = parser.parse_args(arguments)
    told = fleet(given.workers, given.tasks, given.seed, given.lose).run(say)
    show(told, given.workers)
    return 0 if told.completed + told.given_up == given.tasks else 1


if __name__ == "__main__":
    sys.exit(main())
