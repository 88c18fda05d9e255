"""A task that takes too much memory costs exactly one task, and what a task took is told."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from longshore.errors import MemoryLimitExceeded
from longshore.task import Attempt, Task, TaskSpec, TaskState
from longshore_processes.backlog import Kinds, by_kind
from longshore_processes.memory import Gauge
from longshore_processes.outcomes import memory_exceeded
from longshore_processes.rungs import Rung
from longshore_processes.vigil import Vigil

MB = 1 << 20
LIMIT_MB = 64.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process uses")


def hold(taken_mb: int) -> int:
    """Fill so much memory and keep it."""
    if taken_mb:
        kept = b"x" * (taken_mb * MB)
        time.sleep(30.0)
        return len(kept)
    return 0


def start_and_hold(taken_mb: int) -> None:
    """Have a grandchild fill memory."""
    if taken_mb:
        code = f"x = b'x' * {taken_mb * MB}; import time; time.sleep(30)"
        subprocess.run(["sh", "-c", f'{sys.executable} -c "{code}"; true'], check=True)


def take_for_a_while(taken_mb: int) -> int:
    kept = b"x" * (taken_mb * MB)
    time.sleep(0.005)
    return len(kept)


@pytest.mark.parametrize("take", [hold, start_and_hold], ids=["itself", "in a grandchild"])
def test_it_is_killed_and_fails_with_its_limit(yard: Any, take: Callable[[int], Any]) -> None:
    """fault:M1 Over its limit a task fails with MemoryLimitExceeded, which names limit and peak; the others go on."""
    outcomes = yard.run(take, [0, 0, 300, 0, 0], memory_limit_mb=LIMIT_MB, timeout_s=20.0)
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True, True]
    error = outcomes[2].exception
    assert type(error) is MemoryLimitExceeded
    assert error.facts["limit_mb"] == LIMIT_MB
    assert outcomes[2].error.reason == "memory"
    assert outcomes[2].peak_memory_mb == error.facts["peak_memory_mb"] >= LIMIT_MB
    assert "may take 64" in str(error)
    # In a control group the kernel may have killed the grandchild alone: then its worker goes on.
    if "its worker process was killed" in str(error):
        yard.until(lambda: any(one.type == "worker_error" for one in yard.host.notices), what="notice of its end")
    notices = [notice.data["killed_for"] for notice in yard.host.notices if notice.type == "worker_error"]
    assert notices == (["memory"] if "its worker process was killed" in str(error) else [])
    assert all(outcome.ok for outcome in yard.run(take, [0] * 10))


@pytest.mark.slow
def test_who_tries_again_with_more_may_take_more(yard: Any) -> None:
    """The limit of an attempt of its own stands in place of its spec's, and is that of nobody beside it."""
    spec = TaskSpec(function=take_for_a_while, name="take", executor="processes", memory_limit_mb=LIMIT_MB)
    limits = [None, 400.0, None]
    sizes = [1, 200, 1]
    yard.submit_attempts(
        [
            Attempt(f"again-{n}", spec, (size,), number=2, queued_at=time.monotonic(), memory_limit_mb=limit)
            for n, (size, limit) in enumerate(zip(sizes, limits, strict=True))
        ]
    )
    assert [outcome.value for outcome in yard.wait(["again-0", "again-1", "again-2"])] == [size * MB for size in sizes]
    yard.submit_attempts([Attempt("again-3", spec, (0,), queued_at=time.monotonic(), memory_limit_mb=300.0)])
    assert yard.wait(["again-3"])[0].value == 0
    [outcome] = yard.run(hold, [300], memory_limit_mb=LIMIT_MB, timeout_s=20.0)
    assert outcome.exception.facts["limit_mb"] == LIMIT_MB


def test_kinds_are_told_apart_by_the_limits_of_attempts() -> None:
    """Neighbours with one spec and limits of their own come apart, each with the limit that its worker is told."""
    spec = TaskSpec(function=hold, name="hold", executor="processes", memory_limit_mb=LIMIT_MB)
    limits = [None, None, 100.0, 100.0, 200.0, None]
    attempts = [Attempt(f"t{n}", spec, (0,), memory_limit_mb=limit) for n, limit in enumerate(limits)]
    groups = list(by_kind(attempts))
    assert [(raised, len(group)) for _, raised, group in groups] == [(None, 2), (100.0, 2), (200.0, 1), (None, 1)]
    kinds = Kinds(Vigil(lambda attempt: None))
    found = [kinds.of(each, raised)[0] for each, raised, _ in groups]
    assert [kind.memory_limit_mb for kind in found] == [LIMIT_MB, 100.0, 200.0, LIMIT_MB]
    assert found[0] is found[3]


