"""A cluster of real processes: what each attempt comes to, whatever dies or hangs."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from longshore import current_task
from longshore.errors import PayloadError
from longshore.task import Resources, TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]  # workers come up in seconds, or in many


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
    """Say which process it is, then stay until somebody says go."""
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)
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


def tell(steps: int) -> str:
    for step in range(1, steps + 1):
        current_task().progress(step / steps, f"step {step}")
    return current_task().worker_id


def ready() -> None:
    state = current_task().worker_state
    state["made"] = state.get("made", 0) + 1


def made(_: int) -> int:
    time.sleep(0.002)
    return int(current_task().worker_state["made"])


def unfit(_: int) -> Any:
    return threading.Lock()


def broken(number: int) -> int:
    raise ValueError(f"no {number}")


def is_gone(path: Path) -> bool:
    """Tell whether the process that `hold` named has ended."""
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{path.read_text()}/status").read_text()


async def test_ray_thousand_and_failures(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand short tasks give each its own result in far fewer calls; what fails costs its own task only."""
    rig = await start(2)
    ids = rig.many(square, range(1000), timeout_s=30.0)
    bad, lock = rig.submit(broken, 7), rig.submit(square, threading.Lock())
    back = rig.many(unfit, range(3))
    outcomes = await rig.all_of([*ids, bad, lock, *back])
    assert [outcome.value for outcome in outcomes[:1000]] == [number * number for number in range(1000)]
    assert {outcome.attempts for outcome in outcomes} == {1}
    rows = rig.executor.workers()
    assert sum(row.tasks_completed for row in rows) == 1000
    assert sum(row.batches for row in rows) < 300
    raised = outcomes[1000]
    assert isinstance(raised.exception, ValueError)
    assert "raise ValueError" in str(raised.exception.__cause__)
    assert all(isinstance(outcome.exception, PayloadError) for outcome in outcomes[1001:])
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ray_only_here.py").write_text("def work(): ...")
    missing = await rig.run(importlib.import_module("ray_only_here").work)
    assert isinstance(missing.exception, PayloadError)
    assert "install 'ray_only_here' on the workers" in str(missing.exception)


async def test_ray_worker_killed(start: Any, tmp_path: Path) -> None:
    """A worker killed amid many tasks costs the one it ran; none is lost or run twice, and another worker comes."""
    rig = await start(2)
    batch = rig.attempts(mark, [(tmp_path, number) for number in range(400)])
    rig.executor.submit(batch)
    await rig.host.until(lambda: len(rig.host.outcomes) > 100)
    os.kill(rig.executor.pids()[0], signal.SIGKILL)
    outcomes = await rig.all_of([attempt.task_id for attempt in batch])
    died = [outcome for outcome in outcomes if not outcome.ok]
    assert len(died) <= 1
    assert all(outcome.error is not None and outcome.error.type.endswith("WorkerDied") for outcome in died)
    ran = [int(path.name.split("-")[0]) for path in tmp_path.iterdir()]
    assert len(ran) == len(set(ran)), "run twice"
    assert set(range(400)) - set(ran) <= {outcome.index for outcome in died}, "lost"
    assert any("the Ray cluster lost a worker" in notice.data["error"] for notice in rig.host.notices)
    await rig.host.until(lambda: rig.host.sizes[-1] == 2)
    outcomes = await rig.all_of([*[attempt.task_id for attempt in batch], *rig.many(die_at, range(300))])
    assert [outcome.index for outcome in outcomes[400:] if not outcome.ok] == [137], "its batch mates are harmed"
    assert [outcome.value for outcome in outcomes[400:] if outcome.ok] == [n for n in range(300) if n != 137]


async def test_ray_timeout_and_cancel(start: Any, tmp_path: Path) -> None:
    """An attempt past its time, or cancelled, is told at once and its process ends; what waits is never begun."""
    rig = await start(1)
    outcome = await rig.run(hold, tmp_path / "late", timeout_s=0.3)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error is not None
    assert "its worker was ended" in outcome.error.message
    await rig.host.until(lambda: is_gone(tmp_path / "late"))
    running = rig.submit(hold, tmp_path / "running")
    await rig.host.until((tmp_path / "running").exists)
    waiting, behind = rig.submit(hold, tmp_path / "waiting"), rig.submit(square, 6)
    rig.cancel(waiting)
    assert (await rig.outcome(waiting)).state is TaskState.CANCELLED
    assert not rig.of(running)
    rig.cancel(running)
    assert (await rig.outcome(running)).state is TaskState.CANCELLED
    await rig.host.until(lambda: is_gone(tmp_path / "running"))
    assert (await rig.outcome(behind)).value == 36
    assert not (tmp_path / "waiting").exists()
    assert (await rig.run(hold, tmp_path / "expired", left_s=0.3)).state is TaskState.TIMED_OUT
    assert not [notice for notice in rig.host.notices if "lost a worker" in str(notice.data)], "it is no loss"


