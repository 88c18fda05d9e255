"""`longshore simulate`: how long a recorded run would take on other machines, by what its tasks took on this one."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from longshore.cli.console import ExitCode, UsageError, safe, say, show, show_json, show_table
from longshore.cli.journals import find_run, open_archive
from longshore.cli.options import JournalPath, Json, Order, RunName
from longshore.hookspecs import Archive
from longshore.records import JournalQuery, RunRecord, TaskTrace
from longshore.runs import submitted_at
from longshore.testing.simulation import Loss, Simulated, Simulation, Work

_TELL_S = 1.0
_TIMES = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a run did."""

    works: Sequence[Work]
    workers: Mapping[str, int]
    """How many different ones ended a task, by executor."""
    started: float
    first: float
    """When its first task began; beside it, when its last one ended."""
    last: float
    left_out: int
    """Tasks that have not ended."""

    @property
    def took_s(self) -> float:
        return self.last - self.started

    @property
    def start_s(self) -> float:
        """What went by before anything began: modules imported, workers started."""
        return max(0.0, self.first - self.started)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """The fleet that is computed."""

    workers: Annotated[
        tuple[int, ...],
        Parameter(
            negative=(),
            show_default=False,
            help="How many workers each executor has, may be repeated for several lines: `--workers 8 --workers 16`. "
            "Left out: as many as the run had, twice and four times as many.",
        ),
    ] = ()
    memory_gb: Annotated[
        float | None,
        Parameter(help="Memory there is for all tasks, in GB: `--memory-gb 64`. Left out: as much as they want."),
    ] = None
    order: Annotated[Order, Parameter(help="Which inputs begin first, as for `longshore run`.")] = "given"
    lose: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            help="Lose a share of all workers at a time, for so long, may be repeated: `--lose 25%@60s` for good, "
            "`--lose 25%@60s+30s` for half a minute.",
        ),
    ] = ()

    def check(self) -> None:
        """Raise UsageError for what can't be."""
        if self.memory_gb is not None and not 0 < self.memory_gb < 1e6:
            raise UsageError(f"--memory-gb is an amount above 0, not {self.memory_gb:g}")
        if any(count < 1 or count > 100_000 for count in self.workers):
            raise UsageError("--workers is a number from 1 to 100000")

    def simulate(self, works: Sequence[Work], fleet: Mapping[str, int]) -> Simulated:
        """Compute one fleet."""
        simulation = Simulation(
            works,
            workers=fleet,
            memory_mb=None if self.memory_gb is None else self.memory_gb * 1000.0,
            losses=[_loss(text) for text in self.lose],
            uniform=random.Random(0).random,
        )
        return simulation.run(_telling(len(works)))


_WANTED = FleetOptions()


def simulate(
    run: RunName = "last", /, *, fleet: FleetOptions = _WANTED, journal: JournalPath = None, json: Json = False
) -> int:
    """Tell how long a recorded run would take with more workers or less memory; nothing is run.

    Each task takes what it took then, and the scheduler decides as it would. That holds where a worker more has a CPU
    more, and nothing else (a disk, a service) was what the run waited for. The line of the run itself says how near the
    simulation comes.

    For example: `longshore simulate last --workers 16 --memory-gb 64`
    """
    fleet.check()
    archive, _ = open_archive(journal)
    record = find_run(archive, run)
    recorded = _read(archive, record)
    works = recorded.works
    if fleet.order == "largest-first":
        works = sorted(works, key=_total_s, reverse=True)
    own = FleetOptions().simulate(recorded.works, recorded.workers)
    rows = [(each, fleet.simulate(works, each)) for each in _fleets(recorded.workers, fleet.workers)]
    if json:
        show_json(_facts(record, recorded, own, rows))
    else:
        _show(record, recorded, own, rows)
    return ExitCode.OK


def _read(archive: Archive, record: RunRecord) -> _Recorded:
    """Return what a run did; UsageError where that says nothing."""
    chains: dict[tuple[str, str | None], list[TaskTrace]] = {}
    seen: dict[str, set[str]] = {}
    left_out = 0
    for trace in archive.traces(JournalQuery(run_id=record.run_id)):
        if trace.redone:
            continue
        if trace.ended_at is None or trace.ran_s is None:
            left_out += 1
            continue
        seen.setdefault(trace.kind.executor, set()).add(trace.worker or "")
        document = (trace.kind.group, trace.key) if trace.kind.group is not None else (trace.task_id, None)
        chains.setdefault(document, []).append(trace)
    if not chains:
        raise UsageError(f"of run {record.run_id} no task has ended: there is nothing to go by")
    traces = [trace for chain in chains.values() for trace in chain]
    return _Recorded(
        works=[_chain(chain) for chain in chains.values()],
        workers={executor: len(names) for executor, names in seen.items()},
        started=record.started,
        first=min(map(_began, traces)),
        last=max(trace.ended_at or 0.0 for trace in traces),
        left_out=left_out,
    )


