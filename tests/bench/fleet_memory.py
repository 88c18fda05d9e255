"""200 tasks with hidden peaks of memory in a box of 2 GiB: who is killed, what is lost, what is done twice, how long.

    sudo uv run --group bench python tests/bench/fleet_memory.py    # all sides, in turn, each in a box of its own
        [--sides ours,fixed] [--rounds 1] [--tasks 200] [--workers 4] [--seed 1] [--json FILE]

Nine of ten tasks take 50 MB for 0.3 s, one of ten takes 1500 MB, and nobody is told which. The box is a memory control
group of version 1, which root can make. The kernel counts whom it killed in the box ("killed"), and tells each time
that the box was full and it had to ("full"; groups that a side makes inside of it do not count). What a side
ends by itself counts as run again. How long is from the first beginning to the last end of a task.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from pathlib import Path
from statistics import median

from memory_sides import SIDES, Job
from memory_work import HELD_S, LARGE_MB, SMALL_MB, peaks_mb, take

BOX_BYTES = 2 << 30
_ROOT = Path("/sys/fs/cgroup/memory")
_MOST_S = 120.0
_BASE_MB = 150.0
"""What a controller and its workers take themselves, for the oracle."""


@contextmanager
def box(name: str) -> Iterator[Path]:
    """Make a control group with so much memory; what is in it at the end is killed."""
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    places = [line.split(":", 2)[2] for line in lines if "memory" in line.split(":", 2)[1].split(",")]
    if not places:
        raise SystemExit("no memory control group of version 1 is mounted here")
    home = _ROOT / places[0].lstrip("/")
    path = (home if home.is_dir() else _ROOT) / f"bench-{os.getpid()}-{name}"
    path.mkdir()
    try:
        (path / "memory.limit_in_bytes").write_text(str(BOX_BYTES))
        with suppress(OSError):  # where swap is not counted there is none to be had
            (path / "memory.memsw.limit_in_bytes").write_text(str(BOX_BYTES))
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    give_up = time.monotonic() + 10.0
    groups = [*sorted(path.rglob("*/"), reverse=True), path]
    while time.monotonic() < give_up and any(
        (group / "cgroup.procs").read_text() for group in groups if group.is_dir()
    ):
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split() if group.is_dir() else ():
                with suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)
    for group in groups:
        with suppress(OSError):
            group.rmdir()


def run_side(name: str, job: Job) -> dict[str, object]:
    """Run one side in a box, and return its figures."""
    with box(name) as path, tempfile.TemporaryDirectory() as folder:
        answer, book = Path(folder, "answer"), Path(folder, "book")
        book.touch()
        job = job._replace(book=str(book))
        code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.executable, sys.argv[2:])"
        command = [sys.executable, "-c", code, str(path / "cgroup.procs"), sys.executable, __file__, "--one", name]
        full, began = _watch(path), time.monotonic()
        child = subprocess.Popen(
            [*command, "--answer", str(answer), "--job", json.dumps(job)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            child.wait(_MOST_S)
        hung = child.poll() is None
        if hung:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        told = json.loads(answer.read_text()) if answer.exists() else {}
        times = _count(full)
        kills = dict(line.split() for line in (path / "memory.oom_control").read_text().splitlines())
        killed = {"killed": max(int(kills["oom_kill"]), int(times > 0)), "full": times}
        return {**killed, **_figures(name, job, path, told), "wall_s": round(time.monotonic() - began, 2), "hung": hung}


def _watch(path: Path) -> int:
    """Have the kernel count how often the box is full, and something is killed for that; not a group inside of it."""
    counter, control = os.eventfd(0, os.EFD_NONBLOCK), os.open(path / "memory.oom_control", os.O_RDONLY)
    (path / "cgroup.event_control").write_text(f"{counter} {control}")
    os.close(control)
    return counter


def _count(counter: int) -> int:
    try:
        return os.eventfd_read(counter)
    except BlockingIOError:
        return 0
    finally:
        os.close(counter)


def _figures(name: str, job: Job, path: Path, told: dict[str, object]) -> dict[str, object]:
    lines = [line.split() for line in Path(job.book).read_text().splitlines()]
    begun = Counter(int(line[3]) for line in lines if line[2] == "begin")
    numbers = told.get("numbers", [int(line[3]) for line in lines if line[2] == "end"])
    return {
        "side": name,
        "peak_mb": round(int((path / "memory.max_usage_in_bytes").read_text()) / 1e6),
        "lost": job.tasks - len(set(numbers)) if isinstance(numbers, list) else job.tasks,
        "run_again": sum(count - 1 for count in begun.values()),
        "makespan_s": round(float(lines[-1][0]) - float(lines[0][0]), 2) if lines else 0.0,
        "notes": told.get("notes", "no answer: it died, or hung"),
    }


def oracle_s(job: Job) -> float:
    """Return the makespan of who knows all: longest first, as many at once as there are workers and memory."""
    took_s = {peak: _alone_s(peak) for peak in (SMALL_MB, LARGE_MB)}
    waiting = sorted(peaks_mb(job.tasks, job.seed), reverse=True)
    free_mb, free, now = job.total_mb - _BASE_MB, job.workers, 0.0
    ends: list[tuple[float, int]] = []
    while waiting:
        fits = next((peak for peak in waiting if peak <= free_mb), None) if free else None
        if fits is None:
            now, peak = heappop(ends)
            free, free_mb = free + 1, free_mb + peak
            continue
        waiting.remove(fits)
        heappush(ends, (now + took_s[fits], fits))
        free, free_mb = free - 1, free_mb - fits
    return max(end for end, _ in ends)


def _alone_s(peak_mb: int) -> float:
    with tempfile.NamedTemporaryFile() as book:
        times = []
        for _ in range(3):
            began = time.monotonic()
            take(book.name, 0, peak_mb)
            times.append(time.monotonic() - began)
    return max(HELD_S, median(times))


def _say(row: dict[str, object], oracle: float) -> str:
    parts = [f"{key} {row[key]}" for key in ("killed", "full", "peak_mb", "lost", "run_again", "makespan_s")]
    makespan = row["makespan_s"]
    times = f", {makespan / oracle:.2f} x the oracle" if isinstance(makespan, float) and oracle else ""
    return f"{row['side']}: {', '.join(parts)}{times}{' HUNG' if row['hung'] else ''}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Tasks with hidden peaks of memory in a box of 2 GiB.")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, dest="json_file")
    for inside in ("--one", "--answer", "--job"):  # what a side is started with
        parser.add_argument(inside, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all sides, and print what came of each; 1 if one of ours lost a task, or had one killed."""
    options = parse(arguments)
    if options.one:
        done = SIDES[options.one](Job(*json.loads(options.job)))
        Path(options.answer).write_text(json.dumps(done._asdict()))
        return 0
    rows: list[dict[str, object]] = []
    for turn in range(options.rounds):
        job = Job("", options.seed + turn, options.tasks, options.workers, BOX_BYTES / 1e6)
        oracle = oracle_s(job)
        print(f"round {turn + 1}: the oracle needs {oracle:.1f} s", flush=True)
        for name in options.sides.split(","):
            rows.append({**run_side(name, job), "round": turn, "oracle_s": oracle})
            print(_say(rows[-1], oracle), flush=True)
    if options.json_file:
        options.json_file.write_text(json.dumps(rows, indent=1))
    bad = [row for row in rows if str(row["side"]).startswith("ours") and (row["lost"] or row["killed"])]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
