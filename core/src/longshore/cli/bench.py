"""`longshore bench`: what longshore costs on this machine, and which executor and how many workers some work wants."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from msgspec import to_builtins

from longshore._cpus import usable_cpus
from longshore.cli import console
from longshore.cli.console import ExitCode, UsageError, say
from longshore.cli.inputs import expand, import_from_here, names_on_stdin
from longshore.cli.lines import stdout_for_data
from longshore.cli.options import BenchOptions
from longshore.cli.progress import Progress
from longshore.pipeline import load_function
from longshore.settings import Settings, load_settings

if TYPE_CHECKING:
    from longshore._bench import Plan, Work
    from longshore._bench_advice import Advice, Cell, Cost

_EXECUTORS = ("asyncio", "threads", "processes")
_DEFAULTS = BenchOptions()


def bench(
    target: Annotated[
        str | None, Parameter(help="Your own `module:function`; left out: doing nothing, computing, waiting, in turn.")
    ] = None,
    /,
    *inputs: Annotated[
        str, Parameter(help="What it is called with: files, folders, patterns, or `-` for names on stdin, as in `run`.")
    ],
    options: BenchOptions = _DEFAULTS,
) -> int:
    """Measure on this machine, and recommend an executor, a number of workers, and how much to do in one call.

    Your function is called many times over, with the inputs in turn: give it what may be repeated. Three ways:

    `longshore bench --quick`

    `longshore bench mymodule:parse papers/`

    `longshore bench mymodule:parse 'papers/*.pdf' --executor processes --workers 8 --rounds 5 --json`

    What longshore adds to a task is measured with tasks that do nothing. A recommendation says what it is based on.
    Each measurement takes a third of a second, or as long as a task for each worker does. Other programs disturb it.

    Ends with 0, with 1 when some of the tasks failed, 2 for wrong arguments or settings, 4 for a fault of longshore or
    a plugin, 5 when there is no input for your function, 130 or 143 after a signal.
    """
    _check(target, inputs, options)
    paths = _files(inputs)
    if target is not None and not paths:
        say("longshore: there is nothing to measure with: no input is a file, or has one below it")
        return ExitCode.NOTHING
    _note_load()
    with stdout_for_data(), Progress() as progress:
        measured = _measure(target, _works(target, paths, options.executor), _plan(options), progress)
    if options.json:
        console.show_json(measured.as_json())
    else:
        console.show("\n".join(measured.lines(target, inputs)))
    return ExitCode.SOME_FAILED if measured.failed else ExitCode.OK


def _files(inputs: Sequence[str]) -> list[str]:
    found = expand(inputs, names_on_stdin)
    if found.objects:
        raise UsageError("bench measures with files, not with objects of a store: fetch some, and name those")
    return found.paths


def _note_load() -> None:
    """Say so if others use the machine, as far as the system tells."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > (os.cpu_count() or 1) / 2:
        say(f"note: the machine is busy, with a load of {load:.1f} over the last minute: the figures will be off")


def _check(target: str | None, inputs: Sequence[str], options: BenchOptions) -> None:
    """Raise UsageError for what can't be meant."""
    if target is not None and ":" not in target:
        raise UsageError(f"{target}: what is measured is a function, written as module:function")
    if target is not None and not inputs:
        raise UsageError(f"say what {target} is to be called with: longshore bench {target} INPUT...")
    for name in options.executor:
        if name not in _EXECUTORS:
            raise UsageError(f"--executor {name}: what can be measured is {', '.join(_EXECUTORS)}")
    for option, value in (("--workers", options.workers), ("--rounds", options.rounds)):
        if value is not None and value < 1:
            raise UsageError(f"{option} {value}: at least one is needed")


def _plan(options: BenchOptions) -> Plan:
    """Return how long and how often is measured, under which settings."""
    from longshore._bench import Plan  # only measuring needs the pool

    plan = Plan(settings=_settings(options.set_), workers=options.workers)
    if options.quick:
        plan = replace(plan, rounds=1, cell_s=0.1, latencies=100)
    return plan if options.rounds is None else replace(plan, rounds=options.rounds)


def _settings(overrides: Sequence[str]) -> Settings:
    loaded = load_settings(overrides=overrides)
    for warning in loaded.warnings:
        say(f"note: {warning}")
    return loaded.settings


