"""The parts that need no cluster: shapes of workers, what is read out of what Ray says, settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from longshore.batching.crew import NOTHING, Cause, Wants
from longshore.batching.kinds import Kind
from longshore.batching.survey import ClusterProbe
from longshore.batching.words import Hello
from longshore.records import ReadRequest
from longshore.task import Resources, TaskSpec
from longshore_ray import RayExecutor
from longshore_ray.crew import RayCrew, Shaped, actor_options
from longshore_ray.survey import Machine, this_machine, use_of
from longshore_ray.words import (
    RAY,
    how_it_ended,
    is_unauthenticated,
    lack_by_error,
    lack_by_versions,
    versions,
    wants_token,
)


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(function=len, name="len", executor="ray", **options)


def test_ray_shapes() -> None:
    """What a task asks of Ray makes a shape; one core is what any worker has; what Ray does not know is the pool's."""
    crew = RayCrew()
    crew.nodes = [{"CPU": 4.0, "GPU": 2.0, "licence": 3.0, "memory": 8e9}, {"CPU": 2.0}]
    assert crew.wants(spec()) == crew.wants(spec(resources=Resources(cpu=1))) == NOTHING
    assert crew.wants(spec(resources=Resources(cpu=2, custom={"ours": 1}))) == Wants({"CPU": 2})
    either = Resources(gpu=8) | Resources(cpu=4) | Resources(cpu=1)
    assert crew.wants(spec(resources=either)) == Wants({"CPU": 4}), "the first that there is"
    full = crew.wants(spec(resources=Resources(gpu=1, memory_mb=500, custom={"licence": 2})))
    wants = full.needs
    assert wants == {"GPU": 1, "memory": 5e8, "licence": 2}
    assert actor_options(wants, 1.0) == {"num_cpus": 0.0, "num_gpus": 1, "resources": {"licence": 2}, "memory": 5e8}
    assert actor_options({}, 1.0) == {"num_cpus": 1.0, "num_gpus": 0.0, "resources": {}}
    assert crew.most({"CPU": 2}) == 3
    assert crew.most({"CPU": 2, "GPU": 1}) == 2
    assert crew.lacks(full) is None


def test_ray_says_what_no_machine_has() -> None:
    """What is lacking is told in the units of `Resources`, with the options of `ray start` that would give it."""
    crew = RayCrew()
    crew.nodes = [{"CPU": 4.0, "GPU": 2.0, "licence": 3.0, "memory": 8e9}]
    said = str(crew.lacks(crew.wants(spec(resources=Resources(memory_mb=500_000)))))
    assert said == (
        "no machine of the Ray cluster has 500000 MB of memory: start one that has, such as by "
        "`ray start --memory=500000000000`"
    )
    said = str(crew.lacks(crew.wants(spec(resources=Resources(cpu=64, gpu=4, custom={"licence": 4})))))
    assert "has CPU=64 and GPU=4 and licence=4: start" in said
    assert """`ray start --num-cpus=64 --num-gpus=4 --resources='{"licence": 4}'`""" in said


def test_ray_gives_a_shape_to_its_own() -> None:
    """A task goes to a worker of its very shape, and one that has none wishes for it."""
    crew, kind = RayCrew(), Kind(1, spec(), 0, RAY)
    wished: list[Any] = []
    crew.wish = wished.append
    plain = Shaped("0", Hello("0", "here", 1, 1, None, {}), RAY)
    gpu = Shaped("1", Hello("1", "here", 1, 2, None, {"GPU": 1.0}), RAY)
    crew.stations = {"0": plain, "1": gpu}
    assert crew.freest(kind, Wants({"GPU": 1.0})) is gpu
    assert crew.freest(kind, NOTHING) is plain
    assert crew.freest(kind, Wants({"CPU": 3.0})) is None
    assert wished == [{"CPU": 3.0}]


def test_ray_reads_what_a_cluster_has() -> None:
    """Cores and memory are added up over machines, each of which bounds what one task can have."""
    told = {"n1": Machine(1.5, 4.0, 2000.0, 8000.0), "n2": Machine(0.5, 2.0, 500.0, 4000.0)}
    usage = ClusterProbe(lambda: told, use_of).read(ReadRequest()).usage
    assert (usage["cpu"].used, usage["cpu"].capacity) == (2.0, 6.0)
    assert (usage["memory"].used, usage["memory"].capacity) == (2500.0, 12_000.0)
    assert [(part.name, part.capacity) for part in usage["memory"].parts] == [("n1", 8000.0), ("n2", 4000.0)]
    assert use_of({}) == {}
    here = this_machine()
    assert 0.0 <= here.used_cores <= here.cores
    assert 0.0 < here.used_mb < here.memory_mb
    assert RayExecutor().cluster() is None, "its workers are on this machine"
    assert RayExecutor(RayExecutor.Settings(address="far.example:6379")).cluster() is not None


