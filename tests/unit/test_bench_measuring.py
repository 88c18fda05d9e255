"""What `longshore bench` measures: which cells there are, what is said of what can't be, what its process tells."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore import Settings, _bench, _bench_apart
from longshore._bench import Plan, Work, built_in_work, measure_costs, measure_work
from longshore._bench_advice import Cell
from longshore._bench_apart import measure_apart
from longshore.errors import LongshoreError, PayloadError, SettingsError

PLAN = Plan(settings=Settings(probes=()), rounds=2, cell_s=0.002, latencies=3, workers=2)


class Told:
    """Keeps what is said of how it goes."""

    def __init__(self) -> None:
        self.at: list[str | None] = []
        self.problems: list[str] = []

    def doing(self, text: str, executor: str | None = None) -> None:
        self.at.append(executor)

    def problem(self, text: str) -> None:
        self.problems.append(text)


def fine(item: int) -> int:
    return item


async def awaited(item: int) -> int:
    return item


def bad(item: int) -> None:
    raise ValueError("always")


@pytest.mark.anyio
@pytest.mark.usefixtures("deadline")
async def test_every_count_of_workers_is_measured_in_every_round() -> None:
    """A cell for one worker and for the most that are asked for; what each has is of all rounds together."""
    told = Told()
    cells = await measure_work(Work.of("fine", fine, [1, 2], ["threads"]), PLAN, told)
    assert [(cell.executor, cell.workers, cell.failed, cell.error) for cell in cells] == [
        ("threads", 1, 0, None),
        ("threads", 2, 0, None),
    ]
    assert all(cell.per_s.low <= cell.per_s.median <= cell.per_s.high for cell in cells)
    assert told.at == ["threads"] * 4
    assert told.problems == []


@pytest.mark.anyio
@pytest.mark.usefixtures("deadline")
async def test_work_that_fails_is_measured_once_and_said() -> None:
    """The first error is told, no second round is tried, and the cell has how many failed."""
    told = Told()
    [cell] = await measure_work(Work.of("bad", bad, [1], ["threads"]), PLAN, told)
    assert cell.failed == cell.tasks > 0
    assert cell.error == "ValueError: always"
    assert told.problems == ["bad: every task failed in threads: ValueError: always"]
    assert told.at == ["threads"]


@pytest.mark.anyio
@pytest.mark.usefixtures("deadline")
async def test_what_can_not_be_run_there_is_said_and_what_is_our_fault_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An executor that can't run the work costs that executor; any other error of longshore ends the measuring."""
    raised: list[Exception] = [PayloadError("it can't be pickled"), SettingsError("no such setting")]

    async def fails(*_: object) -> None:
        raise raised.pop(0)

    monkeypatch.setattr(_bench, "_trial", fails)
    told, work = Told(), Work.of("fine", fine, [1], ["threads"])
    assert await measure_work(work, PLAN, told) == []
    assert told.problems == ["fine can't be run in threads: it can't be pickled"]
    with pytest.raises(SettingsError):
        await measure_work(work, PLAN, told)


@pytest.mark.anyio
@pytest.mark.usefixtures("deadline")
async def test_what_a_task_costs_is_measured_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """By executor, the median no more than the 99th percentile; one that can't be used is said once, and left out."""
    trial = _bench._trial

    async def without_threads(pool: Any, work: Work, name: str, *rest: Any) -> None:
        if name == "threads":
            raise RuntimeError("no more threads")
        await trial(pool, work, name, *rest)

    monkeypatch.setattr(_bench, "_trial", without_threads)
    told = Told()
    costs = await measure_costs(["asyncio", "threads"], PLAN, told)
    assert list(costs) == ["asyncio"]
    assert costs["asyncio"].stream_s > 0
    assert 0 < costs["asyncio"].p50_s <= costs["asyncio"].p99_s
    assert told.problems == ["threads can't be used here: no more threads"]


def test_work_is_measured_where_it_can_run() -> None:
    """A coroutine function on asyncio, any other in threads and processes; of these, those that are asked for."""
    assert list(Work.of("a", awaited, [1]).functions) == ["asyncio"]
    assert list(Work.of("f", fine, [1]).functions) == ["threads", "processes"]
    assert list(Work.of("f", fine, [1], ["processes", "asyncio"]).functions) == ["processes"]
    assert [list(work.functions) for work in built_in_work(["asyncio"])] == [["asyncio"]] * 3


class Child:
    """In place of the process that measures: what it tells, and how it ends."""

    def __init__(self, *messages: tuple[Any, ...], code: int = 0, cut: int = 0, gone: bool = False) -> None:
        data = b"".join(map(pickle.dumps, messages))
        self.stdout = io.BytesIO(data[: len(data) - cut])
        self.stdin = Gone() if gone else io.BytesIO()
        self.returncode = code
        self.killed = False

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self, timeout: float) -> int:
        raise subprocess.TimeoutExpired("child", timeout)

    def kill(self) -> None:
        self.killed = True


