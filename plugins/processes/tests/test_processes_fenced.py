"""Memory limits kept by the kernel, with real workers that take too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import MemoryLimitExceeded, WorkerDied
from longshore_processes.cgroups import Groups, members
from longshore_processes.executor import ProcessesSettings

MB = 1_000_000
LIMIT_MB = 64.0
WITH_V1 = pytest.mark.skipif(Groups.here_v1() is None, reason="takes a writable memory group of version 1")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process uses")


def echo(item: Any) -> Any:
    return item


def hold(taken_mb: int) -> int:
    kept = b"x" * (taken_mb * MB)
    if taken_mb:
        time.sleep(0.5)
    return len(kept)


def on_tmpfs(taken_mb: int) -> int:
    """Fill a file that lies in memory."""
    path = f"/dev/shm/longshore-test-{os.getpid()}"
    try:
        with open(path, "wb") as file:
            for _ in range(taken_mb):
                file.write(b"x" * MB)
    finally:
        os.unlink(path)
    return taken_mb


def child_and_back(taken_mb: int) -> int:
    """Have a program fill memory, and go on whatever becomes of it."""
    subprocess.run([sys.executable, "-c", f"len(b'x' * {taken_mb * MB})"], check=False)
    return taken_mb


def settings(by: Any, **more: Any) -> ProcessesSettings:
    return ProcessesSettings(memory_limit_by=by, **more)


def base() -> Path:
    groups = Groups.here_v1()
    assert groups is not None
    return groups._base


def ours(yard: Any) -> list[Path]:
    """Return the groups of this yard's workers."""
    pid = next(iter(yard.executor.pids()))
    zygote = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return list(base().glob(f"longshore-{zygote}-*"))


@pytest.fixture
def grouped(open_yard: Any) -> Iterator[Any]:
    with open_yard(2, settings("control-group")) as yard:
        yield yard


@WITH_V1
@pytest.mark.parametrize(
    "take", [hold, pytest.param(on_tmpfs, marks=pytest.mark.slow), pytest.param(child_and_back, marks=pytest.mark.slow)]
)
def test_the_kernel_holds_it_to_the_byte(grouped: Any, take: Callable[[int], int]) -> None:
    """fault:M1 In a control group a task gets its limit and no more, in tmpfs and in what it starts; it alone fails."""
    outcomes = grouped.run(take, [0, 0, 640, 0, 0], memory_limit_mb=LIMIT_MB, timeout_s=20.0)
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True, True]
    error = outcomes[2].exception
    assert type(error) is MemoryLimitExceeded
    assert error.facts["rung"] == "cgroup-v1"
    assert error.facts["overshoot_mb"] < 1.0
    assert error.facts["peak_memory_mb"] == pytest.approx(LIMIT_MB, abs=1.0)
    assert error.facts["peak_memory_mb"] == outcomes[2].peak_memory_mb
    assert error.facts["worker"] == outcomes[2].worker
    assert {row.memory_limit_by for row in grouped.executor.workers() if row.started} == {"cgroup-v1"}
    assert grouped.run(take, [0, 0])[0].ok


@WITH_V1
@pytest.mark.slow
def test_a_strangers_kill_is_not_the_tasks_memory(grouped: Any) -> None:
    """fault:M1 Who is killed by anybody but the kernel's memory limit fails with WorkerDied, as ever."""
    [outcome] = grouped.run(lambda _: os.kill(os.getpid(), signal.SIGKILL), [0], memory_limit_mb=LIMIT_MB)
    assert type(outcome.exception) is WorkerDied
    assert outcome.error.signal == signal.SIGKILL


@WITH_V1
@pytest.mark.slow
def test_others_of_its_batch_run_elsewhere(open_yard: Any) -> None:
    """fault:M1 What was sent with it and had not begun is run again elsewhere; what was finished is not."""
    with open_yard(1, settings("control-group")) as yard:
        yard.run(echo, range(200), memory_limit_mb=LIMIT_MB)

        def one_of_many(item: int) -> int:
            return len(b"x" * (640 * MB)) if item == 150 else item

        yard.run(one_of_many, range(100), memory_limit_mb=LIMIT_MB)
        outcomes = yard.run(one_of_many, range(300), memory_limit_mb=LIMIT_MB)
        assert [index for index, outcome in enumerate(outcomes) if not outcome.ok] == [150]
        assert type(outcomes[150].exception) is MemoryLimitExceeded
        assert {outcome.attempts for outcome in outcomes} == {1}


