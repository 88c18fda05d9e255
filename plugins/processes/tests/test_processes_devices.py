"""Tasks on GPUs: what CUDA is told, and that a worker keeps to the devices it has run on."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from longshore.task import Attempt, Outcome, Resources, TaskSpec
from longshore.worker import current_task

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


def said() -> str:
    return f"{os.environ.get(VISIBLE)} {os.environ.get(ORDER)}"


def note(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{said()} {current_task().gpus}\n")


def look(what: str) -> tuple[str, int]:
    if what == "meddle":
        os.environ[VISIBLE] = "9"
        del os.environ[ORDER]
    if what == "raise":
        raise ValueError(said())
    return said(), os.getpid()


def forks(_: str) -> tuple[str, int]:
    ends = os.pipe()
    if os.fork() == 0:
        os.write(ends[1], said().encode())
        os._exit(0)
    return os.read(ends[0], 100).decode(), os.getpid()


def on(spec: TaskSpec, task_id: str, what: str, *gpus: int) -> Attempt:
    return Attempt(task_id, spec, (what,), gpus=gpus)


def spec_of(function: Any = look, **options: Any) -> TaskSpec:
    return TaskSpec(function=function, name="look", executor="processes", **options)


GPU = Resources(gpu=1)


def run(yard: Any, *attempts: Attempt) -> list[Outcome]:
    yard.submit_attempts(list(attempts))
    outcomes: list[Outcome] = yard.wait([attempt.task_id for attempt in attempts])
    return outcomes


def test_cuda_is_told_before_the_initializer_and_no_more_after_the_task(lone_yard: Any, tmp_path: Path) -> None:
    """Initializer and function see the task's devices; a task that asks for none sees what the worker began with."""
    path = tmp_path / "seen"
    spec = spec_of(resources=GPU, initializer=partial(note, str(path)))
    [first] = run(lone_yard, on(spec, "a", "", 3, 5))
    assert first.unwrap()[0] == "3,5 PCI_BUS_ID"
    assert path.read_text() == "3,5 PCI_BUS_ID (3, 5)\n"
    [plain] = run(lone_yard, on(spec_of(), "b", ""))
    assert plain.unwrap() == (said(), first.unwrap()[1])


def test_what_a_task_does_to_the_variables_is_undone(lone_yard: Any) -> None:
    """Also where it raises, or sets them itself."""
    spec = spec_of(resources=GPU)
    meddled, raised = run(lone_yard, on(spec, "a", "meddle", 1), on(spec, "b", "raise", 1))
    assert meddled.unwrap()[0] == "9 None"
    assert raised.error is not None
    assert raised.error.message == "1 PCI_BUS_ID"
    [plain] = run(lone_yard, on(spec_of(), "c", ""))
    assert plain.unwrap() == (said(), meddled.unwrap()[1])


def test_what_a_task_starts_sees_its_devices(lone_yard: Any) -> None:
    """Processes that a task forks inherit the variables."""
    [forked] = run(lone_yard, on(spec_of(forks, resources=GPU), "a", "", 2))
    assert forked.unwrap()[0] == "2 PCI_BUS_ID"


def test_a_worker_keeps_to_its_devices(lone_yard: Any) -> None:
    """CUDA looks at the variables once: a task on other devices gets another worker, one on the same gets the same."""
    spec = spec_of(resources=GPU)
    outcomes = run(lone_yard, *(on(spec, f"{n}", "", gpu) for n, gpu in enumerate((0, 0, 1, 1, 0))))
    assert [outcome.unwrap()[0] for outcome in outcomes] == [f"{gpu} PCI_BUS_ID" for gpu in (0, 0, 1, 1, 0)]
    pids = [outcome.unwrap()[1] for outcome in outcomes]
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len({pids[0], pids[2], pids[4]}) == 3
    assert lone_yard.host.notices == []


def test_workers_are_chosen_by_the_devices_they_have_run_on(yard: Any) -> None:
    """With a worker for each device nobody is replaced, whichever device is free next."""
    spec = spec_of(resources=GPU)
    pids: dict[int, set[int]] = {0: set(), 1: set()}
    for turn, gpu in enumerate((0, 1, 1, 0, 1, 0, 0)):
        [outcome] = run(yard, on(spec, f"{turn}", "", gpu))
        pids[gpu].add(outcome.unwrap()[1])
    assert [len(of) for of in pids.values()] == [1, 1]
    assert pids[0] != pids[1]
