"""B5, third part: a journal that others hold, damage, or read; and what has changed since it was written."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
from longshore import Settings, WorkerPool
from longshore.errors import JournalError
from longshore.records import JournalQuery, RunOpening
from longshore_sqlite import SqliteJournal, _journal
from longshore_sqlite._lock import Holder
from suite import leaks
from suite.keeper import keep
from suite.ledger import Ledger, reader, recorded
from suite.lives import BROKEN, HELD, Plan, alive, digest, expected, last_error, lines_of, live, square
from suite.registry import scenario
from suite.trial import Trial

FIXTURES = Path(__file__).parents[1] / "suite" / "journals"
_fork = multiprocessing.get_context("fork")


@scenario(
    "J8",
    "others hold the database: a writer, a reader, a second controller",
    "waited for within the limit and named beyond it; what a reader holds only grows the log",
    short_s=60.0,
    long_s=400.0,
)
def j8_locked(trial: Trial) -> None:
    hold_s = trial.pick(1.0, 30.0)
    patient = Plan(Path(mkdtemp(dir=trial.folder)), trial.pick(300, 3000), 0.02, journal={"busy_timeout_s": hold_s * 2})
    ledger = Ledger(trial, patient)
    with alive(patient) as process:
        _hold(patient, hold_s)
        second = live(patient)
        reason, message = last_error(patient)
        named = f"process {process.pid} " in message
        trial.expect(second == HELD and reason == "held" and named, f"a second one ended with {second}: {message}")
        process.join(60.0)
        trial.expect(process.exitcode == 0, f"it ended with {process.exitcode}, and had to wait only")
    ledger.after_life(killed=False)
    ledger.at_end()
    hasty = Plan(Path(mkdtemp(dir=trial.folder)), 300, 0.02, journal={"busy_timeout_s": 0.5})
    ledger = Ledger(trial, hasty)
    with alive(hasty) as process:
        since = _hold(hasty, 3.0, until=lambda: process.exitcode is not None)
        process.join(20.0)
        trial.expect(process.exitcode == BROKEN, f"it ended with {process.exitcode}, and could not write for 3 s")
        trial.tell("told_after_s", round(time.monotonic() - since, 2))
        trial.expect(last_error(hasty)[0] == "locked", f"it is named as {last_error(hasty)}")
    ledger.after_life()
    trial.expect(live(hasty) == 0, "with nobody in the way it did not end well")
    ledger.after_life(killed=False)
    ledger.at_end()
    _read_on(trial)


def _hold(plan: Plan, seconds: float, until: Any = lambda: False) -> float:
    """Hold the database for writing as soon as something is recorded; return since when."""
    leaks.wait_for(lambda: plan.begun and recorded(plan.database, "idx"), 20.0)
    with closing(sqlite3.connect(plan.database, isolation_level=None, timeout=10.0)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("BEGIN EXCLUSIVE")
        since = time.monotonic()
        leaks.wait_for(until, seconds)
        other.execute("ROLLBACK")
    return since


def _read_on(trial: Trial) -> None:
    """Hold what was read at the beginning over a whole run."""
    plan = Plan(Path(mkdtemp(dir=trial.folder)), trial.pick(600, 6000), 0.002, text=5000)
    ledger = Ledger(trial, plan)
    with alive(plan) as process:
        leaks.wait_for(lambda: plan.begun and recorded(plan.database, "idx"), 20.0)
        with closing(reader(plan.database)) as other:
            other.execute("BEGIN")
            before = other.execute("SELECT count(*) FROM tasks").fetchone()
            largest = 0
            while process.exitcode is None:
                with suppress(FileNotFoundError):
                    largest = max(largest, os.stat(f"{plan.database}-wal").st_size)
                process.join(0.05)
            trial.expect(before == other.execute("SELECT count(*) FROM tasks").fetchone(), "what was read has changed")
        trial.expect(process.exitcode == 0, f"with a reader it ended with {process.exitcode}")
    trial.tell("log_mb_with_a_reader", round(largest / 2**20, 1))
    ledger.after_life(killed=False)
    ledger.at_end()


@scenario(
    "J9",
    "the journal is cut off or a bit of it flipped, anywhere",
    "it is named, or what is whole is there: of a log up to the damage; never another result in its place",
    short_s=60.0,
    long_s=600.0,
)
def j9_damaged(trial: Trial) -> None:
    _journal._leak = lambda connection: connection and connection.close()  # of hundreds, here
    batches = 40
    base = Path(mkdtemp(dir=trial.folder))
    process = _fork.Process(target=_kept_and_killed, args=(base, batches))
    process.start()
    process.join(60.0)
    logged = base / "log"
    closed = base / "closed"
    shutil.copytree(logged, closed)
    journal = SqliteJournal(SqliteJournal.Settings(path=str(closed)))
    journal.open(RunOpening(run_id="run", at=2.0, resume=True))
    whole = _outcomes(journal)
    journal.close()
    [spooled, *_] = sorted((closed / "run" / "spool").iterdir())
    for root, name in ((closed, "journal.db"), (logged, "journal.db-wal"), (closed, f"spool/{spooled.name}")):
        data = (root / "run" / name).read_bytes()
        what = name.partition("/")[0].removeprefix("journal.")
        tail = max(0, len(data) - (64 << 10))
        for _ in range(trial.pick(30, 700)):
            _judge_damage(trial, root, name, data[: trial.dice.randrange(tail, len(data))], whole, f"{what}_cut")
            flipped = bytearray(data)
            flipped[trial.dice.randrange(len(data))] ^= 1 << trial.dice.randrange(8)
            _judge_damage(trial, root, name, bytes(flipped), whole, f"{what}_flipped")


def _kept_and_killed(base: Path, batches: int) -> None:
    acks = os.open(base / "acks", os.O_WRONLY | os.O_CREAT, 0o600)
    _journal._CHECKPOINT_BYTES = 16 << 20  # so that there is much in the log
    keep(base / "log", "process", batches, acks)
    os._exit(0)


def _outcomes(journal: SqliteJournal) -> dict[str, Any]:
    return {outcome.task_id: outcome.value for outcome in journal.load(JournalQuery())}


def _judge_damage(trial: Trial, root: Path, name: str, data: bytes, whole: dict[str, Any], what: str) -> None:
    """Put damaged data in a file's place, and count what comes of it: named, fewer, or as if nothing had been."""
    target = Path(mkdtemp(dir=trial.folder), "runs")
    shutil.copytree(root, target)
    (target / "run" / name).write_bytes(data)
    (target / "run" / "journal.db-shm").unlink(missing_ok=True)
    journal = SqliteJournal(SqliteJournal.Settings(path=str(target)))
    try:
        journal.open(RunOpening(run_id="run", at=2.0, resume=True))
        found = _outcomes(journal)
    except JournalError as error:
        trial.add(f"{what}_named", 1)
        trial.expect(error.facts.get("reason") in ("damaged", "io", "newer", "failed"), f"{what} is named as {error}")
        return
    finally:
        with suppress(JournalError):
            journal.close()
        shutil.rmtree(target.parent)
    others = sum(whole.get(task_id) != value for task_id, value in found.items())
    trial.add(f"{what}_another_result", others)
    trial.expect(not others, f"{what}: a result is another one, and nobody was told")
    trial.add(f"{what}_fewer" if len(found) < len(whole) else f"{what}_harmless")
    few = len(found) >= len(whole) - 2  # one bit may take one task's end away: it runs again, and that is said
    trial.expect("wal" in what or few, f"{what}: results are gone, and nobody was told")