@WITH_V1
@pytest.mark.slow
def test_without_a_limit_there_is_no_group(open_yard: Any) -> None:
    """Workers get a group once tasks with a limit have come; before that nothing is made, written or looked at."""
    with open_yard(1, settings("auto")) as yard:
        yard.run(echo, [1])
        assert ours(yard) == []
    with open_yard(1, settings("auto")) as yard:
        yard.run(echo, [1], memory_limit_mb=LIMIT_MB)
        [group] = ours(yard)
        assert members(group) == list(yard.executor.pids())
    assert not group.exists()


@WITH_V1
@pytest.mark.slow
def test_what_is_kept_is_not_the_next_ones(open_yard: Any) -> None:
    """A limit is on what a task adds: what initializers and earlier tasks left in their worker is not its own."""
    model: list[bytes] = []
    with open_yard(1, settings("control-group")) as yard:
        outcomes = yard.run(
            lambda size: model.append(b"x" * (size * MB)),
            [40] * 5,
            initializer=lambda: model.append(b"x" * (200 * MB)),
            memory_limit_mb=LIMIT_MB,
        )
        assert all(outcome.ok for outcome in outcomes), outcomes
        [free] = yard.run(hold, [300])
        assert free.ok


@WITH_V1
@pytest.mark.slow
def test_pages_of_files_never_count(open_yard: Any, tmp_path: Path) -> None:
    """Writing and reading files of many times the limit costs a task nothing: the kernel takes their pages back."""
    path = str(tmp_path / "large")

    def through(_: int) -> int:
        with open(path, "wb") as file:
            for _chunk in range(300):
                file.write(b"x" * MB)
        with open(path, "rb") as file:
            return sum(len(chunk) for chunk in iter(lambda: file.read(MB), b""))

    with open_yard(1, settings("control-group")) as yard:
        outcomes = yard.run(through, [0, 1], memory_limit_mb=LIMIT_MB)
        assert [outcome.value for outcome in outcomes] == [300 * MB] * 2, outcomes[0].error


@WITH_V1
@pytest.mark.slow
def test_large_results_are_carried_within_a_limit(open_yard: Any) -> None:
    """A result that fits into the limit is carried back, though it is copied for that."""
    with open_yard(1, settings("control-group")) as yard:
        outcomes = yard.run(lambda size: b"x" * (size * MB), [50] * 4, memory_limit_mb=LIMIT_MB)
        assert [len(outcome.value or b"") for outcome in outcomes] == [50 * MB] * 4, outcomes[0].error


@WITH_V1
@pytest.mark.slow
def test_groups_are_gone_after_a_kill_of_the_zygote(open_yard: Any, eventually: Any) -> None:
    """What a zygote could not take away, since it was killed, goes at the stop or with the next one."""
    with open_yard(1, settings("control-group")) as yard:
        yard.run(echo, [1], memory_limit_mb=LIMIT_MB)
        old = ours(yard)
        assert old
        zygote = int(old[0].name.split("-")[1])
        os.kill(zygote, signal.SIGKILL)
        assert yard.run(echo, [2], memory_limit_mb=LIMIT_MB)[0].value == 2
    assert eventually(lambda: not list(base().glob(f"longshore-{zygote}-*")), 5.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["zygote", "interpreter"])
def test_addresses_are_limited_where_that_is_asked_for(open_yard: Any, method: Any) -> None:
    """fault:M1 With RLIMIT_AS a task that asks for more fails with MemoryLimitExceeded, and its worker goes on."""
    with open_yard(1, settings("address-space", start_method=method)) as yard:
        outcomes = yard.run(hold, [1, 640, 1], memory_limit_mb=LIMIT_MB)
        error = outcomes[1].exception
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert type(error) is MemoryLimitExceeded
        assert error.facts["rung"] == "address-space"
        assert "refused it more addresses" in str(error)
        assert len({outcome.worker for outcome in outcomes}) == 1
        assert yard.run(hold, [640])[0].ok


@pytest.mark.parametrize("method", ["zygote", pytest.param("interpreter", marks=pytest.mark.slow)])
def test_the_kernel_takes_a_worker_before_the_controller(open_yard: Any, method: Any) -> None:
    """Where the machine runs out of memory, workers come 500 points before the program that started them."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    with open_yard(1, ProcessesSettings(start_method=method)) as yard:
        [outcome] = yard.run(lambda _: int(Path("/proc/self/oom_score_adj").read_text()), [0])
    assert outcome.value == min(1000, own + 500)
    assert int(Path("/proc/self/oom_score_adj").read_text()) == own
