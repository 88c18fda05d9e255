"""Getting a worker ready has a time limit of its own, kept by the supervisor whatever the task's is."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import TaskTimeout, WorkerDied, WorkerNotReady
from longshore.task import TaskState
from longshore.worker import current_task, preparing
from longshore_processes.executor import ProcessesSettings

SHORT = ProcessesSettings(initializer_timeout_s=0.3)


def same(x: int) -> int:
    return x


def hang() -> None:
    time.sleep(1000)


def hang_in_c() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def log_and_hang_but_once(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(path).read_text().split()) > 1:
        time.sleep(1000)


def log_and_hang(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(1000)


def fail_then_hang(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    if len(Path(path).read_text()) > 1:
        time.sleep(1000)
    raise OSError("not yet")


def prepare_in_the_midst(x: float) -> float:
    with preparing():
        time.sleep(x)
    return x


@pytest.mark.slow
@pytest.mark.parametrize(
    ("initializer", "timeout_s"),
    [
        (hang_in_c, None),
        pytest.param(hang, None, marks=pytest.mark.slow),
        pytest.param(hang, 0.1, marks=pytest.mark.slow),
        pytest.param(hang_in_c, 0.1, marks=pytest.mark.slow),
    ],
)
def test_one_that_hangs_fails_its_tasks(open_yard: Any, initializer: Any, timeout_s: float | None) -> None:
    """fault:K9 Tasks whose initializer hangs end in about its limit, also without a limit of their own; others run."""
    with open_yard(2, SHORT) as yard:
        begun = time.monotonic()
        bad = yard.submit(same, list(range(40)), initializer=initializer, timeout_s=timeout_s)
        good = yard.submit(same, list(range(40)))
        outcomes = yard.wait(bad, 5.0)
        assert time.monotonic() - begun < 4.0
        assert {outcome.state for outcome in outcomes} == {TaskState.TIMED_OUT}
        assert {outcome.error.reason for outcome in outcomes} == {"initializer"}
        with pytest.raises(TaskTimeout, match="initializer_timeout_s"):
            outcomes[-1].unwrap()
        assert all(outcome.ok for outcome in yard.wait(good))
        assert {notice.data["killed_for"] for notice in yard.host.notices} == {"initializer"}


@pytest.mark.slow
def test_it_is_not_tried_for_ever(open_yard: Any, tmp_path: Path) -> None:
    """fault:K9 A hanging initializer costs as many workers as there are at once, not one for each task."""
    path = tmp_path / "tries"
    with open_yard(2, SHORT) as yard:
        yard.run(same, list(range(100)), initializer=partial(log_and_hang, str(path)))
        assert len(path.read_text().split()) <= 4


@pytest.mark.slow
def test_where_it_worked_before_one_task_pays(open_yard: Any, tmp_path: Path) -> None:
    """Once a worker has got ready, another that hangs in it fails one task only."""
    path = tmp_path / "tries"
    initializer = partial(log_and_hang_but_once, str(path))
    with open_yard(1, SHORT) as yard:
        assert yard.run(same, [0], initializer=initializer)[0].ok
        os.kill(yard.executor.pids()[0], 9)
        outcomes = yard.run(same, [1, 2], initializer=initializer)
        assert {outcome.error.reason for outcome in outcomes if not outcome.ok} == {"initializer"}


@pytest.mark.slow
def test_a_second_try_has_the_limit_too(open_yard: Any, tmp_path: Path) -> None:
    """fault:K9 Where an initializer raised and is tried again by the next task, the limit holds for that try."""
    with open_yard(1, SHORT) as yard:
        outcomes = yard.run(same, [0, 1], initializer=partial(fail_then_hang, str(tmp_path / "tries")))
        assert isinstance(outcomes[0].exception, OSError)
        assert outcomes[1].error.reason == "initializer"


@pytest.mark.slow
def test_it_is_for_what_is_prepared_later_too(open_yard: Any) -> None:
    """What a task does to get its worker ready is under that limit, and not under its own."""
    with open_yard(1, SHORT) as yard:
        fine, hung = yard.run(prepare_in_the_midst, [0.2, 100.0], timeout_s=0.1)
        assert fine.ok
        assert hung.error.reason == "initializer"


@pytest.mark.slow
def test_there_may_be_no_limit(open_yard: Any) -> None:
    """With None a worker may take as long as it wants."""
    with open_yard(1, ProcessesSettings(initializer_timeout_s=None)) as yard:
        assert yard.run(same, [3], initializer=partial(time.sleep, 0.3))[0].ok


@pytest.mark.slow
def test_what_comes_just_after_it_is_not_tried(open_yard: Any, tmp_path: Path, eventually: Any) -> None:
    """fault:K9 Where no worker got ready, tasks that come later end at once for a while; then it is tried again."""
    path = tmp_path / "tries"
    initializer = partial(log_and_hang, str(path))
    with open_yard(1, SHORT) as yard:
        outcomes = [yard.run(same, [x], initializer=initializer)[0] for x in range(10)]
        assert {outcome.error.reason for outcome in outcomes} == {"initializer"}
        tries = len(path.read_text().split())
        assert tries <= 3

        def tried_again() -> bool:
            yard.run(same, [0], initializer=initializer)
            return len(path.read_text().split()) > tries

        assert eventually(tried_again)


def time_left(_: int) -> tuple[float, float]:
    task = current_task()
    before = task.time_remaining()
    with preparing():
        time.sleep(0.3)
    after = task.time_remaining()
    assert before is not None
    assert after is not None
    return before, after


@pytest.mark.slow
def test_the_time_that_is_left_begins_after_that(open_yard: Any) -> None:
    """`time_remaining` leaves out what a task did to get its worker ready, as its limit does."""
    with open_yard(1) as yard:
        (outcome,) = yard.run(time_left, [0], timeout_s=0.5)
        before, after = outcome.value
        assert 0.2 < before <= 0.5
        assert 0.2 < after <= 0.5


def log_and_die(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    os._exit(7)


def log_and_die_at_first(path: str, times: int) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(path).read_text().split()) <= times:
        os.kill(os.getpid(), 9)


def other(x: int) -> int:
    return -x


class DiesWhereItIsRead:
    """A function that ends the process as it arrives there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, x: int) -> int:
        return x

    def __reduce__(self) -> Any:
        return log_and_die, (self._path,)