def _works(target: str | None, paths: Sequence[str], executors: Sequence[str]) -> list[Work]:
    """Return what is to be measured; UsageError if no executor asked for can run it."""
    from longshore._bench import Work, built_in_work

    if target is None:
        return built_in_work(executors)
    import_from_here()
    work = Work.of(target, load_function(target), paths, executors)
    if not work.functions:
        kind = "a coroutine" if executors[0] != "asyncio" else "no coroutine"
        raise UsageError(f"{target} is {kind}: it can't be run in {' or '.join(executors)}")
    return [work]


def _measure(target: str | None, works: Sequence[Work], plan: Plan, progress: Progress) -> _Measured:
    """Measure here, but for the user's function: that may end the process it runs in."""
    from longshore._bench import measure_costs, measure_work
    from longshore._bench_advice import advise
    from longshore._bench_apart import measure_apart

    executors = [name for name in _EXECUTORS if any(name in work.functions for work in works)]
    costs = asyncio.run(measure_costs(executors, plan, progress))
    measured = _Measured(costs, plan.rounds)
    for work in works:
        if target is None:
            cells = asyncio.run(measure_work(work, plan, progress))
        else:
            cells = measure_apart(target, work, plan, progress)
        measured.works.append((work.name, len(work.items), cells, advise(cells, costs)))
    return measured


class _Measured:
    """All figures, and how they are told."""

    def __init__(self, costs: Mapping[str, Cost], rounds: int) -> None:
        self.costs, self.rounds = costs, rounds
        self.works: list[tuple[str, int, list[Cell], Advice | None]] = []

    @property
    def failed(self) -> int:
        """How many tasks failed, or 1 if a work could not be run at all."""
        return sum(sum(cell.failed for cell in cells) or (advice is None) for _, _, cells, advice in self.works)

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        works = [
            {"name": name, "inputs": inputs, "measured": to_builtins(cells), "recommended": to_builtins(advice)}
            for name, inputs, cells, advice in self.works
        ]
        costs = to_builtins(list(self.costs.values()))
        return {"about": _about(), "rounds": self.rounds, "costs": costs, "works": works}

    def lines(self, target: str | None, inputs: Sequence[str]) -> Iterator[str]:
        """Yield it for people."""
        yield ", ".join(f"{name} {value}" for name, value in _about().items())
        yield from ("", *_cost_table(self.costs))
        for name, _, cells, advice in self.works:
            yield from ("", f"{name}:", *_cell_table(cells))
            yield from _told(name, advice, target, inputs)


def _about() -> dict[str, str | int]:
    return {
        "longshore": version("longshore-core"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "usable_cpus": usable_cpus(),
    }


def _cost_table(costs: Mapping[str, Cost]) -> list[str]:
    from longshore._bench_advice import duration, rate

    head = ("WHAT A TASK COSTS", "IN A STREAM", "TASKS/S", "SUBMIT TO RESULT", "P99")
    rows = [
        (cost.executor, duration(cost.stream_s), rate(1 / cost.stream_s), duration(cost.p50_s), duration(cost.p99_s))
        for cost in costs.values()
    ]
    return console.table(head, rows)


def _cell_table(cells: Sequence[Cell]) -> list[str]:
    from longshore._bench_advice import duration, rate

    head = ("EXECUTOR", "WORKERS", "TASKS/S", "LOWEST TO HIGHEST", "OF ONE", "A TASK TAKES", "CPU", "SENT AT ONCE")
    ones = {cell.executor: cell.per_s.median for cell in reversed(cells)}
    rows = [
        (
            cell.executor,
            str(cell.workers),
            rate(cell.per_s.median),
            f"{rate(cell.per_s.low)} to {rate(cell.per_s.high)}",
            f"{cell.per_s.median / ones[cell.executor]:.2f} x",
            duration(cell.ran_s),
            "" if cell.cpu_s is None else duration(cell.cpu_s),
            f"{cell.sent_at_once:,.0f}",
        )
        for cell in cells
    ]
    return console.table(head, rows) if rows else ["it could not be run"]


def _told(name: str, advice: Advice | None, target: str | None, inputs: Sequence[str]) -> Iterator[str]:
    if advice is None:
        yield f"nothing is recommended for {name}: no task ended well"
        return
    items = "1 input" if advice.items_per_call == 1 else f"{advice.items_per_call:,} inputs"
    workers = f"{advice.workers} worker{'' if advice.workers == 1 else 's'}"
    yield f"recommended: {advice.executor}, {workers}, {items} a call"
    yield from (f"  - {reason}" for reason in advice.reasons)
    if target is not None:
        said = " ".join(inputs)
        yield f"  longshore run {target} {said} --executor {advice.executor} --workers {advice.workers}"
