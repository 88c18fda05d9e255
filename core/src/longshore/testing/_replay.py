"""A run's decisions on file: what an engine was told, and what it decided; the same told again decides the same.

    with recording(Path("run.jsonl")):
        async with WorkerPool() as pool:
            ...
    assert replay(Path("run.jsonl")).differs is None

Each line is one step: the time, the readings, submissions, ends and whatever else came in, the dice, and the decisions.
Functions and values are not kept: a replay runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from longshore import _parts, task
from longshore._columns import OutcomeColumns, ran_s
from longshore._engine import messages
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.learning import input_bytes
from longshore._engine.messages import Command, Dismiss, Reported, Stimulus, Submit
from longshore._engine.retry import kind_of
from longshore.task import Attempt, ErrorRecord, Outcome, PlainOutcome, Priority, Resources, RetryPolicy, TaskSpec

Json = dict[str, Any]  # Any: JSON-safe values
_DECIDING = ("executor", "timeout_s", "soft_timeout_s", "deadline_s", "name", "processor", "max_per_second",
             "concurrent_limit", "group", "rank", "memory_limit_mb")  # fmt: skip


class Replay(NamedTuple):
    """How many steps were decided again, and the first that was decided otherwise, in words; None where none was."""

    steps: int
    differs: str | None


@contextmanager
def recording(path: Path) -> Iterator[None]:
    """Have the pools that are started within write all that their engines are told and decide; meant for one pool."""
    with path.open("w", encoding="utf-8") as file:

        def make(config: EngineConfig, uniform: Callable[[], float]) -> Engine:
            return _Recorded(config, uniform, file)

        before = vars(_parts)["Engine"]
        setattr(_parts, "Engine", make)  # noqa: B010 - in place of the class
        try:
            yield
        finally:
            setattr(_parts, "Engine", before)  # noqa: B010 - as above


def replay(path: Path) -> Replay:
    """Tell a new engine what is on file, step by step, and compare what it decides."""
    with path.open(encoding="utf-8") as lines:
        dice: list[float] = []
        engine = Engine(msgspec.convert(json.loads(next(lines)), EngineConfig), lambda: dice.pop(0))
        specs: dict[int, TaskSpec] = {}
        steps = 0
        for steps, line in enumerate(lines, start=1):
            step = json.loads(line)
            if "located" in step:
                engine.locate(step["located"])
                continue
            dice[:] = step["dice"]
            decided = _decisions(engine.handle([_read(one, specs) for one in step["told"]], step["now"]))
            if decided != step["decided"]:
                return Replay(steps, f"step {steps} at {step['now']:g}: {decided} where it was {step['decided']}")
    return Replay(steps, None)


class _Recorded(Engine):
    """An engine that writes down each step."""

    def __init__(self, config: EngineConfig, uniform: Callable[[], float], file: IO[str]) -> None:
        self._thrown: list[float] = []
        self._file, self._specs = file, dict[TaskSpec, int]()
        super().__init__(config, lambda: self._throw(uniform))
        file.write(msgspec.json.encode(config).decode() + "\n")

    def _throw(self, uniform: Callable[[], float]) -> float:
        self._thrown.append(uniform())
        return self._thrown[-1]

    def locate(self, executor: str) -> None:
        super().locate(executor)
        self._file.write(json.dumps({"located": executor}) + "\n")

    def handle(self, stimuli: Iterable[Stimulus], now: float) -> list[Command]:
        told, given = [], list(stimuli)
        for stimulus in given:
            told.append(_written(stimulus, self._specs))
        self._thrown.clear()
        commands = super().handle(given, now)
        step = {"now": now, "told": told, "dice": self._thrown, "decided": _decisions(commands)}
        self._file.write(json.dumps(step) + "\n")
        return commands


def _decisions(commands: Iterable[Command]) -> list[Any]:  # Any: JSON-safe values
    """Return what was decided, in words that are the same for the same decision; what is told follows from it."""
    found: list[Any] = []  # Any: as above
    for command in commands:
        match command:
            case messages.Start():
                given = [[one.task_id, one.number, one.memory_limit_mb, list(one.gpus)] for one in command.attempts]
                if found and found[-1][:2] == ["start", command.executor]:
                    found[-1][2] += given
                else:
                    found.append(["start", command.executor, given])
            case messages.Settle():
                ends = [[one.task_id, one.state.value] for one in command.outcomes]
                if found and found[-1][0] == "settle":  # how they are put together is no decision
                    found[-1][1] += ends
                else:
                    found.append(["settle", ends])
            case messages.Refuse():
                found.append(["refuse", command.cause, [one.task_id for one in command.tasks]])
            case messages.Tell():
                pass
            case _:
                found.append([type(command).__name__, msgspec.to_builtins(command)])
    return json.loads(json.dumps(found)) if found else found


def _written(stimulus: Stimulus, specs: dict[TaskSpec, int]) -> Json:
    kind = type(stimulus).__name__
    match stimulus:
        case Submit() | Dismiss():
            new = stimulus.spec not in specs
            number = specs.setdefault(stimulus.spec, len(specs))
            body: Json = {"spec": number, "attempts": [_attempt(one) for one in stimulus.attempts]}
            if new:
                body["as"] = _spec(stimulus.spec)
            if isinstance(stimulus, Dismiss):
                body["outcomes"] = [_outcome(one) for one in stimulus.outcomes]
        case Reported():
            outcomes = [_outcome(one) for one in stimulus.outcomes]
            if type(stimulus.outcomes) is OutcomeColumns:  # only the time of all together is known, and counts
                for number, facts in enumerate(outcomes):
                    facts["ran_s"] = 0.0 if number else ran_s(stimulus.outcomes)
            body = {"executor": stimulus.executor, "outcomes": outcomes}
        case _:
            body = msgspec.to_builtins(stimulus, str_keys=True)
    return {"kind": kind, **body}


def _attempt(one: Attempt) -> list[Any]:  # Any: JSON-safe values
    return [one.task_id, one.queued_at, input_bytes(one.args, one.kwargs)]


def _outcome(one: Outcome) -> Json:
    error = one.error
    facts: Json = {
        "task_id": one.task_id, "state": one.state.value, "attempts": one.attempts, "ran_s": one.ran_s,
        "cpu_s": one.cpu_s, "peak_memory_mb": one.peak_memory_mb, "plain": isinstance(one, PlainOutcome),
    }  # fmt: skip
    if error is not None or one.exception is not None:
        kind = kind_of(one)
        known = error or ErrorRecord(type="", message="")
        facts["error"] = [f"{kind.__module__}.{kind.__qualname__}", known.reason, known.peak_memory_mb]
    return facts


def _spec(spec: TaskSpec) -> Json:
    policy = spec.retry
    waits = {name: getattr(policy, name) for name in ("attempts", "backoff", "max_backoff", "jitter", "poison_after")}
    named = [f"{kind.__module__}.{kind.__qualname__}" for kind in policy.retry_on]
    return {
        **{name: getattr(spec, name) for name in _DECIDING},
        "priority": int(spec.priority),
        "retry": {**waits, "retry_on": named},
        "resources": msgspec.to_builtins(spec.resources),
    }


def _stand_in() -> None:
    """Be what a task calls: nothing calls it."""


def _read(told: Json, specs: dict[int, TaskSpec]) -> Stimulus:
    kind = getattr(messages, told["kind"])
    if kind in (Submit, Dismiss):
        if "as" in told:
            specs[told["spec"]] = _read_spec(told["as"])
        spec = specs[told["spec"]]
        attempts = [
            Attempt(name, spec, (bytes(size),) if size else (), queued_at=at) for name, at, size in told["attempts"]
        ]
        if kind is Submit:
            return Submit(spec, attempts)
        return Dismiss(spec, attempts, [_read_outcome(one) for one in told["outcomes"]])
    if kind is Reported:
        return Reported(told["executor"], [_read_outcome(one) for one in told["outcomes"]])
    made: Stimulus = msgspec.convert({key: value for key, value in told.items() if key != "kind"}, kind, strict=False)
    return made


def _read_spec(facts: Json) -> TaskSpec:
    given = dict(facts)
    retry = dict(given.pop("retry"))
    kinds = tuple(
        kind_of(Outcome("", None, 0, "", task.TaskState.FAILED, error=ErrorRecord(type=name, message="")))
        for name in retry.pop("retry_on")
    )
    resources = given.pop("resources")
    return TaskSpec(
        function=_stand_in,
        priority=Priority(given.pop("priority")),
        retry=RetryPolicy(retry_on=kinds, **retry),
        resources=None if resources is None else msgspec.convert(resources, Resources),
        **given,
    )


def _read_outcome(facts: Json) -> Outcome:
    given = dict(facts)
    plain, error, state = given.pop("plain"), given.pop("error", None), task.TaskState(given.pop("state"))
    record = None
    if error is not None:
        kind, reason, peak_mb = error
        record = ErrorRecord(type=kind, message="", reason=reason, peak_memory_mb=peak_mb)
    make = PlainOutcome if plain else Outcome
    return make(key=None, index=0, name="", state=state, error=record, **given)


__all__ = ["Json", "Replay", "recording", "replay"]
