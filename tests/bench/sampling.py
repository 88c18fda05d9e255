"""Where the time of a side goes: each thread's CPU time, given to what the thread was seen to do.

    uv run --group bench python tests/bench/run.py --profile 6

After each millisecond of CPU that a process has used, a signal has it look at all its threads, and the CPU time that
each has used since the last look is given to the line of functions it is in now: what waits counts for nothing. Worker
processes look at themselves in the same way, and leave what they saw in a file.
"""

from __future__ import annotations

import atexit
import importlib
import json
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

PERIOD_S = 0.001
MOST = 25
"""Functions in a table."""
_WRITE_EVERY = 20  # looks of a worker


class Sampler:
    """Counts CPU seconds by function, with and without what it calls, and by thread; in a process's main thread."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self.own: Counter[str] = Counter()
        self.with_callees: Counter[str] = Counter()
        self.by_thread: Counter[str] = Counter()
        self.looks = 0
        self._clocks: dict[int, float] = {}

    def __enter__(self) -> Sampler:
        """Begin to look."""
        signal.signal(signal.SIGPROF, self.look)
        signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)

    def look(self, number: int, here: FrameType | None) -> None:
        """Give each thread's time; `here` is where the main thread was interrupted."""
        self.looks += 1
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread is threading.main_thread():  # whose own word for its id may be that of before a fork
                self._give(thread, threading.get_native_id(), here)
            elif thread.native_id is not None:
                self._give(thread, thread.native_id, frames.get(thread.ident or 0))

    def _give(self, thread: threading.Thread, native_id: int, frame: FrameType | None) -> None:
        try:
            clock_s = time.clock_gettime((~native_id << 3) | 6)  # that thread's own CPU clock; an error once it is gone
        except OSError:
            return
        used_s = clock_s - self._clocks.get(native_id, clock_s)
        self._clocks[native_id] = clock_s
        if used_s > 0 and frame is not None:
            names = [_name(inner) for inner in _stack(frame)]
            self.own[names[0]] += used_s
            self.by_thread[thread.name] += used_s
            self.with_callees.update(dict.fromkeys(names, used_s))

    def add(self, seen: dict[str, dict[str, float]]) -> None:
        """Add what another process saw."""
        self.own.update(seen["own"])
        self.with_callees.update(seen["with_callees"])


class _InWorker(Sampler):
    """The same in a worker process, which may be killed at its end: what was seen is written now and then."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        handle, name = tempfile.mkstemp(suffix=".json", dir=folder)
        open(handle).close()
        self._file = Path(name)
        atexit.register(self._write)

    def look(self, number: int, here: FrameType | None) -> None:
        super().look(number, here)
        if self.looks % _WRITE_EVERY == 0:
            self._write()

    def _write(self) -> None:
        self._file.write_text(json.dumps({"own": self.own, "with_callees": self.with_callees}), encoding="utf-8")


def _watch_worker(folder: str) -> None:
    """Begin to look, in a worker process; called before its first task."""
    if threading.current_thread() is threading.main_thread():
        _InWorker(folder).__enter__()


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
    import ours  # the sides that are ours ask it for what is to be called first in their workers

    module, *words = side.split(":")
    measure = importlib.import_module(f"sides.{module}").measure
    with tempfile.TemporaryDirectory() as folder:
        measure(max(1, n // 20), *words)  # what is done once, imports too, is not what is looked for
        ours.FIRST_IN_WORKERS = partial(_watch_worker, folder)
        began = time.perf_counter()
        with Sampler() as sampler:
            measure(n, *words)
        took_s = time.perf_counter() - began
        workers = Sampler()
        for file in Path(folder).iterdir():
            workers.add(json.loads(file.read_text(encoding="utf-8") or '{"own": {}, "with_callees": {}}'))
    return "\n".join([f"{side}, n = {n:,}, watched: {took_s:.2f} s", *_lines(sampler), *_lines(workers)])


def _lines(sampler: Sampler) -> Iterator[str]:
    total = sum(sampler.own.values())
    if not total:
        return
    if sampler.by_thread:
        yield from ("", f"Here, {total:.2f} s of CPU:", "", "| thread | CPU |", "|---|---|")
        yield from (f"| {name} | {used / total:.1%} |" for name, used in sampler.by_thread.most_common(MOST))
    else:
        yield from ("", f"In the workers, {total:.2f} s of CPU:")
    yield from ("", "| function | CPU, its own | with what it calls |", "|---|---|---|")
    for name, used in sampler.own.most_common(MOST):
        yield f"| `{name}` | {used / total:.1%} | {sampler.with_callees[name] / total:.1%} |"
