"""Measuring the user's function in a process of its own: one that ends its process ends that, and the parent says so.

The parent calls `measure_apart`. The child, begun by `main`, tells by its standard output what it measures and what
that gave, each as a pickle; whatever else is printed there goes to standard error. It ends when its parent does.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any, Final, NamedTuple

from longshore._bench import Plan, Teller, Work, measure_work
from longshore._bench_advice import Cell
from longshore.errors import LongshoreError
from longshore.pipeline import load_function

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); del sys.argv[:2]; "
    "from longshore._bench_apart import main; main()"
)
_PATIENCE_S: Final = 5.0  # for an end that has been asked for


class _Order(NamedTuple):
    """What is to be measured, as it travels."""

    target: str
    items: Sequence[Any]  # Any: the user's own
    executors: Sequence[str]
    plan: Plan


def measure_apart(target: str, work: Work, plan: Plan, teller: Teller) -> list[Cell]:
    """Return what `measure_work` does of the work that the function of this name is, measured in another process.

    An executor in which the function ended that process is told of as a problem, and left out.
    """
    while work.functions:
        order = _Order(target, work.items, tuple(work.functions), plan)
        cells, at, how = _run(order, teller)
        if cells is not None:
            return cells
        teller.problem(f"{target} ended the process that it ran in: that {how}; it can't be measured in {at}")
        work = replace(work, functions={name: call for name, call in work.functions.items() if name != at})
    return []


def _run(order: _Order, teller: Teller) -> tuple[list[Cell] | None, str, str]:
    """Return what was measured; None if the process ended before that, and in which executor, and how."""
    at, cells = order.executors[0], None
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *flags, "-c", _BOOT, json.dumps(sys.path), *sys.argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            with suppress(BrokenPipeError):  # it has ended already, which is told below
                pickle.dump(order, process.stdin)
                process.stdin.flush()
            for kind, *facts in _messages(process.stdout):
                match kind:
                    case "doing":
                        at = facts[1] or at
                        teller.doing(*facts)
                    case "problem":
                        teller.problem(*facts)
                    case "failed":
                        raise facts[0]
                    case _:
                        cells = facts[0]
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()  # which ends it, if it goes on
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
            process.kill()
    return cells, at, _ended(process.returncode)


def _messages(pipe: IO[bytes]) -> Iterable[tuple[Any, ...]]:  # Any: see `_Child`
    with suppress(EOFError, pickle.UnpicklingError):  # the second: it ended in the middle of one
        while True:
            yield pickle.load(pipe)  # noqa: S301 - of our own child


def _ended(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    with suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


class _Child:
    """Tells the parent."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def tell(self, *message: object) -> None:
        pickle.dump(message, self._pipe)
        self._pipe.flush()

    def doing(self, text: str, executor: str | None = None) -> None:
        self.tell("doing", text, executor)

    def problem(self, text: str) -> None:
        self.tell("problem", text)


def main() -> None:
    """Measure what standard input orders, and tell it on standard output."""
    with os.fdopen(os.dup(0), "rb") as orders, os.fdopen(os.dup(1), "wb") as pipe:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        order: _Order = pickle.load(orders)  # noqa: S301 - of our own parent
        threading.Thread(target=_end_with, args=(orders,), daemon=True).start()
        child = _Child(pipe)
        try:
            work = Work.of(order.target, load_function(order.target), order.items, order.executors)
            child.tell("measured", asyncio.run(measure_work(work, order.plan, child)))
        except LongshoreError as error:
            child.tell("failed", error)
        except KeyboardInterrupt:  # at the terminal, where the parent was told as well
            os._exit(130)
        pipe.flush()
        os._exit(0)  # what the function left behind, such as a thread of its own, is not waited for


def _end_with(orders: IO[bytes]) -> None:
    """End this process when its parent closes the pipe, as it does when it ends."""
    orders.read()
    os._exit(1)
