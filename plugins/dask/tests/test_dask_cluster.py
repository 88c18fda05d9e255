"""A local cluster of real processes: what each attempt comes to, whatever dies or hangs."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import PayloadError
from longshore.task import Resources, TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def square(number: int) -> int:
    return number * number


def mark(folder: Path, number: int) -> int:
    """Leave a trace of each call, then take a moment."""
    (folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.005)
    return number


def die_at(number: int) -> int:
    if number == 137:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hold(path: Path) -> str:
    path.touch()
    give_up = time.monotonic() + 30.0
    while not path.with_suffix(".go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    return "late"


def mark_or_hold(folder: Path, number: int) -> int:
    """Leave a trace of each call; the first one stays until somebody says go."""
    (folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if number == 0:
        hold(folder / "slow")
    return number


def hold_some(path: Path | None) -> str:
    return "at once" if path is None else hold(path)


def unfit(_: int) -> Any:
    return threading.Lock()


def broken(number: int) -> int:
    raise ValueError(f"no {number}")


async def test_dask_thousand(start: Any) -> None:
    """A thousand short tasks give each its own result, in far fewer Dask tasks than that."""
    rig = await start(2)
    ids = rig.many(square, range(1000), timeout_s=30.0)
    outcomes = await rig.all_of(ids)
    assert [outcome.value for outcome in outcomes] == [number * number for number in range(1000)]
    assert {outcome.attempts for outcome in outcomes} == {1}
    rows = rig.executor.workers()
    assert sum(row.tasks_completed for row in rows) == 1000
    assert sum(row.batches for row in rows) < 300
    assert rig.host.sizes[-1] == 2


async def test_dask_failures_are_their_own(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises, can't be sent, or can't be sent back costs its own task, and says so."""
    rig = await start(1)
    good = rig.many(square, range(20))
    bad, lock = rig.submit(broken, 7), rig.submit(square, threading.Lock())
    back = rig.many(unfit, range(3))
    nested = rig.submit(lambda: threading.Lock)
    raised = await rig.outcome(bad)
    assert isinstance(raised.exception, ValueError)
    assert "raise ValueError" in str(raised.exception.__cause__)
    assert raised.error is not None
    assert raised.error.type == "ValueError"
    for task_id in (lock, *back):
        outcome = await rig.outcome(task_id)
        assert isinstance(outcome.exception, PayloadError)
    assert (await rig.outcome(nested)).state is TaskState.COMPLETED
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "dask_only_here.py").write_text("def work(): ...")
    missing = await rig.run(importlib.import_module("dask_only_here").work)
    assert isinstance(missing.exception, PayloadError)
    assert "on the Dask worker 0: ModuleNotFoundError" in str(missing.exception)
    assert "install 'dask_only_here' on the workers" in str(missing.exception)
    asks = await rig.run(square, 3, resources=Resources(gpu=1))
    assert asks.error is not None
    assert "GPU=1" in asks.error.message
    assert {outcome.value for outcome in [await rig.outcome(task_id) for task_id in good]} == {
        number * number for number in range(20)
    }


async def test_dask_worker_killed(start: Any, tmp_path: Path) -> None:
    """A worker killed amid many tasks costs those that it ran, at most one a thread; none is lost or run twice."""
    rig = await start(2)
    batch = rig.attempts(mark, [(tmp_path, number) for number in range(400)])
    rig.executor.submit(batch)
    await rig.host.until(lambda: len(rig.host.outcomes) > 100)
    victim = rig.executor.pids()[0]
    os.kill(victim, signal.SIGKILL)
    outcomes = await rig.all_of([attempt.task_id for attempt in batch])
    died = [outcome for outcome in outcomes if not outcome.ok]
    assert len(died) <= 1
    assert all(outcome.error is not None and outcome.error.type.endswith("WorkerDied") for outcome in died)
    assert all(outcome.attempts == 1 for outcome in outcomes)
    ran = [int(path.name.split("-")[0]) for path in tmp_path.iterdir()]
    assert sorted(set(ran)) == list(range(400))
    assert len(ran) == 400, "an attempt ran twice"
    assert any(notice.data["error"] == "the Dask cluster lost a worker" for notice in rig.host.notices)
    await rig.host.until(lambda: rig.host.sizes[-1] == 2)  # Dask's nanny has started another
    assert (await rig.run(square, 5)).value == 25


async def test_dask_poison(start: Any) -> None:
    """A task that kills its worker is told as WorkerDied, and its batch mates give their results."""
    rig = await start(2)
    ids = rig.many(die_at, range(300))
    outcomes = await rig.all_of(ids)
    assert [outcome.index for outcome in outcomes if not outcome.ok] == [137]
    assert outcomes[137].error is not None
    assert outcomes[137].error.type.endswith("WorkerDied")
    assert [outcome.value for outcome in outcomes if outcome.ok] == [number for number in range(300) if number != 137]


