"""Attempts as traces: for Perfetto, and other viewers of Chrome's JSON; and for speedscope.

In: spans, whole. Out: pieces of a file. Both formats let spans of one track nest only, so a worker has one track as
long as its attempts come one after the other, and those that overlap get tracks of their own.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from longshore._plain import line
from longshore._report.records import Series
from longshore._report.spans import Span
from longshore._report.words import short

SPANS_MOST = 200_000
"""Attempts in a trace: the earliest ones; what viewers open is bounded, and so is what is held here."""
JITTER_S = 0.0005
"""By so much two attempts may seem to overlap that were done in turn."""
LAG_S = 0.05
"""So much later than it was an end may be told: it travels, and is committed."""
_NOBODY = "(no worker)"
_SPEEDSCOPE = "https://www.speedscope.app/file-format-schema.json"
_FRAME_MOST = 80


@dataclass(frozen=True, slots=True)
class Track:
    """Spans that come one after the other."""

    executor: str
    worker: str
    number: int
    """0 for the worker's own; more where its spans overlap."""
    spans: Sequence[Span]


def tracks(spans: Iterable[Span]) -> list[Track]:
    """Return spans by worker, those that overlap apart; sorted by executor and worker."""
    by_worker: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in spans:
        by_worker[span.executor, span.worker or _NOBODY].append(span)
    found = []
    for (executor, worker), each in sorted(by_worker.items()):
        lanes = _lanes(_in_turn(sorted(each, key=lambda span: (span.end, span.start))))
        found += [Track(executor, worker, number, lane) for number, lane in enumerate(lanes)]
    return found


def _in_turn(spans: Sequence[Span]) -> Iterator[Span]:
    """Yield spans of one worker, those that it did in turn laid one after the other; they come sorted by their ends.

    How long an attempt ran is measured; when it ended is when that became known: for those that a worker tells of
    together one moment, and always a little later. So they are moved back, by `LAG_S` at most, if there is room for
    them in turn since what came before.
    """
    groups = [list(together) for _, together in groupby(spans, key=lambda span: span.end)]
    following = math.inf
    for place in range(len(groups) - 1, -1, -1):
        each, before = groups[place], groups[place - 1][0].end if place else -math.inf
        end = min(each[0].end, following)
        start = end - sum(span.seconds for span in each)
        if each[0].end - end > LAG_S or (len(each) > 1 and start < before - LAG_S):
            yield from each
            following = min(following, *(span.start for span in each))
            continue
        following = start
        for span in each:
            yield _at(span, start)
            start += span.seconds


def _at(span: Span, start: float) -> Span:
    return msgspec.structs.replace(span, start=start, end=start + span.seconds)


def _lanes(spans: Iterable[Span]) -> list[list[Span]]:
    """Return spans in as many rows as it takes for none to overlap another; within one each ends before the next."""
    lanes: list[list[Span]] = []
    free: list[tuple[float, int]] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        if free and free[0][0] <= span.start + JITTER_S:
            until, lane = heapq.heappop(free)
            start = max(span.start, until)
            lanes[lane].append(msgspec.structs.replace(span, start=start, end=max(start, span.end)))
        else:
            lane = len(lanes)
            lanes.append([span])
        heapq.heappush(free, (lanes[lane][-1].end, lane))
    return lanes


# ---- Chrome's JSON


def chrome(name: str, start: float, found: Sequence[Track], running: Series | None, left_out: int = 0) -> Iterator[str]:
    """Yield a trace in the JSON of Chrome's Trace Event Format: an executor is a process, a worker a thread.

    What does not fit onto its worker's track, as other attempts of that worker overlap it, becomes an asynchronous
    event, for which viewers make tracks of their own. Times are microseconds since `start`.
    """
    other = json.dumps({"run": line(name), "started": start, "attempts_left_out": left_out})
    yield f'{{"displayTimeUnit": "ms", "otherData": {other}, "traceEvents": [\n'
    yield ",\n".join(json.dumps(event) for event in _named(found))
    for event in _events(start, found):
        yield f",\n{json.dumps(event)}"
    for event in _counters(start, running):
        yield f",\n{json.dumps(event)}"
    yield "\n]}\n"