class OutOfMemoryError(Exception):
    """As Ray's is called."""


def test_ray_reads_how_a_worker_ended() -> None:
    """The memory monitor is told from any other end, and of the others what Ray knows."""
    assert how_it_ended(OutOfMemoryError("Task was killed")).memory
    died = "The actor died.\n\tpid: 3\nWorker exit type: SYSTEM_ERROR Worker exit detail: End of file. Some causes"
    assert how_it_ended(RuntimeError(died)) == ("End of file", False)
    assert how_it_ended(RuntimeError("one\nThe actor's node has died.")).why == "The actor's node has died."
    assert how_it_ended(RuntimeError()).why == ""


def test_ray_says_what_a_node_lacks() -> None:
    """Each thing that must be the same is looked at, and what is missing is named with what to install."""
    assert lack_by_versions(versions(), "n1") is None
    for name in ("longshore-core", "longshore-ray", "Python"):
        said = str(lack_by_versions({**versions(), name: "0.0"}, "n1"))
        assert f"the Ray node n1 has {name} 0.0, and here is" in said
    assert "run `pip install longshore-ray==" in lack_by_error(
        "x\nModuleNotFoundError: No module named 'longshore_ray'"
    )
    assert lack_by_error("a\nOSError: no") == "a Ray worker can't come up: OSError: no"


def test_ray_knows_what_a_batch_failed_for() -> None:
    """An OSError of a worker costs its batch, a connection's is the cluster's loss; an actor's death is told apart."""
    exceptions = pytest.importorskip("ray.exceptions", reason="Ray has no wheel for this Python")
    from longshore_ray.cluster import RayCluster

    cluster = RayCluster("run", "longshore")
    raised = exceptions.RayTaskError("run", "trace", OSError("no space left")).as_instanceof_cause()
    assert isinstance(raised, OSError)
    for error, cause in (
        (raised, Cause.BATCH),
        (ValueError("no"), Cause.BATCH),
        (exceptions.RayActorError(), Cause.WORKER),
        (exceptions.OutOfMemoryError("no"), Cause.WORKER),
        (ConnectionResetError("cut"), Cause.CLUSTER),
        (exceptions.LocalRayletDiedError(), Cause.CLUSTER),
    ):
        assert cluster.cause_of(error, None) is cause, error


def test_ray_settings() -> None:
    """An address is the head's or "auto"; the client server's is refused with the reason."""
    for address in ("auto", "ray.example:6379", "10.0.0.1:6379", None):
        assert RayExecutor.Settings(address=address).address == address
    with pytest.raises(ValueError, match="does not tell how a worker ended"):
        RayExecutor.Settings(address="ray://ray.example:10001")
    with pytest.raises(ValueError, match=r"its head's HOST:PORT, such as 'ray.example:6379'"):
        RayExecutor.Settings(address="ray.example")
    executor = RayExecutor()
    assert (executor.workers(), executor.pids(), executor.complaints()) == ((), (), ())
    with pytest.raises(RuntimeError, match="not running"):
        executor.submit([])


def test_ray_names_the_token_that_is_asked_for() -> None:
    """That a cluster takes nobody without a token is told from one that is not there, wherever Ray says it."""
    assert is_unauthenticated(RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing"))
    refused = ConnectionError("Failed to connect to Ray cluster")
    refused.__cause__ = RuntimeError("Failed to connect to GCS. ray.exceptions.AuthenticationError: InvalidAuthToken")
    assert is_unauthenticated(refused)
    assert not is_unauthenticated(ConnectionError("Failed to connect to Ray cluster"))
    assert "set RAY_AUTH_MODE=token" in wants_token("ray.example:6379")


@pytest.mark.parametrize("local", [True, False])
def test_ray_local_cluster_runs_this_interpreter(local: bool) -> None:
    """A local one is on loopback, and none of its workers is started by `uv run`; another is as its owner has it."""
    from longshore_ray.connection import _on_loopback

    constants = SimpleNamespace(ENABLE_RAY_CLUSTER=True, RAY_ENABLE_UV_RUN_RUNTIME_ENV=True)
    with _on_loopback(SimpleNamespace(_private=SimpleNamespace(ray_constants=constants)), local):
        during = set(vars(constants).values())
    assert during == {not local}
    assert set(vars(constants).values()) == {True}
