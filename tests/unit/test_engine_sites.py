"""Executors on other machines: their tasks are held against those, and nothing that is short here holds them back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Command,
    ExecutorUp,
    Measured,
    Refuse,
    Reported,
    Settle,
    Start,
    Submit,
    Tell,
)
from longshore._loads import cluster_loads_of, strained
from longshore.errors import ResourceUnavailable
from longshore.events import Happened
from longshore.records import Bound, Load, Usage
from longshore.task import Attempt, Outcome, Priority, Resources, TaskSpec, TaskState

HERE_MB = 1000.0


def work() -> None:
    """Stand for a user's function."""


def spec_of(executor: str = "afar", **options: object) -> TaskSpec:
    return TaskSpec(**{"function": work, "name": "work", "executor": executor, **options})  # type: ignore[arg-type]


def cluster(*workers: tuple[float, float, float]) -> Measured:
    """What was measured of a cluster: of each worker its threads, MB of memory, and MB used."""
    cores = Usage.across([Bound(f"w{n}", 0.0, threads) for n, (threads, _, _) in enumerate(workers)])
    memory = Usage.across([Bound(f"w{n}", used, there) for n, (_, there, used) in enumerate(workers)])
    return Measured(cluster_loads_of({"cpu": cores, "memory": memory} if workers else {}), 60.0, site="afar")


def here(percent: float) -> Measured:
    mb = HERE_MB / 100.0
    return Measured({"memory": Load(percent, 80.0, 70.0, 0.0, "%", 80.0 * mb, mb)}, 60.0)


class Rig:
    """An engine with an executor here, and one whose workers are on a cluster."""

    def __init__(self, *, most: int = 50, slots: int = 8, **capacity: float) -> None:
        whole = {"memory": HERE_MB, "cpu": 2.0, "gpu": 0.0, **capacity}
        self.engine = Engine(EngineConfig(max_concurrent_tasks=most, capacity=whole))
        self.engine.locate("afar")
        self.now = 0.0
        self.out: list[Command] = []
        self.tell(ExecutorUp("afar", slots), ExecutorUp("quay", slots))

    def tell(self, *stimuli: object) -> list[Command]:
        self.out = self.engine.handle(stimuli, self.now)  # type: ignore[arg-type]
        return self.out

    def submit(self, spec: TaskSpec, *task_ids: str) -> list[str]:
        self.tell(Submit(spec, [Attempt(task_id, spec, queued_at=self.now) for task_id in task_ids]))
        return self.started()

    def end(self, executor: str, *task_ids: str) -> list[str]:
        ends = [
            Outcome(task_id=one, key=None, index=0, name="work", state=TaskState.COMPLETED, attempts=1)
            for one in task_ids
        ]
        self.tell(Reported(executor, ends))
        return self.started()

    def started(self) -> list[str]:
        return [one.task_id for command in self.out if isinstance(command, Start) for one in command.attempts]

    def warnings(self) -> list[object]:
        told: Sequence[object] = [command.batch for command in self.out if isinstance(command, Tell)]
        return [(one.data["resource"], one.data["state"]) for one in told if isinstance(one, Happened)]


def test_tasks_of_a_cluster_have_what_the_cluster_has() -> None:
    """More cores and memory than this machine has are lent there, as much as there is and no more; these stay here."""
    rig = Rig()
    rig.tell(cluster((4, 8000, 0), (4, 8000, 0)))
    big = spec_of(resources=Resources(cpu=3, memory_mb=3000))
    assert rig.submit(big, "a", "b", "c") == ["a", "b"]
    assert rig.engine.lent() == {"afar.cpu": 6.0, "afar.memory": 6000.0}
    assert rig.engine.lent_to("a") == {"cpu": 3, "memory": 3000}
    why = str(rig.engine.why("c", 0.0))
    assert "waits for cpu of the cluster of afar: needs 3 cores, 2 cores free of 8 cores" in why
    assert rig.submit(spec_of("quay", resources=Resources(cpu=2)), "here") == ["here"]
    assert rig.end("afar", "a") == ["c"]
    assert rig.end("afar", "b", "c") == []
    assert rig.engine.lent() == {"cpu": 2.0}


