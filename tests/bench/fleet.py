"""A fleet of workers that is only computed: what the engine decides for it, how fast, and the same when run again.

    uv run python tests/bench/fleet.py                       # 1,000 workers, 1,000,000 tasks
    uv run python tests/bench/fleet.py --workers 10000 --tasks 10000000 --mix plain --ran-s 1
    uv run python tests/bench/fleet.py --workers 100 --tasks 20000 --seed 7 --lose 5
    uv run python tests/bench/fleet.py --mix plain --ran-s 0.5 --controller-us 150 --json

Tasks take what the dice say, of time and of memory; one in a hundred is a straggler that takes twenty times as long. In
the mix `mixed` some ask for resources, all take memory that is learnt, and there are four executors; `plain` tasks ask
for nothing, on one executor, and take `--ran-s` on average. With `--lose N` a twentieth of all workers is lost N times,
20 s apart, for a minute each. With `--controller-us` the controller takes so long for each task that has ended, and
workers wait for it; without, its decisions take no simulated time.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from longshore.task import Resources
from longshore.testing.simulation import Loss, Simulated, Simulation, Work

YARDS = 4
LIMIT_PERCENT = 75.0
MB_PER_WORKER = 1000.0 * 100.0 / LIMIT_PERCENT
STRAGGLERS, STRAGGLES = 0.01, 20.0
LOST_SHARE, LOST_EVERY_S, LOST_FOR_S = 0.05, 20.0, 60.0


class Sort(NamedTuple):
    """A kind of task: how often it comes, what it asks for, and what it takes on average."""

    name: str
    weight: float
    ran_s: float
    peak_mb: float | None = None
    resources: Resources | None = None


SORTS = (
    Sort("light", 0.70, 0.2, 15.0),
    Sort("heavy", 0.20, 1.0, 2500.0),
    Sort("declared", 0.09, 0.5, 400.0, Resources(cpu=1, memory_mb=900)),
    Sort("either", 0.01, 0.5, 100.0, Resources(custom={"licence": 0.5}) | Resources(cpu=4)),
)


class Fleet(NamedTuple):
    """What is computed."""

    workers: int
    tasks: int
    seed: int = 1
    lose: int = 0
    ran_s: float | None = None
    """What a plain task takes on average; None for the mix of sorts, on four executors."""
    controller_us: float = 0.0

    def sorts(self) -> Sequence[Sort]:
        """Return the kinds of tasks there are."""
        if self.ran_s is None:
            return SORTS
        return (Sort("plain", 1.0, self.ran_s / (1.0 + STRAGGLERS * (STRAGGLES - 1.0))),)

    def executors(self) -> dict[str, int]:
        """Return how many workers each has."""
        yards = YARDS if self.ran_s is None else 1
        return {f"yard-{yard}": self.workers // yards for yard in range(yards)}

    def works(self) -> Iterator[Work]:
        """Yield the tasks, some dozens of a sort at a time as streams would bring them."""
        dice, sorts, yards = random.Random(self.seed), self.sorts(), list(self.executors())
        weights = [sort.weight for sort in sorts]
        for first in range(0, self.tasks, 64):
            sort, yard = dice.choices(sorts, weights)[0], dice.choice(yards)
            for _ in range(min(64, self.tasks - first)):
                straggles = STRAGGLES if dice.random() < STRAGGLERS else 1.0
                yield Work(
                    stage=sort.name,
                    executor=yard,
                    ran_s=sort.ran_s * dice.uniform(0.5, 1.5) * straggles,
                    peak_memory_mb=None if sort.peak_mb is None else sort.peak_mb * dice.uniform(0.6, 1.4),
                    resources=sort.resources,
                )

    def simulation(self) -> Simulation:
        """Return it with everything ahead."""
        mixed = self.ran_s is None
        return Simulation(
            self.works(),
            workers=self.executors(),
            memory_mb=self.workers * MB_PER_WORKER if mixed else None,
            limit_percent=LIMIT_PERCENT,
            losses=[Loss(LOST_EVERY_S * (number + 1), LOST_SHARE, LOST_FOR_S) for number in range(self.lose)],
            uniform=random.Random(self.seed).random,
            capacity={"licence": self.workers / 100.0} if mixed else None,
            controller_s=self.controller_us / 1e6,
        )


def say(done: int, simulated_s: float) -> None:
    """Tell how far a long one is."""
    if done % 1_000_000 < 1000:
        print(f"{done} tasks done, {simulated_s:.0f} s simulated", file=sys.stderr, flush=True)


def facts(fleet: Fleet, told: Simulated) -> dict[str, Any]:  # Any: JSON-safe values
    """Return what came of it, for programs."""
    busy_s = sum(told.busy_s.values())
    return {
        **fleet._asdict(),
        **msgspec.to_builtins(told),
        "busy_share": busy_s / (fleet.workers * told.makespan_s) if told.makespan_s else 0.0,
        "starts_per_cpu_s": told.starts / told.decide_cpu_s,
        "engine_us_per_task": 1e6 * told.decide_cpu_s / told.starts,
        "process_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000.0,
    }


def show(found: Mapping[str, Any]) -> None:  # Any: as facts gives them
    """Print what came of it."""
    percent = 100.0 * found["peak_memory_mb"] / (found["workers"] * MB_PER_WORKER)
    done, makespan_s, given_up = found["completed"], found["makespan_s"], found["given_up"]
    queued, idle, lost_s = found["queued"], found["idle"], found["lost_s"]
    print(f"{done} tasks on {found['workers']} workers, {makespan_s:.0f} s simulated, {given_up} given up")
    print(f"{found['starts_per_cpu_s']:.0f} starts decided per second of CPU ({found['decide_cpu_s']:.1f} s in all)")
    if percent:
        print(f"memory at most {percent:.0f} % where {LIMIT_PERCENT:.0f} % is the limit, {found['shed']} ended for it")
    print(f"tasks waited {queued['median_s']:.3g} s (median), 99 % at most {queued['p99_s']:.3g} s")
    print(f"workers were busy for {found['busy_share']:.1%} of the time; between two tasks they stood free")
    print(f"  for {idle['median_s']:.3g} s (median), 99 % at most {idle['p99_s']:.3g} s")
    print(f"{lost_s:.0f} s of work in vain, {100.0 * lost_s / sum(found['busy_s'].values()):.2f} % of what was done")
    print(f"this process took {found['process_peak_mb']:.0f} MB at most")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Decide for a fleet of workers that is only computed.")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lose", type=int, default=0, metavar="TIMES")
    parser.add_argument("--mix", choices=("mixed", "plain"), default="mixed")
    parser.add_argument("--ran-s", type=float, default=1.0, help="what a plain task takes on average")
    parser.add_argument("--controller-us", type=float, default=0.0, help="of the controller's time, for each task")
    parser.add_argument("--json", action="store_true", help="all figures, as one object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a fleet, and print what came of it."""
    given = parse(arguments)
    ran_s = given.ran_s if given.mix == "plain" else None
    fleet = Fleet(given.workers, given.tasks, given.seed, given.lose, ran_s, given.controller_us)
    told = fleet.simulation().run(say)
    found = facts(fleet, told)
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0 if told.completed + told.given_up == given.tasks else 1


if __name__ == "__main__":
    sys.exit(main())
