"""B5, first part: controllers that are killed, and runs that go on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

from longshore import Outcome, Settings, TaskState, WorkerPool
from longshore.records import CommitBatch, RunOpening, Settled, TaskKind
from longshore_sqlite import SqliteJournal
from suite import audit, leaks
from suite.ledger import Ledger, reader, recorded
from suite.lives import BROKEN, HELD, Plan, alive, last_error, lines_of, live, output_parts
from suite.registry import scenario
from suite.trial import Trial


def kill_and_resume(trial: Trial, plan: Plan, most: int, within_s: float) -> int:
    """Kill lives of a run at random, at most so many, until one ends by itself; return how many were killed."""
    ledger, kills, opened = Ledger(trial, plan), 0, 0
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
        now = len(lines_of(plan.folder / "begun"))
        trial.add("kills_at_work", now > opened)
        opened = now
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
        kills = kill_and_resume(trial, plan, min(left, trial.pick(10, 334)), 0.9 if executor == "processes" else 0.6)
        trial.add("kills", kills)
        most += kills * workers
        left -= kills
        runs += 1
    trial.tell("kills_x_workers", most)
    _time_resumes(trial)


def _time_resumes(trial: Trial) -> None:
    """Take the time until a pool is open again, by how much is recorded."""
    for size, times in trial.pick(((1000, 3),), ((1000, 100), (10_000, 50), (100_000, 20), (1_000_000, 3))):
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


POINTS = {
    "journal.before-naming": 1,
    "journal.before-commit": 4,
    "journal.inside-commit": 4,
    "journal.before-checkpoint": 4,
    "journal.after-commit": 4,
    "journal.before-spooling": 4,
}
"""Where a controller is killed, and how many may run at once then."""


@scenario(
    "J2",
    "killed at each named point of a commit",
    "only what had run and was not committed runs again; nothing is lost",
    short_s=60.0,
    long_s=600.0,
)
def j2_killed_at_points(trial: Trial) -> None:
    for point, workers in POINTS.items():
        text = 70_000 if point == "journal.before-spooling" else 20
        plan = Plan(Path(mkdtemp(dir=trial.folder)), 60, 0.01, workers=workers, text=text)
        ledger, kills = Ledger(trial, plan), 0
        before = trial.figures.get("extra_executions", 0)
        for number in range(trial.pick(3, 40)):
            seed = f"{trial.seed}{number}"
            chaos = {"LONGSHORE_CHAOS": f"{point}:0.2:kill", "LONGSHORE_CHAOS_SEED": seed}
            if point == "journal.before-naming":
                chaos["LONGSHORE_CHAOS"] = f"{point}:1:kill"
            ended = live(plan, chaos=chaos)
            trial.expect(ended in (0, -signal.SIGKILL), f"{point}: a life ended with {ended}: {last_error(plan)}")
            kills += ended != 0
            ledger.after_life(killed=ended != 0)
            if ended == 0:
                break
        trial.expect(kills or point != "journal.before-naming", f"{point}: nobody was killed")
        trial.expect(live(plan) == 0, f"{point}: the last life did not end well: {last_error(plan)}")
        ledger.after_life(killed=False)
        ledger.at_end()
        trial.tell(point, f"{kills} kills, {int(trial.figures['extra_executions']) - int(before)} ran again")


@scenario("J12", "two controllers go on with one run", "one is refused and told by whom; late writes are fenced off")
def j12_two_controllers(trial: Trial) -> None:
    plan = Plan(trial.folder, trial.pick(400, 4000), 0.05)
    ledger = Ledger(trial, plan)
    _kill_after(trial, plan, 0.5)
    ledger.after_life()
    for _ in range(trial.pick(3, 40)):
        with alive(plan) as one, alive(plan) as other:
            leaks.wait_for(lambda: HELD in (one.exitcode, other.exitcode), 20.0)
            ends = sorted(str(process.exitcode) for process in (one, other))
            trial.expect(ends in (["3", "None"], ["0", "3"]), f"the two ended with {ends}")
        reason, message = last_error(plan)
        trial.expect(reason == "held" and "process " in message, f"it was refused with {reason}: {message}")
        trial.add("refused")
        ledger.after_life()
    _fenced(trial, plan, ledger)


def _fenced(trial: Trial, plan: Plan, ledger: Ledger) -> None:
    """Stop one, take its lock away as somebody might who believes it dead, finish with another, and let it go on."""
    again = replace(plan, options={"version": "2"})
    with alive(again) as late:
        leaks.wait_for(lambda: _state(plan) == "running", 20.0)
        time.sleep(0.5)
        os.kill(late.pid or 0, signal.SIGSTOP)
        (plan.database.parent / "lock").unlink()
        taken = live(again)
        os.kill(late.pid or 0, signal.SIGCONT)
        late.join(20.0)
        reason, message = last_error(plan)
        trial.expect(taken == 0, f"who took over ended with {taken}")
        trial.expect(
            late.exitcode == BROKEN and reason == "fenced", f"the late one ended with {late.exitcode}: {message}"
        )
    rows = recorded(plan.database, "idx, kind")
    trial.add("recorded_twice", len(rows) - len(set(rows)))
    ledger.check_whole()


def _state(plan: Plan) -> str:
    with closing(reader(plan.database)) as connection:
        return str(connection.execute("SELECT state FROM run").fetchone()[0])


def _kill_after(trial: Trial, plan: Plan, seconds: float) -> None:
    with alive(plan) as process:
        leaks.wait_for(lambda: plan.begun, 20.0)
        process.join(seconds)
        trial.expect(process.exitcode is None, f"the run had ended after {seconds} s, with {process.exitcode}")


@scenario(
    "J13",
    "killed while tasks write their output files",
    "each file is whole or not there, and all are there at the end",
    long_s=400.0,
)
def j13_output_files(trial: Trial) -> None:
    for executor in ("threads", "processes"):
        plan = Plan(Path(mkdtemp(dir=trial.folder)), 120, 0.02, executor=executor, workers=4, outputs=True)
        ledger = Ledger(trial, plan)
        for _ in range(trial.pick(5, 60)):
            with alive(plan) as process:
                process.join(trial.dice.uniform(0.2, 0.9))
                if process.exitcode == 0:
                    break
                if executor == "processes" and trial.dice.random() < 0.5:
                    leaks.kill(leaks.workers(process.pid or 0)[:1])
                    process.join(0.05)
            trial.add("kills")
            ledger.after_life()
            _check_outputs(trial, plan)
        trial.expect(live(replace(plan)) == 0, "the last life did not end well")
        files = _check_outputs(trial, plan)
        died = {index for index, state in recorded(plan.database, "idx, state") if state == "failed"}
        trial.add("workers_died_under", len(died))
        trial.expect(len(files | died) == plan.tasks, f"{len(files)} files are there of {plan.tasks}")


def _check_outputs(trial: Trial, plan: Plan) -> set[int]:
    found = set()
    for path in plan.folder.iterdir():
        if path.name.startswith(".out"):
            trial.notes.append(f"a draft is there: {path.name}")
        elif path.name.startswith("out"):
            number = int(path.name[3:])
            whole = path.read_bytes() == b"".join(output_parts(number))
            trial.add("torn", not whole)
            trial.expect(whole, "a file was there in part")
            found.add(number)
    return found


@scenario(
    "E7", "killed, and begun again: the progress that is shown", "it goes on from what is recorded, and never goes back"
)
def e7_progress(trial: Trial) -> None:
    plan = Plan(trial.folder, trial.pick(300, 3000), 0.01)
    ledger = Ledger(trial, plan)

    def watch(pool: WorkerPool) -> None:
        now = pool.snapshot()
        audit.write(str(plan.folder / "progress"), f"{os.getpid()} {now.ended} {now.submitted}", sync=False)

    for _ in range(trial.pick(3, 25)):
        with alive(plan, watch=watch) as process:
            process.join(trial.dice.uniform(0.2, 0.6))
            if process.exitcode == 0:
                break
        ledger.after_life()
        trial.add("kills")
    trial.expect(live(plan, watch=watch) == 0, "the last life did not end well")
    ledger.after_life(killed=False)
    ledger.at_end()
    lives: dict[str, list[tuple[int, int]]] = {}
    for line in lines_of(plan.folder / "progress"):
        pid, ended, submitted = line.split()
        lives.setdefault(pid, []).append((int(ended), int(submitted)))
    for shown in lives.values():
        trial.expect(shown == sorted(shown), "progress went back")
    highest = [max(ended for ended, _ in shown) for shown in lives.values()]
    reached = all(later >= earlier for earlier, later in pairwise(highest[1:]))
    trial.tell("shown_at_the_end", f"{highest[-1]} of {plan.tasks}")
    trial.expect(highest[-1] == plan.tasks, f"at the end {highest[-1]} of {plan.tasks} were shown")
    trial.tell("each_life_went_further", "yes" if reached else "no")