def test_what_no_worker_has_is_refused() -> None:
    """Memory for the whole cluster together is none for one task: it runs on one worker, and the largest is named."""
    rig = Rig()
    rig.tell(cluster((4, 8000, 0), (4, 2000, 0)))
    spec = spec_of(resources=Resources(memory_mb=9000))
    said = "memory: needs 9000 MB, 8000 MB are all that the largest worker of the cluster of afar has"
    assert rig.engine.never_fits(spec.resources, "afar") == said
    assert rig.engine.never_fits(Resources(memory_mb=8000), "afar") is None
    short = rig.engine.shortage(spec.resources, "afar")
    assert short is not None
    assert (short.needed, short.limit) == (9000, 8000)
    rig.submit(spec, "a")
    assert [command.message for command in rig.out if isinstance(command, Refuse)] == [said]
    assert rig.engine.never_fits(Resources(gpu=1), "afar") is None, "its executor knows of its GPUs"


def test_what_was_submitted_before_anything_was_known_is_judged_when_it_is() -> None:
    """It fails with the reason as soon as the cluster was measured; what fits goes its way."""
    rig = Rig(slots=0)
    rig.submit(spec_of(resources=Resources(memory_mb=9000)), "never")
    rig.submit(spec_of(resources=Resources(memory_mb=1000)), "fits")
    rig.tell(cluster((4, 8000, 0)))
    (ended,) = [outcome for command in rig.out if isinstance(command, Settle) for outcome in command.outcomes]
    assert (ended.task_id, ended.state) == ("never", TaskState.FAILED)
    assert isinstance(ended.exception, ResourceUnavailable)
    assert "8000 MB are all that the largest worker of the cluster of afar has" in str(ended.exception)
    rig.tell(ExecutorUp("afar", 4))
    assert rig.started() == ["fits"]


def test_a_cluster_without_workers_refuses_nobody() -> None:
    """Where nothing is measured any more, nothing has a bound; what waits then is judged when workers are back."""
    rig = Rig()
    rig.tell(cluster((1, 500, 0)))
    assert rig.engine.never_fits(Resources(memory_mb=900), "afar") is not None
    rig.tell(cluster(), ExecutorUp("afar", 0))
    assert rig.engine.never_fits(Resources(memory_mb=900), "afar") is None
    assert rig.submit(spec_of(resources=Resources(memory_mb=900)), "a") == []
    rig.tell(cluster((1, 1000, 0)), ExecutorUp("afar", 1))
    assert rig.started() == ["a"]


def test_what_is_short_here_holds_back_what_runs_here() -> None:
    """Over the limit of this machine nothing starts here, and everything on the cluster; nothing is parked there."""
    rig = Rig()
    rig.tell(here(90.0), cluster((8, 8000, 100)))
    assert rig.submit(spec_of("quay"), "here") == []
    assert rig.submit(spec_of(priority=Priority.LOW), "low") == ["low"]
    assert rig.submit(spec_of(resources=Resources(memory_mb=5000)), "big") == ["big"]
    assert "memory 90 % is over the limit" in str(rig.engine.why("here", 0.0))
    assert "memory 90 %" in str(rig.engine.held_because())
    assert rig.engine.refuses(Resources(), "quay") is not None
    assert rig.engine.refuses(Resources(), "afar") is None