async def test_ray_slow_amid_short(start: Any, tmp_path: Path) -> None:
    """What stands in a batch behind a task that turns out long is run elsewhere meanwhile."""
    rig = await start(2)
    await rig.all_of(rig.many(hold_some, [None] * 200))  # so that they are known as short
    rig.host.outcomes.clear()
    ids = rig.many(hold_some, [tmp_path / "slow", *[None] * 199])
    await rig.host.until(lambda: rig.of(ids[1]) and rig.of(ids[2]))
    assert not rig.of(ids[0])
    (tmp_path / "slow.go").touch()
    assert (await rig.outcome(ids[0])).value == "late"


async def test_ray_told_before_a_slow_task_ends(start: Any, tmp_path: Path) -> None:
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


async def test_ray_batch_behind_a_slow_task(start: Any, tmp_path: Path) -> None:
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


async def test_ray_progress_limit_and_size(start: Any, tmp_path: Path) -> None:
    """Progress comes before the end, first and last; initializers run once a worker; limits and sizes are kept."""
    rig = await start(2)
    task_id = rig.submit(tell, 50)
    outcome = await rig.outcome(task_id)
    told = [update for update in rig.host.updates if update.task_id == task_id]
    assert (told[0].message, told[-1].message) == ("step 1", "step 50")
    assert len(told) < 20
    assert rig.host.order[-1] == ("outcome", task_id), "progress came after the end"
    assert outcome.value == outcome.worker
    outcomes = await rig.all_of([task_id, *rig.many(made, range(100), initializer=ready)])
    assert {one.value for one in outcomes[1:]} == {1}
    rig.limit(0)
    held, rest = rig.submit(mark, tmp_path, 1), rig.submit(mark, tmp_path, 2)
    rig.cancel(held)
    assert (await rig.outcome(held)).state is TaskState.CANCELLED
    assert not list(tmp_path.iterdir())
    rig.limit(None)
    assert (await rig.outcome(rest)).value == 2
    rig.resize(3)
    await rig.host.until(lambda: rig.host.sizes[-1] == 3)
    rig.resize(1)
    await rig.host.until(lambda: rig.host.sizes[-1] == 1 and len(rig.executor.workers()) == 1)


@pytest.mark.long
async def test_ray_resources(start: Any, theirs: str) -> None:
    """A task that asks for what machines declare has a worker made for it that holds it, and others make room."""
    import ray

    rig = await start(3)  # all the CPUs there are
    await rig.host.until(lambda: rig.host.sizes[-1] == 3)
    plain = rig.many(square, range(50))
    licensed = rig.submit(square, 7, resources=Resources(custom={"licence": 2}))
    assert (await rig.outcome(licensed)).value == 49
    available: Any = ray.available_resources  # it carries no types
    assert available().get("licence", 0.0) == 0.0, "Ray holds it for the worker"
    large = rig.submit(square, 8, resources=Resources(cpu=2))
    assert (await rig.outcome(large)).value == 64
    asks = await rig.run(square, 3, resources=Resources(gpu=1))
    assert asks.error is not None
    assert (
        "no machine of the Ray cluster has GPU=1: start one that has, such as by `ray start --num-gpus=1`"
        in asks.error.message
    )
    assert all(outcome.ok for outcome in [await rig.outcome(task_id) for task_id in plain])


@pytest.mark.long
async def test_ray_is_shared(start: Any, theirs: str) -> None:
    """Two pools use the connection that the program has, and leave it to it; another address is refused."""
    import ray

    first, second = await start(1), await start(1, address=theirs)
    assert (await first.run(square, 2)).value == 4
    await first.stop()
    assert (await second.run(square, 3)).value == 9
    await second.stop()
    assert ray.is_initialized()
    with pytest.raises(RuntimeError, match="a process has one connection to Ray"):
        await start(1, address="127.0.0.1:9")