@pytest.mark.slow
def test_plain_arguments_are_the_tasks(lone_yard: Any) -> None:
    """Numbers and texts that a task is given count as its own, in a batch with small ones too, and in its peak."""

    def length(given: Any) -> int:
        if given:
            time.sleep(0.3)
        return len(given)

    large = list(range(2_500_000))
    [alone] = lone_yard.run(length, [large], memory_limit_mb=LIMIT_MB)
    assert type(alone.exception) is MemoryLimitExceeded
    assert all(outcome.ok for outcome in lone_yard.run(length, [[]] * 200, memory_limit_mb=LIMIT_MB))
    outcomes = lone_yard.run(length, [[], [], large, [], []], memory_limit_mb=LIMIT_MB)
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True, True]
    [fits] = lone_yard.run(length, [large], memory_limit_mb=1000.0)
    assert fits.value == len(large)
    assert fits.peak_memory_mb > 60


@pytest.mark.slow
def test_what_an_initializer_keeps_is_not_the_tasks(lone_yard: Any) -> None:
    """A limit is on what a task adds to its worker: a model loaded before does not count."""
    model: list[bytes] = []

    def load() -> None:
        model.append(b"x" * (200 * MB))

    [outcome] = lone_yard.run(time.sleep, [0.2], initializer=load, memory_limit_mb=LIMIT_MB)
    assert outcome.state is TaskState.COMPLETED


@pytest.mark.slow
def test_pages_of_files_are_not_the_tasks(lone_yard: Any, tmp_path: Path) -> None:
    """Reading a large file through a mapping is no memory of the task's own: the system takes it back when it wants."""
    path = tmp_path / "large"
    path.write_bytes(bytes(150 * MB))

    def read(name: str) -> int:
        with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            total = sum(view[at] for at in range(0, len(view), 4096))
            time.sleep(0.2)
            return total

    [outcome] = lone_yard.run(read, [str(path)], memory_limit_mb=LIMIT_MB)
    assert outcome.state is TaskState.COMPLETED


@pytest.mark.slow
def test_what_forked_children_share_counts_once(lone_yard: Any) -> None:
    """fault:M1 Children of a fork, which share all they have with their parent, bring nobody above a limit."""

    def share(_: int) -> str:
        kept = b"x" * (40 * MB)
        children = []
        for _child in range(4):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            children.append(pid)
        time.sleep(0.3)
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        return kept[:1].decode()

    [outcome] = lone_yard.run(share, [0], memory_limit_mb=LIMIT_MB)
    assert outcome.value == "x", outcome.error


def test_peak_of_a_task(lone_yard: Any) -> None:
    """An outcome tells by how much its worker grew while the task ran, not what earlier tasks had taken."""
    large, small = lone_yard.run(take_for_a_while, [80, 1])
    assert 80 <= large.peak_memory_mb < 130
    assert small.peak_memory_mb < 40
    assert large.cpu_s > 0.0
    assert small.peak_memory_mb == round(small.peak_memory_mb, 3)
    [failing] = lone_yard.run(lambda x: (take_for_a_while(x), 1 / 0), [50])
    assert failing.state is TaskState.FAILED
    assert failing.peak_memory_mb >= 50


@pytest.mark.slow
def test_short_tasks_are_not_looked_at(lone_yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is never looked at for tasks that end within 50 ms: a limit costs them nothing."""
    looks: list[float] = []

    def look(self: Gauge, base_mb: float, enough_mb: float) -> float:
        looks.append(base_mb)
        return 0.0

    monkeypatch.setattr(Gauge, "grown_mb", look)
    lone_yard.run(time.sleep, [0.001] * 100, memory_limit_mb=LIMIT_MB)
    assert looks == []
    lone_yard.run(time.sleep, [0.3], memory_limit_mb=LIMIT_MB)
    assert looks
    assert all(base > 1.0 for base in looks)


@pytest.mark.parametrize(
    ("took_mb", "limit_mb", "words"),
    [
        (100.3, 100.0, "took 100.3 MB of memory and may take 100.0:"),
        (131.2, 100.0, "took 131 MB of memory and may take 100:"),
        (0.46, 0.25, "took 0.5 MB of memory and may take 0.2:"),
        (100.0003, 100.0, "took 100.000 MB of memory and may take 100.000:"),
    ],
)
def test_what_was_taken_and_the_limit_can_be_told_apart(took_mb: float, limit_mb: float, words: str) -> None:
    """A message gives both in as many digits as show which is more, where three are enough."""
    spec = TaskSpec(function=time.sleep, name="sleep", executor="processes", memory_limit_mb=limit_mb)
    handle: Any = SimpleNamespace(grown_mb=took_mb, worker_id="process-0", rung=Rung.POLLING)
    outcome = memory_exceeded(handle, Attempt.of(Task("t0", spec), 1, 0.0, None), 0.0)
    assert words in str(outcome.exception)
