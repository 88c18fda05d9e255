"""Where the time of a side goes: each thread's CPU time, given to what the thread was seen to do.

    uv run --group bench python tests/bench/run.py --profile 6

A thread of its own looks at all others a thousand times a second, and gives the CPU time that each has used since the
last look to the line of functions it is in now: what waits counts for nothing. Worker processes are counted as a whole.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil

PERIOD_S = 0.001
MOST = 25
"""Functions in a table."""


class Sampler:
    """Counts CPU seconds by function, with and without what it calls, and by thread."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self.own: Counter[str] = Counter()
        self.with_callees: Counter[str] = Counter()
        self.by_thread: Counter[str] = Counter()
        self.looks = 0
        self._over = threading.Event()
        self._clocks: dict[int, float] = {}
        self._thread = threading.Thread(target=self._look_on, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(PERIOD_S):
            self.looks += 1
            frames = sys._current_frames()
            for thread in threading.enumerate():
                frame = frames.get(thread.ident or 0)
                if frame is not None and thread is not self._thread and thread.native_id is not None:
                    self._give(thread, thread.native_id, frame)

    def _give(self, thread: threading.Thread, native_id: int, frame: FrameType) -> None:
        try:
            clock_s = time.clock_gettime((~native_id << 3) | 6)  # that thread's own CPU clock; an error once it is gone
        except OSError:
            return
        used_s = clock_s - self._clocks.get(native_id, clock_s)
        self._clocks[native_id] = clock_s
        if used_s > 0:
            names = [_name(inner) for inner in _stack(frame)]
            self.own[names[0]] += used_s
            self.by_thread[thread.name] += used_s
            self.with_callees.update(dict.fromkeys(names, used_s))


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _name(frame: FrameType) -> str:
    code = frame.f_code
    path = Path(code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{code.co_qualname}"


def profiled(side: str, n: int) -> str:
    """Run one side here and return its profile as Markdown; its tasks are slower than unwatched ones."""
    module, *words = side.split(":")
    measure = importlib.import_module(f"sides.{module}").measure
    measure(max(1, n // 20), *words)  # what is done once, imports too, is not what is looked for
    sys.setswitchinterval(PERIOD_S / 100)  # else a busy thread is only looked at where it lets go by itself
    before, began = os.times(), time.perf_counter()
    with Sampler() as sampler:
        measure(n, *words)
    took_s, after = time.perf_counter() - began, os.times()
    used_s = after.user + after.system - before.user - before.system
    theirs_s = after.children_user + after.children_system - before.children_user - before.children_system
    theirs_s += sum(_cpu_s(child) for child in psutil.Process().children(recursive=True))
    return "\n".join(_lines(side, n, took_s, used_s, theirs_s, sampler))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _lines(side: str, n: int, took_s: float, used_s: float, theirs_s: float, sampler: Sampler) -> Iterator[str]:
    total = sum(sampler.own.values()) or 1.0
    yield f"{side}, n = {n:,}: {took_s:.2f} s in all; CPU: {used_s:.2f} s here, {theirs_s:.2f} s in workers; "
    yield f"{sampler.looks:,} looks saw {total:.2f} s"
    yield from ("", "| thread | CPU |", "|---|---|")
    yield from (f"| {name} | {used / total:.1%} |" for name, used in sampler.by_thread.most_common(MOST))
    yield from ("", "| function | CPU, its own | with what it calls |", "|---|---|---|")
    for name, used in sampler.own.most_common(MOST):
        yield f"| `{name}` | {used / total:.1%} | {sampler.with_callees[name] / total:.1%} |"
