"""B5, second part: disks that lose power, are full, or fail under a journal."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from longshore.errors import JournalError
from longshore.records import JournalQuery, RunOpening
from longshore_sqlite import SqliteJournal
from suite.keeper import names, value_of
from suite.ledger import Ledger
from suite.lives import BROKEN, Plan, last_error, live
from suite.power import Act, Disk, acts_of, compile_disk, put
from suite.registry import scenario
from suite.smalldisk import enlarge, small_disk
from suite.trial import Trial

KEEPER = Path(__file__).parents[1] / "suite" / "keeper.py"


def keep(trial: Trial, shim: Path, root: Path, durability: str, batches: int, fails: str = "[]", **env: str) -> str:
    """Run the keeper of a journal below the shim, and return what it said."""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "DISK_LOG": f"{root}.log", **env}
    if fails == "[]":
        environment["DISK_ROOT"] = str(root)
    root.mkdir()
    command = [sys.executable, str(KEEPER), str(root), durability, str(batches), fails]
    path = os.pathsep.join([str(KEEPER.parents[1]), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    trial.expect(done.returncode == 0, f"the keeper ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def kept_in(root: Path) -> int | str:
    """Return how many commits are there, from the first on and each whole; else what is wrong."""
    journal = SqliteJournal(SqliteJournal.Settings(path=str(root)))
    try:
        journal.open(RunOpening(run_id="run", at=2.0, resume=True))
    except JournalError as error:
        return f"refused: {error.facts.get('reason')}"
    try:
        found = {outcome.task_id: outcome.value for outcome in journal.load(JournalQuery())}
    except JournalError as error:
        return f"a result can't be read: {error}"
    finally:
        journal.close()
    if any(value != value_of(name) for name, value in found.items()):
        return "a result is another one"
    count = 0
    while found and all(name in found for name in names(count)):
        for name in names(count):
            del found[name]
        count += 1
    return f"parts of commits are there: {sorted(found)[:4]}" if found else count


@scenario(
    "J3",
    "power is lost at any moment: writes are dropped, reordered, torn",
    'with "power" nothing told of is lost; with "process" the state is one that there was; none is corrupted',
    short_s=60.0,
    long_s=900.0,
)
def j3_power_loss(trial: Trial) -> None:
    shim = compile_disk(trial)
    for durability in ("power", "process"):
        root = Path(mkdtemp(dir=trial.folder), "disk")
        keep(trial, shim, root, durability, trial.pick(26, 50))
        _cut_off_everywhere(trial, root, durability, trial.pick(5, 1), trial.pick(2, 5))


def _cut_off_everywhere(trial: Trial, root: Path, durability: str, every: int, draws: int) -> None:
    """Judge what is there after each act, by a kill of the process and by power loss."""
    acts, disk, acked = acts_of(Path(f"{root}.log")), Disk(root), 0
    acks = 0
    trial.add("acts", len(acts))
    for number, act in enumerate(acts):
        disk.take(act)
        if act.kind == "o" and act.data.endswith(b"/acks"):
            acks = act.file
        acked += act.kind == "w" and act.file == acks
        if number % every and number + 1 < len(acts):
            continue
        _judge(trial, root, disk.as_it_is(), acked, f"killed after act {number} with {durability}")
        for draw in range(draws):
            dice = random.Random(f"{trial.seed} {number} {draw}") if draw else None
            least = 0 if durability == "process" else acked
            kept = _judge(trial, root, disk.cut_off(dice), least, f"cut off after {number}/{draw}, {durability}")
            if durability == "process":
                trial.worst("lost_commits_process", max(0, acked - kept))


def _judge(trial: Trial, root: Path, state: dict[str, bytes | None], least: int, what: str) -> int:
    """Open one state, and return how many commits it has."""
    trial.add("states")
    target = Path(mkdtemp(dir=trial.folder), "disk")
    put(state, root, target)
    kept = kept_in(target / "runs")
    shutil.rmtree(target.parent)
    if isinstance(kept, str):
        if kept == "refused: unknown" and not least:
            return 0
        trial.add("corrupted")
        trial.expect(False, "a state was refused, or is not one that there was")
        trial.notes.append(f"{what}: {kept}, acknowledged {least}")
        return 0
    if kept < least:
        trial.add("acked_lost", least - kept)
        trial.expect(False, "what was told of is lost")
        trial.notes.append(f"{what}: {kept} commits are there, and {least} were acknowledged")
    return kept


@scenario(
    "J4",
    "the disk under a journal fills up, and has room again",
    "it is named, nothing told of is lost, the run goes on",
)
def j4_full_disk(trial: Trial) -> None:
    folder = Path(mkdtemp(dir=trial.folder))
    with small_disk(folder) as disk:
        plan = Plan(trial.folder, trial.pick(600, 3000), 0.002, runs=disk / "runs", text=2000)
        ledger = Ledger(trial, plan)
        for size in trial.pick(("8m",), ("1m", "16m")):
            _expect_broken(trial, ledger, "full")
            enlarge(disk, size)
            if size == "1m":
                continue
            _go_on(trial, ledger)


@scenario(
    "J5", "files may not grow beyond a limit (RLIMIT_FSIZE)", "it is named, SIGXFSZ ends nobody, and the run goes on"
)
def j5_limited_files(trial: Trial) -> None:
    plan = Plan(trial.folder, trial.pick(600, 3000), 0.002, text=2000)
    ledger = Ledger(trial, replace(plan, fsize=400_000))
    _expect_broken(trial, ledger, "full", "io")
    ledger.plan = plan
    _go_on(trial, ledger)


def _expect_broken(trial: Trial, ledger: Ledger, *reasons: str) -> None:
    ended = live(ledger.plan)
    reason, message = last_error(ledger.plan)
    trial.expect(ended == BROKEN and reason in reasons, f"it ended with {ended}, {reason}: {message[-200:]}")
    trial.tell("named_as", reason)
    trial.add("told_before", ledger.after_life())


def _go_on(trial: Trial, ledger: Ledger) -> None:
    since = time.monotonic()
    ended = live(ledger.plan)
    trial.worst("went_on_in_s", time.monotonic() - since)
    trial.expect(ended == 0, f"with room again it ended with {ended}: {last_error(ledger.plan)}")
    ledger.after_life(killed=False)
    ledger.at_end()


def fail_each(trial: Trial, calls: Sequence[tuple[str, int, int]], batches: int) -> None:
    """Have one call fail for each, in a process of its own, and hold what was told of against what is there."""
    shim = compile_disk(trial)
    root = Path(mkdtemp(dir=trial.folder), "disk")
    keep(trial, shim, root, "power", batches, json.dumps(calls))
    for number, (kind, nth, how) in enumerate(calls):
        said, acked = Path(f"{root}/{number}.said").read_text(), len(Path(f"{root}/{number}.acks").read_bytes().split())
        what = f"call {nth} of {kind} with {errno.errorcode.get(how, 'a short write')}"
        _judge_failure(trial, acts_of(Path(f"{root}/{number}.log")), said, what)
        if said == "ended":
            trial.expect(acked == batches, f"{what}: {acked} commits of {batches}")
        kept = kept_in(root / str(number) / "runs")
        if kept == "refused: unknown" and not acked:
            continue
        lost = isinstance(kept, str) or kept < acked
        trial.add("acked_lost", lost)
        trial.expect(not lost, f"{what}: {kept} are there, and {acked} were acknowledged")


def _judge_failure(trial: Trial, acts: Sequence[Act], said: str, what: str) -> None:
    """Expect that it was said, and that what may be half written was not taken for written."""
    trial.add("cases")
    named = said.removeprefix("JournalError ")
    trial.expect(said == "ended" or named in ("io", "full"), f"{what}: {said[:200]}")
    names = {act.file: act.data.decode() for act in acts if act.kind == "o"}
    failed = next((at for at, act in enumerate(acts) if act.failed), None)
    trial.add("failed", failed is not None)
    if failed is None or acts[failed].kind != "s":
        return
    path = names[acts[failed].file]
    after = [at for at in range(failed + 1, len(acts)) if acts[at].kind == "s" and names[acts[at].file] == path]
    if os.path.basename(path) == "run":  # the folder: SQLite asks for it and does not look, and then we do
        trial.expect(said != "ended" or after, f"{what}: names may be lost, and nobody was told")
        return
    trial.expect(said != "ended", f"{what}: nothing was said of it")
    # Before anything was told of, what was begun is taken back, which is written as well.
    again = after if any(act.kind == "o" and act.data.endswith(b"-wal") for act in acts[:failed]) else []
    trial.add("synced_again", len(again))
    trial.expect(not again, f"{what}: {path} was synced again as if nothing had been")


@scenario(
    "J6",
    "the nth fsync fails (EIO)",
    "it is never taken for done or tried again: nothing is told of, and the journal is closed",
    short_s=60.0,
    long_s=300.0,
)
def j6_failing_syncs(trial: Trial) -> None:
    calls = [("s", nth, errno.EIO) for nth in trial.pick([*range(1, 12), 16, 22, 31], range(1, 201))]
    fail_each(trial, calls, trial.pick(24, 130))
    trial.expect(trial.figures.get("failed") == len(calls), "not all of the calls were made")


@scenario(
    "J7",
    "the nth write fails (EIO, ENOSPC), is cut short, or interrupted",
    "nothing is told of that is not there",
    short_s=60.0,
    long_s=600.0,
)
def j7_failing_writes(trial: Trial) -> None:
    hows = (errno.EIO, errno.ENOSPC, 0, errno.EINTR)
    places = trial.pick([1, 2, 3, 5, 8, 20, 50], [*range(1, 60), *range(60, 400, 7)])
    fail_each(trial, [("w", nth, how) for how in hows for nth in places], trial.pick(16, 60))
    trial.expect(trial.figures.get("failed") == 3 * len(places), "not all of the calls were made")


@scenario(
    "J14",
    "the folder of the runs is on a network file system",
    "no write-ahead log, it is said, and power loss costs nothing told of",
    short_s=60.0,
    long_s=300.0,
)
def j14_network(trial: Trial) -> None:
    shim = compile_disk(trial)
    kinds = ("nfs4", "cifs", "fuse.sshfs", "9p", "overlay")
    for kind in kinds:
        root = Path(mkdtemp(dir=trial.folder), "disk")
        mounts = root.with_name("mounts")
        lines = [f"30 1 0:40 / {trial.folder} rw - {kind} it rw,upperdir={trial.folder}/upper"]
        if kind == "overlay":
            (trial.folder / "upper").mkdir()
            lines.append(f"31 1 0:41 / {trial.folder}/upper rw - nfs server:/ rw")
        mounts.write_text("\n".join(["1 0 8:1 / / rw - ext4 /dev/sda1 rw", *lines]) + "\n")
        said = keep(trial, shim, root, "process", trial.pick(14, 40), DISK_MOUNTS=str(mounts))
        trial.expect("network file system" in said, f"nothing was said of {kind}")
        acts = acts_of(Path(f"{root}.log"))
        ahead = [act for act in acts if act.kind == "o" and act.data.endswith(b"-wal")]
        trial.expect(not ahead, f"there was a write-ahead log on {kind}")
        if kind == kinds[0] or trial.long:
            _cut_off_everywhere(trial, root, f"power on {kind}", trial.pick(9, 3), 3)
    trial.tell("kinds", len(kinds))
