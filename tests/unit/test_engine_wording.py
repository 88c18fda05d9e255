"""What is said of too little: each amount with its unit, in one wording for whoever tells it."""

from __future__ import annotations

import pytest
from longshore._engine.devices import Devices
from longshore._engine.dispatch import Dispatch
from longshore._engine.engine import Engine
from longshore._engine.ledger import Ledger
from longshore._engine.messages import ExecutorUp, Measured, Pause, Submit, Tell
from longshore._engine.wording import ahead, amount
from longshore.events import Happened
from longshore.records import Load
from longshore.task import Attempt, Priority, Resources, TaskSpec

LIMIT_MB = 2000.0


def work() -> None:
    """Stand for a user's function."""


def spec_of(**options: object) -> TaskSpec:
    return TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})  # type: ignore[arg-type]


def submit(engine: Engine, spec: TaskSpec, *task_ids: str) -> None:
    engine.handle([Submit(spec, [Attempt(task_id, spec, queued_at=0.0) for task_id in task_ids])], 0.0)


def memory(percent: float, warning: float = 70.0, limit: float = 80.0) -> Measured:
    mb = LIMIT_MB / 100.0
    return Measured({"memory": Load(percent, limit, warning, 0.0, "%", limit * mb, mb, limit * mb)}, 60.0)


def warnings(commands: list[object]) -> list[dict[str, object]]:
    told = [command.batch for command in commands if isinstance(command, Tell)]
    return [dict(batch.data) for batch in told if isinstance(batch, Happened) and batch.type == "resource_warning"]


@pytest.mark.parametrize(
    ("resource", "value", "said"),
    [
        ("memory", 900.0, "900 MB"),
        ("memory", 1190.61, "1191 MB"),
        ("memory", 1.25, "1.25 MB"),
        ("gpu_memory", 7000.0, "7000 MB"),
        ("disk_io", 20.0, "20 MB/s"),
        ("network_io", 0.5, "0.5 MB/s"),
        ("cpu", 1.0, "1 core"),
        ("cpu", 2.5, "2.5 cores"),
        ("gpu", 1.0, "1 GPU"),
        ("gpu", 0.0, "0 GPUs"),
        ("licence", 2.0, "2"),
    ],
)
def test_an_amount_has_its_unit(resource: str, value: float, said: str) -> None:
    """Megabytes, megabytes a second, cores, GPUs; what users name has none."""
    assert amount(resource, value) == said


def test_the_number_ahead_is_told_in_words() -> None:
    """None, one, many."""
    assert [ahead(count) for count in (0, 1, 3)] == ["no tasks ahead", "1 task ahead", "3 tasks ahead"]


@pytest.mark.requirement("req:D09")
def test_each_resource_that_there_is_too_little_of_is_told_alike() -> None:
    """What is needed, what is free, and of how much or after what; also where more is taken than there is."""
    ledger = Ledger({"cpu": 4.0, "memory": LIMIT_MB, "disk_io": 100.0, "licence": 2.0}, Devices(1))
    ledger.lend("a", {"cpu": 3.0, "memory": 1500.0, "disk_io": 90.0, "licence": 2.0, "gpu": 1.0})
    wanted = [{"cpu": 2.0}, {"memory": 900.0}, {"disk_io": 20.0}, {"licence": 1.0}, {"gpu": 1.0}]
    assert [ledger.lacks(amounts) for amounts in wanted] == [
        "cpu: needs 2 cores, 1 core free of 4 cores",
        "memory: needs 900 MB, 500 MB free of 2000 MB",
        "disk_io: needs 20 MB/s, 10 MB/s free of 100 MB/s",
        "licence: needs 1, 0 free of 2",
        "gpu: needs 1 GPU, 0 of 1 free whole",
    ]
    ledger.measure({"memory": Load(90.0, 80.0, 70.0, 0.0, "%", LIMIT_MB, 20.0), "cpu": Load(0.5, 4.0, 3.0, 0.0)})
    assert ledger.lacks({"memory": 900.0}) == (
        "memory: needs 900 MB, 0 MB free after what running tasks may still take"
    )
    assert ledger.lacks({"cpu": 2.0}) == (
        "cpu: needs 2 cores, 0.5 cores free after what others use and running tasks have reserved"
    )


@pytest.mark.requirement("req:D09", "req:D10")
def test_what_waits_is_told_in_the_same_words_everywhere() -> None:
    """`explain`, the line on throttling and a refusal say the same of a task, and `explain` how many go before it."""
    engine = Engine()
    engine.handle([ExecutorUp("quay", 4), memory(20.0)], 0.0)
    big = Resources(memory_mb=900)
    submit(engine, spec_of(resources=big), "a", "b", "c", "d")
    said = "memory: needs 900 MB, 31.6 MB free after what running tasks may still take and a reserve of 268 MB"
    assert engine.lacks(big) == said
    assert engine.held_because() == f"waits for {said}"
    assert str(engine.why("b", 0.0)).endswith(f": waits for {said}; no tasks ahead")
    assert str(engine.why("d", 0.0)).endswith(f": waits for {said}; 2 tasks ahead")


@pytest.mark.requirement("req:D10")
def test_a_warning_says_in_words_what_crossed_and_that_it_is_over() -> None:
    """With value, level and unit, as the line on throttling says it."""
    engine = Engine()
    engine.handle([ExecutorUp("quay", 4), memory(20.0)], 0.0)
    submit(engine, spec_of(), *(f"t{n}" for n in range(9)))
    crossed = warnings(engine.handle([memory(75.0)], 1.0))
    assert [one["message"] for one in crossed] == ["memory 75 % is over the warning level of 70 %"]
    assert str(engine.held_because()).startswith("memory 75 % is over the warning level of 70 %: ")
    engine.handle([memory(40.0)], 2.0)
    assert str(engine.held_because()).startswith("memory 40 % was until just now over the warning level of 70 %: ")
    [cleared] = warnings(engine.handle([memory(40.0)], 4.0))
    assert cleared["message"] == "memory 40 % is no longer over the warning level of 70 %"


def test_what_is_parked_and_what_is_paused_say_so() -> None:
    """LOW waits while memory is short and more urgent work does; a pipeline's task while its run is paused."""
    engine = Engine()
    engine.handle([ExecutorUp("quay", 2)], 0.0)
    submit(engine, spec_of(), *(f"t{n}" for n in range(4)))
    submit(engine, spec_of(priority=Priority.LOW), "low")
    submit(engine, spec_of(group="run-1"), "staged")
    engine.handle([memory(75.0), Pause("run-1")], 0.5)
    assert ": memory 75 % is over the warning level of 70 %: " in str(engine.why("low", 0.5))
    assert ": paused: the run of a pipeline; " in str(engine.why("staged", 0.5))


def test_a_kind_of_which_little_is_known_says_so() -> None:
    """Also where a worker is free and its memory would be there."""
    dispatch = Dispatch(10, {})
    dispatch.up("quay", 4, False)
    spec = spec_of(concurrent_limit=4)
    dispatch.queue(spec, [Attempt(f"t{n}", spec, queued_at=0.0) for n in range(3)])
    [lane] = dispatch.places["quay"].lanes
    lane.most = 1
    assert len([one for _, attempts in dispatch.start(0.0) for one in attempts]) == 1
    waiting = next(dispatch.waiting())
    assert dispatch.obstacle(waiting, 0.0) == dispatch.held
    assert dispatch.held == "at most 1 of a kind at once until more is known of the memory it takes"