@scenario("J10", "the lock is left by a dead process, another boot, another host", "whoever is dead holds nothing")
def j10_stale_locks(trial: Trial) -> None:
    plan = Plan(trial.folder, 1000, 0.02)
    ledger = Ledger(trial, plan)
    this = Holder.this()
    holders = {
        "dead pid": replace_struct(this, pid=2**22 - 3, started="1"),
        "recycled pid": replace_struct(this, pid=1, started="1"),
        "another boot": replace_struct(this, pid=1, boot="0" * 36),
        "another host": replace_struct(this, pid=1, boot="1" * 36, host="elsewhere"),
        "torn": None,
    }
    for name, holder in holders.items():
        done = len(recorded(plan.database, "idx")) if plan.begun else 0
        with alive(plan):
            leaks.wait_for(lambda: plan.begun and len(recorded(plan.database, "idx")) > done, 20.0)  # noqa: B023 - called here
        ledger.after_life()
        text = msgspec.json.encode(holder) if holder else msgspec.json.encode(this)[:20]
        (plan.database.parent / "lock").write_bytes(text)
        with alive(plan) as process:
            leaks.wait_for(lambda: process.exitcode is not None or _is_held(plan), 20.0)
            trial.expect(
                process.exitcode is None, f"the lock of {name} was taken for one that holds: {last_error(plan)}"
            )
            trial.add("decided")
        ledger.after_life()
    trial.expect(live(plan) == 0, "the last life did not end well")
    ledger.after_life(killed=False)
    ledger.at_end()


