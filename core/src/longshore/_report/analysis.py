"""What decided how long a run took: from the views of it to findings in words; pure.

`Material` is all that is known; the functions here make of it the parts of a `Report`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longshore._plain import line
from longshore._report.records import (
    Band,
    ExecutorUse,
    Finding,
    Forecast,
    Line,
    Retries,
    RunFacts,
    StageUse,
    Throttle,
    Totals,
    WhatIf,
)
from longshore._report.spans import Sums, Waits
from longshore._report.words import percent, plural, seconds, short
from longshore.runs import StageView

LIMITED = 0.7
"""Workers that were busy for so much of the time were the limit: the rest is the beginning and the end of a run."""
LONGEST = 0.4
"""What one task has to take of the wall time for it to be named."""
NOTABLE = 0.1
"""What any other cause has to take of it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What had to be done one after the other: the longest task, or the stages of the document that took longest."""

    label: str
    seconds: float
    stages: int = 1


@dataclass(frozen=True, slots=True)
class Material:
    """All that is known of a run."""

    run: RunFacts
    stages: Sequence[StageView]
    sums: Sums
    wall_s: float
    workers: Mapping[str, int]
    """By executor, how many lived at once."""
    memory_mb: Mapping[str, float] = field(default_factory=dict)
    """By executor, the most that one worker took, where that is measured."""
    chain: Chain | None = None
    bands: Sequence[Band] = ()
    lines: Sequence[Line] = ()
    failed_inputs: int = 0
    """Those that failed though no task of theirs did."""
    left_inputs: int = 0
    """Those without a result as the run ended."""
    left_out: int = 0
    notes: Sequence[str] = field(default=())


def totals(material: Material) -> Totals:
    """Return the sums over all stages."""
    stages, wall_s = material.stages, material.wall_s
    ended = sum(stage.total - stage.left for stage in stages)
    return Totals(
        tasks=sum(stage.total for stage in stages),
        completed=sum(stage.completed for stage in stages),
        failed=sum(stage.failed for stage in stages),
        timed_out=sum(stage.timed_out for stage in stages),
        cancelled=sum(stage.cancelled for stage in stages),
        unfinished=sum(stage.left for stage in stages),
        retried=sum(stage.retried for stage in stages),
        failed_inputs=material.failed_inputs,
        left_inputs=material.left_inputs,
        left_out=material.left_out,
        wall_s=wall_s,
        rate_per_s=ended / wall_s if wall_s > 0 else 0.0,
        wait_s=sum(stage.wait_s for stage in stages),
        run_s=sum(material.sums.busy_s.values()),
        cpu_s=sum(stage.cpu_s for stage in stages),
    )


def stage_uses(material: Material) -> list[StageUse]:
    """Return where the time of each stage went, in the order in which they began."""
    work_s = sum(material.sums.busy_s.values())
    uses = [_stage_use(stage, material, work_s) for stage in material.stages]
    return sorted(uses, key=lambda use: (use.first_started is None, use.first_started or 0.0, use.name))


def _stage_use(stage: StageView, material: Material, work_s: float) -> StageUse:
    sums = material.sums.stages.get((stage.name, stage.executor))
    lost_s = sums.lost_s if sums is not None else 0.0
    ran_s = stage.run_s + lost_s
    length_s = (stage.last_ended or 0.0) - (stage.first_started or 0.0)
    return StageUse(
        name=stage.name,
        executor=stage.executor,
        tasks=stage.total,
        completed=stage.completed,
        failed=stage.failed,
        timed_out=stage.timed_out,
        cancelled=stage.cancelled,
        unfinished=stage.left,
        retried=stage.retried,
        wait_s=stage.wait_s,
        start_s=sums.start_s if sums is not None and sums.start_s > 0 else None,
        run_s=ran_s,
        cpu_s=stage.cpu_s,
        lost_s=lost_s,
        work_share=ran_s / work_s if work_s > 0 else 0.0,
        mean_s=stage.mean_s,
        p50_s=stage.p50_s,
        p95_s=stage.p95_s,
        p99_s=stage.p99_s,
        mean_concurrency=ran_s / length_s if length_s > 0 else 0.0,
        first_started=stage.first_started,
        last_ended=stage.last_ended,
    )


def executor_uses(material: Material) -> list[ExecutorUse]:
    """Return how busy the workers of each executor were, the busiest first."""
    uses = []
    for name, busy_s in material.sums.busy_s.items():
        workers = material.workers.get(name, 1)
        there_s = workers * material.wall_s
        uses.append(
            ExecutorUse(name=name, workers=workers, busy_s=busy_s, busy_share=busy_s / there_s if there_s > 0 else 0.0)
        )
    return sorted(uses, key=lambda use: -use.busy_share)


def throttles(bands: Sequence[Band]) -> list[Throttle]:
    """Return for how long work was held back, by reason, the longest first.

    Reasons that differ in their figures only are one, told as it was first; times of one that overlap count once.
    """
    by_reason: dict[str, list[Band]] = defaultdict(list)
    for band in sorted(bands, key=lambda band: band.start):
        by_reason[_FIGURES.sub("…", band.reason)].append(band)
    found = []
    for each in by_reason.values():
        total_s, until = 0.0, each[0].start
        for band in each:
            total_s += max(0.0, band.end - max(band.start, until))
            until = max(until, band.end)
        found.append(Throttle(reason=each[0].reason, seconds=total_s, times=len(each)))
    return sorted(found, key=lambda throttle: -throttle.seconds)


def retries(material: Material) -> Retries:
    """Return what was run for nothing, and what was waited before it was run again."""
    lost_s = sum(stage.lost_s for stage in material.sums.stages.values())
    work_s = sum(material.sums.busy_s.values())
    attempts = sum(stage.retried for stage in material.stages)
    waits = material.sums.waits if material.run.generation <= 1 else Waits()
    return Retries(
        attempts=attempts,
        run_s=lost_s,
        share=lost_s / work_s if work_s > 0 else 0.0,
        wait_s=waits.total_s,
        longest_wait_s=waits.longest_s,
        longest_wait_of=waits.longest_of,
    )


def findings(material: Material) -> list[Finding]:
    """Return what decided how long the run took, what counts most first; one always, where anything was run."""
    wall_s = material.wall_s
    if wall_s <= 0 or not material.sums.busy_s:
        return []
    found = [*_longest(material), *_workers(material), *_throttled(material), *_lost(material), *_waited(material)]
    found += _handover(material)
    if not found:
        found = [_slack(material)]
    return sorted(found, key=lambda finding: -finding.share)


def _longest(material: Material) -> list[Finding]:
    chain, wall_s = material.chain, material.wall_s
    if chain is None or chain.seconds / wall_s < LONGEST:
        return []
    share = min(1.0, chain.seconds / wall_s)
    what = f"the {plural(chain.stages, 'stage')} of one document" if chain.stages > 1 else "one task"
    text = (
        f"{what} took {percent(share)} of the wall time ({seconds(chain.seconds)}): {named(chain.label)}. "
        "The run could not be shorter than it, however many workers there are."
    )
    return [Finding(kind="longest", text=sentence(text), share=share)]


def _workers(material: Material) -> list[Finding]:
    found = []
    for use in executor_uses(material):
        if use.busy_share < LIMITED:
            continue
        stage = max((stage for stage in stage_uses(material) if stage.executor == use.name), key=lambda one: one.run_s)
        part = stage.run_s / use.busy_s if use.busy_s > 0 else 1.0
        mostly = "" if part > 0.995 else f", for {percent(part)} of that with it"
        share = min(1.0, use.busy_share)
        who = (
            f"the {use.workers:,} workers of {use.name} were"
            if use.workers > 1
            else f"the one worker of {use.name} was"
        )
        text = f"{named(stage.name)} was the limit: {who} busy {percent(share)} of the wall time{mostly}."
        found.append(Finding(kind="workers", text=sentence(text), share=share))
    return found


def _throttled(material: Material) -> list[Finding]:
    found = []
    for held in throttles(material.bands):
        share = held.seconds / material.wall_s
        if share >= NOTABLE:
            text = f"work was held back for {seconds(held.seconds)}, {percent(share)} of the wall time: {held.reason}."
            found.append(Finding(kind="throttled", text=sentence(text), share=min(1.0, share)))
    return found


def _lost(material: Material) -> list[Finding]:
    lost = retries(material)
    slots = max(1, sum(material.workers.values()))
    share = min(1.0, lost.run_s / (slots * material.wall_s))
    if share < NOTABLE:
        return []
    text = (
        f"{plural(lost.attempts, 'attempt')} that failed and were made again took {seconds(lost.run_s)} of the "
        f"workers, {percent(lost.share)} of all that was run."
    )
    return [Finding(kind="retries", text=sentence(text), share=share)]


def _waited(material: Material) -> list[Finding]:
    """Say how long tasks waited to be tried again, where that was so long that it can have been the limit."""
    waited, rest_s = retries(material), _rest_s(material)
    if rest_s < LONGEST * material.wall_s:
        return []
    share = min(1.0, rest_s / material.wall_s)
    text = (
        f"tasks that had failed waited to be tried again, {seconds(waited.wait_s)} in all with their ways to workers; "
        f"one for {percent(share)} of the wall time ({seconds(rest_s)}): {named(waited.longest_wait_of or '')}."
    )
    return [Finding(kind="waits", text=sentence(text), share=share)]


def _rest_s(material: Material) -> float:
    """Return how long one task waited between its attempts while workers had nothing to do: no more of them help it.

    Where workers were the limit it is 0, for it may have waited for them.
    """
    if any(use.busy_share >= LIMITED for use in executor_uses(material)):
        return 0.0
    return min(material.wall_s, retries(material).longest_wait_s)


def _handover(material: Material) -> list[Finding]:
    start_s = sum(stage.start_s for stage in material.sums.stages.values())
    slots = max(1, sum(material.workers.values()))
    share = start_s / (slots * material.wall_s)
    if share < NOTABLE:
        return []
    text = (
        f"tasks that had left the queue waited {seconds(start_s)} in all for their workers to start, to get ready, or "
        f"to end what they had been given before: {percent(min(1.0, share))} of the workers' time."
    )
    return [Finding(kind="handover", text=sentence(text), share=min(1.0, share))]


def _slack(material: Material) -> Finding:
    """Say that nothing was short, and why the run took as long as it did all the same."""
    use = executor_uses(material)[0]
    idle = 1.0 - min(1.0, use.busy_share)
    waited_s = sum(stage.wait_s for stage in material.stages)
    ended = max(1, sum(stage.total - stage.left for stage in material.stages))
    busy = f"the workers of {use.name} were busy {percent(use.busy_share)} of the wall time"
    if _rest_s(material) >= NOTABLE * material.wall_s:
        again_s = retries(material).wait_s
        text = f"no one thing was the limit: {busy}, and tasks waited {seconds(again_s)} in all to be tried again."
        return Finding(kind="mixed", text=sentence(text), share=idle)
    if waited_s / ended < 0.1 * (material.wall_s / ended):
        text = f"{busy}, and tasks hardly waited: work came in more slowly than it was done."
        return Finding(kind="feeding", text=sentence(text), share=idle)
    text = f"no one thing was the limit: {busy}, and a task waited {seconds(waited_s / ended)} in the mean."
    return Finding(kind="mixed", text=sentence(text), share=idle)


def forecast(material: Material) -> Forecast | None:
    """Return between what a run of the same work would take with 2 and 4 times the workers, and with half of them.

    With n workers no order of tasks ends before max(W / n, S), where W is the work in all and S the longest chain
    (the laws of work and span), and any order that leaves no worker idle while something waits ends by
    W / n + S (1 - 1 / n): R. L. Graham, Bounds for certain multiprocessing anomalies, Bell System Technical Journal
    45 (1966); R. P. Brent, The parallel evaluation of general arithmetic expressions, Journal of the ACM 21 (1974).
    It is of the busiest executor, and holds as long as the machine can bear the workers. What a task waits to be tried
    again no worker shortens: it is in both bounds.
    """
    if not material.sums.busy_s or material.chain is None or material.wall_s <= 0:
        return None
    use = max(executor_uses(material), key=lambda one: one.busy_s)
    work_s, span_s, now = use.busy_s, min(material.chain.seconds, use.busy_s), use.workers
    rest_s = _rest_s(material)
    options = [
        WhatIf(workers=n, least_s=max(work_s / n, span_s, rest_s), most_s=work_s / n + span_s * (1 - 1 / n) + rest_s)
        for n in sorted({max(1, now // 2), now, now * 2, now * 4})
    ]
    stages = [stage for stage in material.stages if stage.executor == use.name]
    return Forecast(
        executor=use.name,
        workers=now,
        work_s=work_s,
        span_s=span_s,
        span_of=material.chain.label,
        text=_advice(material, use, span_s, sum(stage.cpu_s for stage in stages)),
        options=options,
    )


def _advice(material: Material, use: ExecutorUse, span_s: float, cpu_s: float) -> str:
    work_s, wall_s = use.busy_s, material.wall_s
    useful = max(1, -int(-work_s // span_s)) if span_s > 0 else use.workers
    twice = max(work_s / (2 * use.workers), span_s)
    if span_s >= 0.9 * wall_s:
        return f"More workers of {use.name} would change nothing: the longest chain is all of the run."
    if _rest_s(material) >= LONGEST * wall_s:
        return (
            f"More workers of {use.name} would hardly help: no number of them shortens what a task waits to be tried "
            "again."
        )
    if use.busy_share < LIMITED:
        return (
            f"More workers of {use.name} would hardly help: those there were had nothing to do for "
            f"{percent(1 - min(1.0, use.busy_share))} of the time."
        )
    needs = ""
    if work_s > 0 and cpu_s / work_s > 0.5:
        needs = f" They need cores: tasks used the CPU {percent(min(1.0, cpu_s / work_s))} of the time they ran."
    memory_mb = material.memory_mb.get(use.name, 0.0)
    if memory_mb >= 1:
        needs += f" And memory: {memory_mb * use.workers:,.0f} MB more, if each takes what the largest did."
    return (
        f"With {use.workers * 2:,} workers of {use.name} instead of {use.workers:,} the same work would take "
        f"{seconds(twice)} at least, instead of {seconds(wall_s)}; more than {useful:,} could not shorten it.{needs}"
    )


def named(text: str) -> str:
    """Return a name that is not ours, in a sentence: between these quotes, which none of the kind is within."""
    return f"“{short(line(text), 80).translate(_QUOTES)}”"


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


_FIGURES = re.compile(r"\d[\d.,]*")
_QUOTES = str.maketrans("“”", "''")