def test_an_initializer_that_ends_its_process_is_soon_not_tried(open_yard: Any, tmp_path: Path) -> None:
    """fault:K9 An initializer that ends its process costs few workers and tasks; the others fail at once, by one error.

    Also those of other functions with that initializer, and those that come just after; tasks without it run.
    """
    path = tmp_path / "tries"
    initializer = partial(log_and_die, str(path))
    with open_yard(1) as yard:
        outcomes = yard.run(same, list(range(50)), initializer=initializer)
        kinds = [type(outcome.exception) for outcome in outcomes]
        assert (kinds.count(WorkerDied), kinds.count(WorkerNotReady)) == (2, 48)
        unready = [outcome for outcome in outcomes if isinstance(outcome.exception, WorkerNotReady)]
        assert len({outcome.error.message.partition(")")[2] for outcome in unready}) == 1
        assert {(outcome.error.reason, outcome.error.exit_code) for outcome in unready} == {("initializer", 7)}
        later = yard.run(other, [1, 2], initializer=initializer)
        assert {type(outcome.exception) for outcome in later} == {WorkerNotReady}
        assert yard.run(other, [3])[0].value == -3
        assert len(path.read_text().split()) <= 5  # another may be asked for before it is known how the third ended


def test_several_workers_may_die_at_once_in_it(open_yard: Any, tmp_path: Path) -> None:
    """fault:K9 With more workers few more are lost, and every task ends once."""
    path = tmp_path / "tries"
    with open_yard(3) as yard:
        outcomes = yard.run(same, list(range(60)), initializer=partial(log_and_die, str(path)))
        assert {type(outcome.exception) for outcome in outcomes} == {WorkerDied, WorkerNotReady}
        assert len(path.read_text().split()) <= 9


def die_while(flag: str) -> None:
    """End the process where there is such a file."""
    if os.path.exists(flag):
        os._exit(3)


def test_some_deaths_are_forgiven(open_yard: Any, tmp_path: Path) -> None:
    """A worker that dies once or twice while it gets ready, as where memory is short, costs its task only."""
    path = tmp_path / "tries"
    with open_yard(1) as yard:
        outcomes = yard.run(same, list(range(10)), initializer=partial(log_and_die_at_first, str(path), 2))
        assert [outcome.ok for outcome in outcomes] == [False] * 2 + [True] * 8
        assert len(path.read_text().split()) == 3


def test_what_ends_the_process_as_it_is_imported_is_soon_not_tried(open_yard: Any, tmp_path: Path) -> None:
    """fault:K9 The same holds for a function that ends the process where it is read; others of its initializer run."""
    path = tmp_path / "tries"
    ready = partial(os.getpid)
    with open_yard(1) as yard:
        outcomes = yard.run(DiesWhereItIsRead(str(path)), list(range(20)), initializer=ready)
        assert {outcome.error.reason for outcome in outcomes[5:]} == {"import"}
        assert len(path.read_text().split()) <= 5
        assert yard.run(same, [1], initializer=ready)[0].ok


@pytest.mark.slow
def test_it_is_tried_again_after_a_while(open_yard: Any, tmp_path: Path, monkeypatch: Any, eventually: Any) -> None:
    """fault:K9 Tasks that come a while later have a worker tried again, and run where it gets ready then."""
    monkeypatch.setattr("longshore_processes.foreman._HOPELESS_S", 0.5)
    flag = tmp_path / "deadly"
    flag.touch()
    initializer = partial(die_while, str(flag))
    with open_yard(1) as yard:
        assert not any(outcome.ok for outcome in yard.run(same, list(range(9)), initializer=initializer))
        flag.unlink()
        assert eventually(lambda: yard.run(same, [5], initializer=initializer)[0].ok)