def _is_held(plan: Plan) -> bool:
    with suppress(msgspec.MsgspecError, OSError):
        found = msgspec.json.decode((plan.database.parent / "lock").read_bytes(), type=Holder)
        return found.pid != os.getpid() and found.boot == Holder.this().boot and found.pid > 1
    return False


def replace_struct(one: Any, **facts: Any) -> Any:
    """Return a record with other facts."""
    return msgspec.structs.replace(one, **facts)


@scenario(
    "J11",
    "inputs are reordered, inserted, edited, left out; the version changes",
    "by what they are: nothing is skipped that was not done, or done again that was; a change is said",
    long_s=300.0,
)
def j11_changed_inputs(trial: Trial) -> None:
    for number in range(trial.pick(2, 40)):
        dice = random.Random(f"{trial.seed} {number}")
        items = [{"n": one, "text": f"text {one}"} for one in range(120)]
        plan = Plan(Path(mkdtemp(dir=trial.folder)), task_s=0.005, items=tuple(items))
        with alive(plan):
            leaks.wait_for(lambda: plan.begun, 20.0)  # noqa: B023 - called here
            time.sleep(dice.uniform(0.0, 0.1))
        done = {json.dumps(items[index]) for index, *_ in recorded(plan.database, "idx")}
        changed = [dict(one) for one in items]
        dice.shuffle(changed)
        for one in changed[:20]:
            one["text"] += ", edited"
        changed = [*changed[5:], *({"n": 500 + one, "text": "new"} for one in range(10))]
        dice.shuffle(changed)
        after = replace(plan, items=tuple(changed))
        _resumed(trial, after, [json.dumps(one) for one in changed if json.dumps(one) not in done], "changed inputs")
        trial.add("known", len(done))
        newer = replace(after, options={"version": "2"})
        _resumed(trial, newer, [json.dumps(one) for one in changed], "another version")
        notes = lines_of(plan.folder / "notes")
        trial.expect(not done or "recorded before" in notes[-2], f"it was not said: {notes}")


def _resumed(trial: Trial, plan: Plan, wanted: list[str], what: str) -> None:
    """Go on with a run; of these items, and no others, the tasks are to run, once each."""
    before = len(lines_of(plan.folder / "audit")), len(lines_of(plan.folder / "told"))
    trial.expect(live(plan) == 0, f"{what}: it did not end well: {last_error(plan)}")
    ran = [line.split("\t")[1] for line in lines_of(plan.folder / "audit")[before[0] :] if line.startswith("began")]
    trial.add("skipped_wrongly", len(set(wanted) - set(ran)))
    trial.add("ran_in_vain", len(ran) - len(set(ran) & set(wanted)))
    trial.expect(sorted(ran) == sorted(wanted), f"{what}: {len(ran)} ran, and {len(wanted)} were not done")
    told = [json.loads(line) for line in lines_of(plan.folder / "told")[before[1] :]]
    trial.add("lost", len(plan.inputs) - len(told))
    wrong = [index for index, _, value in told if value != digest(expected(plan.inputs[index], plan.text))]
    trial.add("bystanders", len(wrong))
    trial.add("tasks", len(told))