def test_a_cluster_whose_memory_runs_short_is_given_less() -> None:
    """Over its warning level less starts there, over its limit one at a time; it ends after a calm, and not at once."""
    rig = Rig()
    rig.tell(cluster((8, 1000, 700)))
    assert rig.submit(spec_of(), *"abcdefgh") == list("abcdefgh")
    rig.submit(spec_of(), "more")
    rig.tell(cluster((8, 1000, 890)))
    assert rig.warnings() == [("afar.memory", "crossed")]
    assert rig.end("afar", "a", "b") == []
    assert "afar.memory 89 % is over the warning level of 80 %" in str(rig.engine.why("more", 0.0))
    assert rig.submit(spec_of("quay"), "here") == ["here"]
    rig.now = 1.0
    rig.tell(cluster((8, 1000, 950)))
    assert ("afar.memory", "crossed") in rig.warnings()
    assert rig.end("afar", *"cdefgh") == ["more"], "nothing else runs there"
    assert rig.submit(spec_of(), "next") == []
    rig.now = 2.0
    rig.tell(cluster((8, 1000, 100)))
    assert rig.warnings() == []
    rig.now = 3.5
    rig.tell(cluster((8, 1000, 100)))
    assert rig.warnings() == [("afar.memory", "cleared"), ("afar.memory", "cleared")]
    assert rig.started() == ["next"]
    assert set(rig.engine.throttled_s()) == {"afar.memory"}


def test_memory_that_an_ended_task_gives_back_is_there_at_once() -> None:
    """What is used beyond what is reserved counts beside what is reserved now, without waiting for a reading."""
    rig = Rig()
    rig.tell(cluster((8, 4000, 300)))
    task = spec_of(resources=Resources(memory_mb=1500))
    assert rig.submit(task, "a", "b", "c") == ["a", "b"]
    rig.tell(cluster((8, 4000, 3300)))
    assert rig.started() == []
    assert rig.engine.taken()["afar.memory"][1] == pytest.approx(3300.0)
    assert rig.end("afar", "a") == ["c"]
    rig.tell(cluster((8, 4000, 3800)))
    assert rig.engine.taken()["afar.memory"][1] == pytest.approx(3800.0), "they use 500 MB more than they reserved"


def test_readings_of_a_cluster_count_for_a_while() -> None:
    """Without a newer one nothing there has a bound; readings of this machine have a time of their own."""
    rig = Rig()
    rig.tell(here(90.0))
    rig.now = 50.0
    rig.tell(cluster((1, 500, 490)))
    assert rig.engine.next_due() == 60.0
    rig.now = 61.0
    rig.tell()
    assert rig.warnings() == [("memory", "cleared"), ("memory", "cleared")]
    assert rig.submit(spec_of("quay"), "here") == ["here"]
    assert rig.engine.never_fits(Resources(memory_mb=900), "afar") is not None
    rig.now = 111.0
    rig.tell()
    assert rig.engine.never_fits(Resources(memory_mb=900), "afar") is None


def test_pools_of_one_s_own_are_shared_by_all_machines() -> None:
    """Two licences are held by at most two tasks, wherever they run."""
    rig = Rig(licence=2.0)
    rig.tell(cluster((8, 8000, 0)))
    held = Resources(custom={"licence": 1}, cpu=1)
    assert rig.submit(spec_of(resources=held), "a") == ["a"]
    assert rig.submit(spec_of("quay", resources=held), "b") == ["b"]
    assert rig.submit(spec_of(resources=held), "c") == []
    assert "licence: needs 1, 0 free of 2" in str(rig.engine.why("c", 0.0))
    assert rig.engine.never_fits(Resources(custom={"licence": 3}), "afar") == "licence: needs 3, 2 are all there is"
    assert rig.end("quay", "b") == ["c"]
    assert rig.engine.lent() == {"licence": 2.0, "afar.cpu": 2.0}


def test_all_machines_together_run_no_more_than_is_allowed() -> None:
    """`max_concurrent_tasks` is over all of them: what one does not use, another may."""
    rig = Rig(most=6)
    assert rig.submit(spec_of("quay"), *"abcd") == list("abcd")
    assert rig.submit(spec_of(), *"efgh") == ["e", "f"]
    assert rig.engine.concurrency == 6
    assert rig.end("quay", "a") == ["g"]
    assert "as many as max_concurrent_tasks allows" in str(rig.engine.why("h", 0.0))


def test_nobody_is_alerted_of_busy_cores_of_a_cluster() -> None:
    """They are there to be used; memory that runs short is told of."""
    loads = {f"afar.{name}": load for name, load in cluster((1, 1000, 990)).loads.items()}
    assert strained(loads, gpu_lent=False) == {"afar.memory": pytest.approx(99.0)}