class Gone(io.BytesIO):
    """A pipe that nobody reads."""

    def write(self, _: Any) -> int:
        raise BrokenPipeError


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Have these children begun, one after the other; the list has the command of each."""

    def given(*made: Child) -> list[list[str]]:
        left, begun = list(made), list[list[str]]()

        def begin(command: list[str], **_: Any) -> Child:
            begun.append(command)
            return left.pop(0)

        monkeypatch.setattr(_bench_apart.subprocess, "Popen", begin)
        return begun

    return given


WORK = Work("job:f", {"threads": fine, "processes": fine}, (1,))


def test_what_the_child_tells_is_passed_on(children: Callable[..., list[list[str]]]) -> None:
    """Its cells are returned; what it is at and what it can't measure is told, and the process is ended."""
    told = Told()
    child = Child(("doing", "job:f", "threads"), ("problem", "too slow"), ("measured", ["cells"]))
    begun = children(child)
    assert measure_apart("job:f", WORK, PLAN, told) == ["cells"]
    assert (told.at, told.problems, child.killed) == (["threads"], ["too slow"], True)
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (3, "exited with code 3"),
        (-signal.SIGSEGV, "was killed by signal 11 (SIGSEGV)"),
        (-250, "was killed by signal 250"),
    ],
)
def test_an_executor_in_which_the_process_ended_is_left_out(
    children: Callable[..., list[list[str]]], code: int, how: str
) -> None:
    """It is said how it ended, also where that was in the middle of a message, and the others are measured."""
    told = Told()
    children(Child(("doing", "a", "processes"), ("problem", "cut off"), code=code, cut=4), Child(("measured", ["c"])))
    assert measure_apart("job:f", WORK, PLAN, told) == ["c"]
    assert told.problems == [f"job:f ended the process that it ran in: that {how}; it can't be measured in processes"]


def test_one_that_ends_everywhere_has_no_cells(children: Callable[..., list[list[str]]]) -> None:
    """Also where the process is gone before it was told what to measure."""
    told = Told()
    begun = children(Child(code=1, gone=True), Child(code=1, gone=True))
    assert measure_apart("job:f", WORK, PLAN, told) == []
    assert (len(begun), len(told.problems)) == (2, 2)


def test_an_error_of_longshore_in_the_child_is_raised_here(children: Callable[..., list[list[str]]]) -> None:
    """With its own type and message, after the child was ended."""
    child = Child(("failed", SettingsError("no such setting")))
    children(child)
    with pytest.raises(SettingsError, match="no such setting"):
        measure_apart("job:f", WORK, PLAN, Told())
    assert child.killed


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def as_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[object], list[tuple[Any, ...]]]]:
    """Be the child: `main` gets an order as standard input, and what it tells on standard output is returned."""

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(_bench_apart, "_end_with", lambda orders: None)
    monkeypatch.setattr(_bench_apart.os, "_exit", end)
    kept = [os.dup(number) for number in (0, 1, 2)]

    def run(order: object) -> list[tuple[Any, ...]]:
        (tmp_path / "order").write_bytes(pickle.dumps(order))
        with (tmp_path / "order").open("rb") as orders, (tmp_path / "told").open("wb") as told:
            os.dup2(orders.fileno(), 0)
            os.dup2(told.fileno(), 1)
            try:
                with pytest.raises(Ended):
                    _bench_apart.main()
            finally:
                for number, descriptor in enumerate(kept):
                    os.dup2(descriptor, number)
        with (tmp_path / "told").open("rb") as pipe:
            return list(_bench_apart._messages(pipe))

    yield run
    for descriptor in kept:
        os.close(descriptor)


def test_the_child_tells_what_it_measured(
    as_child: Callable[[object], list[tuple[Any, ...]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the function prints is none of it; cells come last."""
    (tmp_path / "measured_job.py").write_text("import os\ndef loud(item):\n    os.write(1, b'loud')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    *doing, (kind, cells) = as_child(_bench_apart._Order("measured_job:loud", [1], ["threads"], PLAN))
    assert {message[0] for message in doing} == {"doing"}
    assert kind == "measured"
    assert [(type(cell), cell.workers) for cell in cells] == [(Cell, 1), (Cell, 2)]
    sys.modules.pop("measured_job", None)


def test_the_child_tells_why_it_can_not_measure(as_child: Callable[[object], list[tuple[Any, ...]]]) -> None:
    """An error of longshore travels to the parent, which raises it."""
    [(kind, error)] = as_child(_bench_apart._Order("no_such_module_here:f", [1], ["threads"], PLAN))
    assert kind == "failed"
    assert isinstance(error, LongshoreError)
    assert "no_such_module_here" in str(error)


def test_the_child_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the pipe that it was ordered by is closed."""
    ended: list[int] = []
    monkeypatch.setattr(_bench_apart.os, "_exit", ended.append)
    _bench_apart._end_with(io.BytesIO(b"more"))
    assert ended == [1]
