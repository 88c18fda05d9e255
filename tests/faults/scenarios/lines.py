"""E2: the file of events, its disk full, moved away, read as it is written, its writer killed; names that do harm."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from longshore import Settings, WorkerConfig, WorkerPool
from suite.registry import scenario
from suite.smalldisk import enlarge, small_disk
from suite.tail import Tail, judge
from suite.trial import Trial
from suite.yard import Driver

WRITER = Path(__file__).parents[1] / "suite" / "writer.py"
NAMES = (
    "two\nlines",
    'back\r\n{"type":"task_completed"}',
    "\x1b[2J\x1b]0;title\x07",
    "\x7f\x9b31m\x85",
    "\u202egnp.exe\u2028",
    "\ud800 alone",
    "caf\udce9.txt",
    "\x00",
    'quote " and \\ backslash',
)


def complain(text: str) -> None:
    raise ValueError(text)


@scenario(
    "E2",
    "events in a file: its disk full, moved away, read and killed as it is written; names with newlines, ESC, no UTF-8",
    "each line is valid JSON without a control byte; what is lost is counted; the pool goes on",
    short_s=60.0,
)
async def e2_events_in_a_file(trial: Trial) -> None:
    await _names_and_rotation(trial)
    _kills(trial)
    await _full_disk(trial)


async def _names_and_rotation(trial: Trial) -> None:
    """Tasks of every name, while one reads along and another moves the file away."""
    path, moved = Path(mkdtemp(dir=trial.folder), "events.jsonl"), 0
    path.touch()

    def move() -> None:
        nonlocal moved
        if path.exists() and path.stat().st_size:
            moved += 1
            path.rename(path.with_suffix(f".{moved}"))

    with Tail(path) as tail, Driver(move, lambda: 0.07):
        async with WorkerPool(settings=_settings(path)) as pool:
            for _ in range(trial.pick(20, 400)):
                on = [pool.options(executor="threads", name=name, key=name) for name in NAMES]
                handles = [await one.submit(complain, name) for one, name in zip(on, NAMES, strict=True)]
                ends = [await handle.outcome() for handle in handles]
                trial.add("tasks", len(ends))
                trial.add("bystanders", sum(end.error is None or end.error.type != "ValueError" for end in ends))
                await asyncio.sleep(0.02)  # so that more than one batch is written
    parts = [path.with_suffix(f".{number}") for number in range(1, moved + 1)]
    data = [part.read_bytes() for part in [*parts, path] if part.exists()]
    trial.expect(all(part.endswith(b"\n") for part in data if part), "a file was moved away with half a line")
    rows = [judge(line) for line in b"".join(data).split(b"\n")[:-1]]
    trial.add("lines", len(rows))
    trial.expect(all(rows), "a line is not valid")
    sequence = [row["seq"] for row in rows if row is not None]
    trial.expect(sequence == list(range(1, len(rows) + 1)), "lines are missing, twice or out of order")
    trial.tell("moved_away", moved)
    trial.tell("read_along", tail.read)
    trial.expect(not tail.bad, f"a reader saw a line that is not valid: {tail.bad[:1]}")
    trial.expect(moved >= 2 and tail.read, "nothing was moved away, or read")


def _kills(trial: Trial) -> None:
    """One writes and is killed, again and again; who reads along sees at most one line a kill that is not whole."""
    path = Path(mkdtemp(dir=trial.folder), "events.jsonl")
    path.touch()
    kills = trial.pick(6, 60)
    with Tail(path) as tail:
        for _ in range(kills):
            with subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                time.sleep(trial.dice.uniform(0.0, 0.05))
                writer.kill()
            if path.stat().st_size > 100_000_000:
                os.truncate(path, 0)
    lines = path.read_bytes().split(b"\n")
    torn = sum(judge(line) is None for line in lines if line)
    trial.tell("kills", kills)
    trial.tell("torn_by_kills", torn)
    trial.add("lines", len(lines))
    trial.tell("read_along_of_killed", tail.read)
    trial.expect(
        torn <= kills and len(tail.bad) <= kills, f"{torn} and {len(tail.bad)} lines are torn by {kills} kills"
    )


async def _full_disk(trial: Trial) -> None:
    """The disk fills up under a run, which ends well and says what was lost; with room the next goes on."""
    with small_disk(Path(mkdtemp(dir=trial.folder))) as disk:
        path = disk / "events.jsonl"
        lost, said = await _run(trial, path, trial.pick(3000, 20_000))
        trial.expect(lost > 0 and said, "what the disk refused is not told of")
        trial.tell("lost_and_counted", lost)
        before = path.read_bytes()
        whole = before.count(b"\n")
        trial.expect(all(judge(line) for line in before.split(b"\n")[:whole]), "a line is not valid, on a full disk")
        enlarge(disk, "64m")
        lost, _ = await _run(trial, path, 100)
        trial.expect(not lost, "with room again events are lost")
        after = [judge(line) for line in path.read_bytes()[len(before) :].split(b"\n") if line]
        trial.expect(after and all(after), "with room again a line is not valid")
        trial.expect(path.read_bytes().startswith(before), "what was there was touched")
        trial.add("lines", whole + len(after))


def _settings(path: Path) -> Settings:
    sinks: dict[str, dict[str, Any]] = {"jsonl": {"path": str(path)}}
    return Settings(probes=(), sinks=sinks, workers=WorkerConfig(thread_workers=2))


async def _run(trial: Trial, path: Path, tasks: int) -> tuple[int, bool]:
    """Run tasks whose events go to `path`; return how many events were lost, and whether the summary says it."""
    async with WorkerPool(settings=_settings(path)) as pool:
        values = [value async for value in pool.map(abs, range(tasks))]
    trial.add("tasks", tasks)
    trial.add("lost", values != list(range(tasks)))
    assert pool.summary is not None
    (health,) = pool.summary.snapshot.sinks
    return health.dropped, any("jsonl" in note for note in pool.summary.notes)
