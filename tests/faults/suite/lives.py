"""A controller with a journal that may be killed at any moment, and begun anew: each life a fork of the scenario.

A life writes down what it does by single appends: that its pool is open, that a task began and ended, that an outcome
was told of. A kill may cut one off, so each that is counted begins with a new line. What is recorded is read from the
database by whoever compares.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from zlib import crc32

from longshore import JournalError, LongshoreError, PoolNotRunning, Settings, WorkerConfig, WorkerPool
from longshore.worker import current_task
from suite import audit, leaks

HELD, BROKEN = 3, 4
"""How a life ends that was refused the run, or whose journal failed."""
SPAN_S = 60.0
"""The longest that any life may take that is not ended from outside."""
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Plan:
    """What a run does, in each of its lives."""

    folder: Path
    tasks: int = 100
    task_s: float = 0.02
    executor: str = "threads"
    workers: int = 8
    journal: Mapping[str, Any] = field(default_factory=dict)
    runs: Path | None = None
    """Where the runs are kept, if not in `folder`."""
    items: tuple[Any, ...] | None = None
    """What the tasks are given, if not the numbers up to `tasks`."""
    options: Mapping[str, Any] = field(default_factory=lambda: {"version": "1"})
    text: int = 20
    """Characters of each result."""
    outputs: bool = False
    """Whether each task writes a file, `out` and its number, in the folder."""
    fsize: int | None = None
    """The most bytes that a file of the controller may have."""

    @property
    def root(self) -> Path:
        """Return where the runs are kept."""
        return self.runs or self.folder / "runs"

    @property
    def inputs(self) -> list[Any]:
        """Return what the tasks are given."""
        return list(range(self.tasks)) if self.items is None else list(self.items)

    @property
    def begun(self) -> str | None:
        """Return the run whose pool was open first; None for none so far."""
        lines = lines_of(self.folder / "begun")
        return lines[0] if lines else None

    @property
    def database(self) -> Path:
        """Return the database of the run."""
        return self.root / (self.begun or "") / "journal.db"


def work(path: str, nap_s: float, text: int, outputs: str | None, item: Any) -> dict[str, Any]:
    """Write down that it began and ended, and return what is known of the item."""
    task = current_task()
    entry = f"{json.dumps(item)}\t{task.task_id}\t{task.attempt}\t{os.getpid()}"
    audit.write(path, f"\nbegan\t{entry}", sync=True)
    if outputs is not None:
        with task.output(os.path.join(outputs, f"out{item}")) as file:
            for part in output_parts(item):
                file.write(part)
                time.sleep(nap_s / 2)
    time.sleep(nap_s)
    audit.write(path, f"\nended\t{entry}", sync=False)
    return expected(item, text)


def expected(item: Any, text: int) -> dict[str, Any]:
    """Return what the task of an item gives."""
    return {"item": item, "text": "x" * text}


def digest(value: Any) -> int:
    """Return what one result differs from another in."""
    return crc32(json.dumps(value).encode())


def output_parts(item: Any) -> list[bytes]:
    """Return what the file of an item holds."""
    return [f"{item}-{part} ".encode() * 5000 for part in range(4)]


def square(item: int) -> int:
    """Return a task's result; by its name and arguments alone it is known again in another folder."""
    return item * item


async def _live(plan: Plan, resume: str | None, watch: Callable[[WorkerPool], None] | None) -> None:
    config = WorkerConfig(thread_workers=plan.workers, process_workers=plan.workers)
    settings = Settings(probes=(), workers=config, journals={"sqlite": {"path": str(plan.root), **plan.journal}})
    on = {"executor": plan.executor, **plan.options}
    outputs = str(plan.folder) if plan.outputs else None
    function = partial(work, str(plan.folder / "audit"), plan.task_s, plan.text, outputs)
    told = os.open(plan.folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    async with WorkerPool(settings=settings, journal="sqlite", resume=resume) as pool:
        audit.write(str(plan.folder / "begun"), pool.run_id, sync=True)
        async with pool.options(**on).outcomes(function, plan.inputs) as stream:
            async for outcome in stream:
                entry = [outcome.index, outcome.state.value, digest(outcome.value)]
                os.write(told, f"\n{json.dumps(entry)}\n".encode())
                if watch is not None:
                    watch(pool)
    audit.write(str(plan.folder / "notes"), json.dumps([*pool.summary.notes]), sync=False)


def _life(plan: Plan, resume: str | None, chaos: Mapping[str, str], watch: Any) -> None:
    os.environ.update(chaos)
    if plan.fsize is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.fsize, plan.fsize))
    try:
        asyncio.run(_live(plan, resume, watch))
    except LongshoreError as raised:
        error = raised.__cause__ if isinstance(raised, PoolNotRunning) else raised  # the pool says why it has failed
        if not isinstance(error, JournalError):
            raise
        audit.write(str(plan.folder / "errors"), json.dumps([error.facts.get("reason"), str(error)]), sync=False)
        sys.exit(HELD if error.facts.get("reason") == "held" else BROKEN)


@contextmanager
def alive(
    plan: Plan, *, chaos: Mapping[str, str] | None = None, resume: str | None = None, watch: Any = None
) -> Iterator[BaseProcess]:
    """Begin a life, of the run that was begun if there is one; at the end nothing of it is left."""
    process = _fork.Process(target=_life, args=(plan, resume or plan.begun, chaos or {}, watch))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()
        if plan.executor == "processes":  # workers end with their controller; what they did by then counts
            leaks.wait_for(lambda: not leaks.tokened(), leaks.SETTLE_S)


def live(plan: Plan, **how: Any) -> int | None:
    """Live until the run's end, and return the exit status; None where that takes too long."""
    with alive(plan, **how) as process:
        process.join(SPAN_S)
        return process.exitcode


def last_error(plan: Plan) -> tuple[str, str]:
    """Return the reason and the message of the last life that ended with an error of the journal."""
    lines = lines_of(plan.folder / "errors")
    reason, message = json.loads(lines[-1]) if lines else ("", "")
    return reason, message


def lines_of(path: Path) -> list[str]:
    """Return what was written, in lines; one that was cut off has an end like any other."""
    return [line for line in path.read_text("utf-8").split("\n")[:-1] if line] if path.exists() else []
