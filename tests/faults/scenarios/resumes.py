"""B5, first part: controllers that are killed, and runs that go on."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp

from longshore import Outcome, Settings, TaskState, WorkerPool
from longshore.records import CommitBatch, RunOpening, Settled, TaskKind
from longshore_sqlite import SqliteJournal
from suite.ledger import Ledger
from suite.lives import Plan, alive, live
from suite.registry import scenario
from suite.trial import Trial


def kill_and_resume(trial: Trial, plan: Plan, most: int, within_s: float) -> int:
    """Kill lives of a run at random, at most so many, until one ends by itself; return how many were killed."""
    ledger, kills = Ledger(trial, plan), 0
    while kills < most:
        with alive(plan) as process:
            process.join(trial.dice.uniform(0.0, within_s))
            ended = process.exitcode
        if ended == 0:
            break
        if ended is not None:
            trial.expect(False, f"a life ended with {ended}")
            return kills
        kills += 1
        ledger.after_life()
    else:
        ended = live(plan)
        trial.expect(ended == 0, f"the last life ended with {ended}")
    ledger.after_life(killed=False)
    ledger.at_end()
    return kills


@scenario(
    "J1",
    "kill -9 of the controller at random, and the run resumed each time",
    "what was told of is kept, each task has one outcome, and only what was not committed runs twice",
    long_s=1200.0,
)
def j1_killed_again_and_again(trial: Trial) -> None:
    left, runs = trial.pick(30, 1000), 0
    most = 0
    while left > 0:
        executor, workers = ("processes", 4) if runs % 3 == 2 else ("threads", 8)
        plan = Plan(Path(mkdtemp(dir=trial.folder)), trial.pick(400, 5000), executor=executor, workers=workers)
        kills = kill_and_resume(trial, plan, min(left, trial.pick(10, 1000)), 0.9 if executor == "processes" else 0.6)
        trial.add("kills", kills)
        most += kills * workers
        left -= kills
        runs += 1
    trial.tell("kills_x_workers", most)
    _time_resumes(trial)


def _time_resumes(trial: Trial) -> None:
    """Take the time until a pool is open again, by how much is recorded."""
    for size, times in trial.pick(((1000, 3),), ((1000, 100), (10_000, 50), (100_000, 20), (1_000_000, 5))):
        root = Path(mkdtemp(dir=trial.folder))
        journal = SqliteJournal(SqliteJournal.Settings(path=str(root)))
        journal.open(RunOpening(run_id="run", at=1.0))
        kind = TaskKind(name="work", function="module.work", version="1")
        for begin in range(0, size, 1000):
            ids = [f"t{number}" for number in range(begin, begin + 1000)]
            outcomes = [Outcome(name, None, 0, "work", TaskState.COMPLETED, {"name": name}) for name in ids]
            journal.commit(CommitBatch(run_id="run", settled=[Settled(kind, outcomes, ids)]))
        journal.close()
        taken = sorted(asyncio.run(_opened_in_s(root)) for _ in range(times))
        p50, p99 = taken[len(taken) // 2], taken[min(len(taken) - 1, len(taken) * 99 // 100)]
        trial.tell(f"resume_s_of_{size}", f"{p50:.3f} (p99 {p99:.3f})")
        shutil.rmtree(root)


async def _opened_in_s(root: Path) -> float:
    settings = Settings(probes=(), journals={"sqlite": {"path": str(root)}})
    since = time.monotonic()
    async with WorkerPool(settings=settings, journal="sqlite", resume="run"):
        return time.monotonic() - since