@scenario(
    "J15",
    "one writes, eight read, and the log is worked in all the time",
    "nobody is in anybody's way, and the database stays sound",
    short_s=60.0,
    long_s=300.0,
)
def j15_readers(trial: Trial) -> None:
    seconds = trial.pick(3.0, 60.0)
    _journal._CHECKPOINT_BYTES = 32 << 10  # as often as can be; the lives are forks of this process
    plan = Plan(trial.folder, int(seconds * 300), 0.02, text=400)
    ledger = Ledger(trial, plan)
    with alive(plan) as process:
        leaks.wait_for(lambda: plan.begun and recorded(plan.database, "idx"), 20.0)
        readers = [_fork.Process(target=_read, args=(plan, number)) for number in range(8)]
        for one in readers:
            one.start()
        process.join(seconds * 4)
        trial.expect(process.exitcode == 0, f"the writer ended with {process.exitcode}: {last_error(plan)}")
        (plan.folder / "over").touch()
        for one in readers:
            one.join(20.0)
            trial.expect(one.exitcode == 0, f"a reader ended with {one.exitcode}")
            one.close()
    trial.tell("reads", sum(int(line) for line in lines_of(plan.folder / "reads")))
    trial.tell("sqlite", sqlite3.sqlite_version)
    ledger.after_life(killed=False)
    ledger.at_end()


def _read(plan: Plan, number: int) -> None:
    archive, seen, reads = SqliteJournal(SqliteJournal.Settings(path=str(plan.root))).archive(), 0, 0
    while not (plan.folder / "over").exists():
        [run] = archive.runs()
        assert run.state != "damaged", run
        count = sum(run.counts.values()) - run.counts.get("unfinished", 0)
        assert count >= seen, f"{count} outcomes are there, and there were {seen}"
        seen, reads = count, reads + 1
        if number % 2:
            found = {outcome.index: outcome.value for outcome in archive.outcomes(JournalQuery(run_id=run.run_id))}
            assert all(value["item"] == index for index, value in found.items())
        time.sleep(0.01)
    with (plan.folder / "reads").open("a") as file:
        file.write(f"{reads}\n")


@scenario("J16", "journals that earlier forms have written", "each is opened by this one, and gives the same results")
def j16_older_forms(trial: Trial) -> None:
    for form in sorted(FIXTURES.iterdir()):
        root = Path(mkdtemp(dir=trial.folder), "runs")
        shutil.copytree(form, root)
        for path in (root, *root.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        asyncio.run(_as_it_was(trial, root, form.name))
        trial.add("forms")


async def _as_it_was(trial: Trial, root: Path, form: str) -> None:
    """Go on with a run of which eight of twelve tasks were done, and one of these had failed."""
    settings = Settings(probes=(), journals={"sqlite": {"path": str(root)}})
    async with WorkerPool(settings=settings, journal="sqlite", resume="run") as pool:
        on = pool.options(executor="threads", version="1")
        outcomes = [outcome async for outcome in on.outcomes(square, range(12))]
    restored = sorted(outcome.index for outcome in outcomes if outcome.restored)
    trial.expect(restored == [*range(8)], f"form {form}: {restored} were restored")
    trial.add("tasks", len(outcomes))
    wrong = [outcome.index for outcome in outcomes if outcome.value != outcome.index**2]
    trial.expect(not wrong, f"form {form}: {wrong} are not as they were")