async def test_dask_timeout_and_cancel(start: Any, tmp_path: Path) -> None:
    """An attempt past its time, or cancelled, is told at once and its worker goes on; what waits is never begun."""
    rig = await start(1)
    late = rig.submit(hold, tmp_path / "late", timeout_s=0.3)
    outcome = await rig.outcome(late)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error is not None
    assert "abandoned" in outcome.error.message
    assert 0.2 < outcome.ran_s < 10.0
    running = rig.submit(hold, tmp_path / "running")
    await rig.host.until((tmp_path / "running").exists)
    waiting = rig.submit(hold, tmp_path / "waiting")
    rig.cancel(waiting)
    assert (await rig.outcome(waiting)).state is TaskState.CANCELLED
    assert not rig.of(running)
    rig.cancel(running)
    assert (await rig.outcome(running)).state is TaskState.CANCELLED
    assert not (tmp_path / "waiting").exists()
    expired = await rig.run(hold, tmp_path / "expired", left_s=0.3)
    assert expired.state is TaskState.TIMED_OUT
    assert (await rig.run(square, 6)).value == 36
    assert len([notice for notice in rig.host.notices if "abandoned_threads" in notice.data]) == 3
    for name in ("late", "running", "expired"):
        (tmp_path / f"{name}.go").touch()


async def test_dask_slow_amid_short(start: Any, tmp_path: Path) -> None:
    """What stands in a batch behind a task that turns out long is run elsewhere meanwhile."""
    rig = await start(2)
    await rig.all_of(rig.many(hold_some, [None] * 200))  # so that they are known as short
    rig.host.outcomes.clear()
    ids = rig.many(hold_some, [tmp_path / "slow", *[None] * 199])
    await rig.host.until(lambda: rig.of(ids[1]) and rig.of(ids[2]))
    assert not rig.of(ids[0])
    (tmp_path / "slow.go").touch()
    assert (await rig.outcome(ids[0])).value == "late"


async def test_dask_told_before_a_slow_task_ends(start: Any, tmp_path: Path) -> None:
    """What ended in a batch before one that turns out long is told while that runs, and once."""
    rig = await start(2)
    await rig.all_of(rig.many(hold_some, [None] * 200))  # so that they are known as short
    before = sum(row.tasks_completed for row in rig.executor.workers())
    rig.host.outcomes.clear()
    ids = rig.many(hold_some, [*[None] * 20, tmp_path / "slow", *[None] * 179])
    others = [task_id for task_id in ids if task_id != ids[20]]
    assert {outcome.value for outcome in await rig.each_of(others)} == {"at once"}
    assert not rig.of(ids[20])
    (tmp_path / "slow.go").touch()
    assert (await rig.outcome(ids[20])).value == "late"
    assert len(rig.host.outcomes) == 200
    assert sum(row.tasks_completed for row in rig.executor.workers()) - before == 200


async def test_dask_batch_behind_a_slow_task(start: Any, tmp_path: Path) -> None:
    """What a worker has, and has not begun, behind a task that turns out long is run by another meanwhile, once."""
    rig = await start(2)
    short = rig.attempts(mark_or_hold, [(tmp_path, number) for number in range(100, 300)])
    rig.executor.submit(short)
    await rig.all_of([attempt.task_id for attempt in short])  # so that they are known as short
    rig.host.outcomes.clear()
    batch = rig.attempts(mark_or_hold, [(tmp_path, number) for number in range(8)], on_crash="unknown")  # each alone
    rig.executor.submit(batch)
    slow, *others = (attempt.task_id for attempt in batch)
    assert [outcome.value for outcome in await rig.each_of(others)] == list(range(1, 8))
    assert not rig.of(slow)
    (tmp_path / "slow.go").touch()
    assert (await rig.outcome(slow)).value == 0
    ran = sorted(int(path.name.split("-")[0]) for path in tmp_path.iterdir() if "-" in path.name)
    assert ran == [*range(8), *range(100, 300)], "each ran once"
    assert (await rig.run(square, 5)).value == 25


async def test_dask_resize(start: Any) -> None:
    """A local cluster grows and shrinks, and loses nothing by it."""
    rig = await start(1)
    rig.resize(2)
    await rig.host.until(lambda: rig.host.sizes[-1] == 2)
    ids = rig.many(square, range(500))
    rig.resize(1)
    outcomes = await rig.all_of(ids)
    assert all(outcome.ok for outcome in outcomes)
    await rig.host.until(lambda: rig.host.sizes[-1] == 1 and len(rig.executor.workers()) == 1)
    assert (await rig.run(square, 4)).value == 16


async def test_dask_stops_in_time(start: Any, tmp_path: Path) -> None:
    """Stopping ends what runs and what waits, each told once as cancelled, and leaves no process."""
    rig = await start(1)
    ids = [rig.submit(hold, tmp_path / "one"), rig.submit(hold, tmp_path / "two")]
    await rig.host.until((tmp_path / "one").exists)
    pids = rig.executor.pids()
    await rig.stop(within_s=6.0)
    assert {outcome.state for outcome in await rig.all_of(ids)} == {TaskState.CANCELLED}
    await rig.host.until(lambda: all(gone(pid) for pid in pids))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