def _began(trace: TaskTrace) -> float:
    """Return when the first attempt of a task that has ended began, as far as is recorded."""
    known = [one.started for one in trace.tries if one.started is not None]
    return min([*known, (trace.ended_at or 0.0) - (trace.ran_s or 0.0)])


def _chain(traces: Sequence[TaskTrace]) -> Work:
    """Return the first of these tasks, which follow one another, with the others after it."""
    work: Work | None = None
    for trace in sorted(traces, key=submitted_at, reverse=True):
        tried_s = sum(one.ran_s or 0.0 for one in trace.tries if one.state is not None)
        work = Work(
            stage=trace.kind.name,
            executor=trace.kind.executor,
            ran_s=(trace.ran_s or 0.0) + tried_s,
            peak_memory_mb=trace.peak_memory_mb,
            then=work,
        )
    assert work is not None
    return work


def _total_s(work: Work) -> float:
    return work.ran_s + (_total_s(work.then) if work.then is not None else 0.0)


def _fleets(own: Mapping[str, int], asked: Sequence[int]) -> list[dict[str, int]]:
    if asked:
        return [dict.fromkeys(own, count) for count in asked]
    return [{executor: times * count for executor, count in own.items()} for times in _TIMES]


def _loss(text: str) -> Loss:
    """Read `25%@60s` or `25%@60s+30s`; UsageError for what is neither."""
    share, _, when = text.partition("%@")
    at, _, back = when.partition("+")
    try:
        told = Loss(float(at.removesuffix("s")), float(share) / 100.0)
        loss = msgspec.structs.replace(told, back_after_s=float(back.removesuffix("s"))) if back else told
    except ValueError:
        raise UsageError(f"--lose {text}: it is a share, a time, and how long: 25%@60s or 25%@60s+30s") from None
    if not (0 < loss.share <= 1 and loss.at >= 0 and loss.back_after_s > 0):
        raise UsageError(f"--lose {text}: a share is above 0 and at most 100 %, times are not below 0")
    if loss.share == 1 and not back:
        raise UsageError(f"--lose {text}: with no worker left the run would never end; say when they come back")
    return loss


def _telling(total: int) -> Any:  # Any: Callable[[int, float], None]
    """Return what tells a person, once a second, how far a long simulation is."""
    told = time.monotonic()

    def tell(done: int, now: float) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            say(f"simulated {now:,.0f} s: {done:,} tasks of {total:,} inputs are done")

    return tell


def _facts(
    record: RunRecord, recorded: _Recorded, own: Simulated, rows: Sequence[tuple[Mapping[str, int], Simulated]]
) -> dict[str, Any]:  # Any: JSON-safe values
    return {
        "run": record.run_id,
        "recorded": {
            "took_s": recorded.took_s,
            "start_s": recorded.start_s,
            "workers": dict(recorded.workers),
            "inputs": len(recorded.works),
            "left_out": recorded.left_out,
            "simulated_s": recorded.start_s + own.makespan_s,
        },
        "longest_s": max(map(_total_s, recorded.works)),
        "simulated": [
            {
                "workers": dict(fleet),
                "took_s": recorded.start_s + one.makespan_s,
                "utilization": one.utilization(fleet),
                **msgspec.to_builtins(one),
            }
            for fleet, one in rows
        ],
    }


def _show(
    record: RunRecord, recorded: _Recorded, own: Simulated, rows: Sequence[tuple[Mapping[str, int], Simulated]]
) -> None:
    show(safe(f"run {record.run_id}, {record.name}: {len(recorded.works):,} inputs"))
    if recorded.left_out:
        show(f"{recorded.left_out:,} tasks have not ended and are left out")
    had = _named(recorded.workers)
    shown = [(had, f"{recorded.took_s:,.1f}", "recorded", "", "", "")]
    shown.append((had, f"{recorded.start_s + own.makespan_s:,.1f}", "simulated", *_row(own, recorded.workers)))
    for fleet, one in rows:
        took = f"{recorded.start_s + one.makespan_s:,.1f}"
        shown.append((_named(fleet), took, "simulated", *_row(one, fleet)))
    show_table(("WORKERS", "SECONDS", "", "BUSY", "MEMORY", "NOTES"), shown)
    longest = max(map(_total_s, recorded.works))
    bound = f"its longest input, {longest:,.1f} s, after {recorded.start_s:,.1f} s of starting"
    show(f"no number of workers makes it shorter than {bound}: {recorded.start_s + longest:,.1f} s")


def _row(one: Simulated, workers: Mapping[str, int]) -> tuple[str, str, str]:
    busy = ", ".join(f"{share:.0%} {safe(name)}" for name, share in one.utilization(workers).items())
    memory = f"{one.peak_memory_mb:,.0f} MB" if one.peak_memory_mb else ""
    notes = [f"{one.shed} ended for memory" if one.shed else "", f"{one.lost_s:,.1f} s in vain" if one.lost_s else ""]
    notes.append(f"{one.refused} can never fit" if one.refused else "")
    return busy, memory, "; ".join(note for note in notes if note)


def _named(workers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {safe(name)}" for name, count in workers.items())