def _places(found: Sequence[Track]) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return the process and the thread of each worker."""
    executors = {executor: pid for pid, executor in enumerate(sorted({track.executor for track in found}), 1)}
    workers = sorted({(track.executor, track.worker) for track in found})
    return {worker: (executors[worker[0]], tid) for tid, worker in enumerate(workers, 1)}


def _named(found: Sequence[Track]) -> Iterator[Mapping[str, object]]:
    """Yield names and order of processes and threads; the first is of what is counted over all."""
    yield {"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": "all"}}
    pids = set()
    for (executor, worker), (pid, tid) in _places(found).items():
        if pid not in pids:
            pids.add(pid)
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": line(executor)}}
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": line(worker)}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}


def _events(start: float, found: Sequence[Track]) -> Iterator[Mapping[str, object]]:
    places, number = _places(found), 0
    for track in found:
        pid, tid = places[track.executor, track.worker]
        for span in track.spans:
            number += 1
            begin, end = _micros(span.start - start), _micros(span.end - start)
            event = {"name": line(span.name), "cat": span.state, "pid": pid, "tid": tid, "ts": begin}
            if track.number == 0:
                yield {"ph": "X", "dur": end - begin, "args": _facts(span), **event}
            else:
                yield {"ph": "b", "id": hex(number), "args": _facts(span), **event}
                yield {"ph": "e", "id": hex(number), **event, "ts": end}


def _facts(span: Span) -> Mapping[str, object]:
    facts = {"input": short(line(span.label)), "task": span.task_id, "attempt": span.attempt, "state": span.state}
    return {**facts, "error": span.error} if span.error else facts


def _counters(start: float, running: Series | None) -> Iterator[Mapping[str, object]]:
    if running is None:
        return
    names = [line(name) for name in running.names]
    for step, counts in enumerate(zip(*running.running, strict=False)):
        at = _micros(running.start + step * running.step_s - start)
        args = dict(zip(names, counts, strict=True))
        yield {"ph": "C", "name": "running", "pid": 0, "tid": 0, "ts": at, "args": args}


def _micros(value_s: float) -> int:
    return max(0, round(value_s * 1e6))


# ---- speedscope


def speedscope(name: str, start: float, found: Sequence[Track]) -> Iterator[str]:
    """Yield a file of speedscope, evented: a profile for each worker, stages as frames, what was worked on within."""
    frames: dict[str, int] = {}
    for track in found:
        for span in track.spans:
            for frame in _frames(span):
                frames.setdefault(frame, len(frames))
    shared = {"frames": [{"name": frame} for frame in frames]}
    yield f'{{"$schema": "{_SPEEDSCOPE}", "exporter": "longshore", "name": {json.dumps(short(line(name)))},\n'
    yield f'"shared": {json.dumps(shared)}, "profiles": ['
    for place, track in enumerate(found):
        yield f"{',' if place else ''}\n{json.dumps(_profile(start, track, frames))}"
    yield "\n]}\n"


def _frames(span: Span) -> tuple[str, str]:
    ended = "" if span.state == "completed" else f" ({span.state.replace('_', ' ')})"
    return line(span.name), short(line(span.label), _FRAME_MOST) + ended


def _profile(start: float, track: Track, frames: Mapping[str, int]) -> Mapping[str, Any]:  # Any: JSON-safe values
    events = []
    for span in track.spans:
        stage, label = (frames[frame] for frame in _frames(span))
        begin, end = _since(span.start, start), _since(span.end, start)
        events += [
            {"type": "O", "frame": stage, "at": begin},
            {"type": "O", "frame": label, "at": begin},
            {"type": "C", "frame": label, "at": end},
            {"type": "C", "frame": stage, "at": end},
        ]
    suffix = f" ({track.number + 1})" if track.number else ""
    return {
        "type": "evented",
        "name": f"{line(track.executor)}: {line(track.worker)}{suffix}",
        "unit": "seconds",
        "startValue": events[0]["at"],
        "endValue": events[-1]["at"],
        "events": events,
    }


def _since(at: float, start: float) -> float:
    return round(max(0.0, at - start), 6)
