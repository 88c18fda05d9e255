"""The parts that need no cluster: how much makes a batch, what a worker writes down, who may take what."""

from __future__ import annotations

import os
import secrets
import threading
from typing import Any

import pytest
from longshore.batching import spool
from longshore.batching.codec import dump, dump_code, dump_exception, load, load_exception
from longshore.batching.crew import NOTHING, Held, Station, Wants
from longshore.batching.kinds import BATCH_ITEMS, Kind, Kinds
from longshore.batching.outcomes import outcome_of, split_at_death
from longshore.batching.survey import ClusterProbe
from longshore.batching.words import DONE, Hello, Record
from longshore.errors import PayloadError
from longshore.records import ReadRequest
from longshore.task import Attempt, Resources, TaskSpec
from longshore_dask import DaskExecutor
from longshore_dask.crew import DASK, DaskCrew
from longshore_dask.survey import use_of


def square(number: int) -> int:
    return number * number


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(function=square, name="square", executor="dask", **options)


def attempts(count: int) -> list[Attempt]:
    one = spec()
    return [Attempt(f"t-{index}", one, (index,), None, index) for index in range(count)]


def test_dask_batch_sizes() -> None:
    """One at first; then as many as make 12 to 50 ms of work, a fair share between; long ones alone; few large ones."""
    kind = Kind(1, spec(), 0, DASK)
    assert kind.batch_size(1000) == 1
    for _ in range(6):
        kind.learn(1e-6)
    assert kind.batch_size(1000) == BATCH_ITEMS
    kind = Kind(2, spec(), 0, DASK)
    for _ in range(6):
        kind.learn(0.001)
    assert (kind.batch_size(1), kind.batch_size(30), kind.batch_size(1000)) == (12, 30, 50)
    assert kind.runs_ahead()
    kind.item_bytes = 200_000.0
    assert kind.batch_size(1000) == 5
    kind.learn(2.0)
    assert kind.batch_size(1000) == 1
    assert not kind.runs_ahead()


def test_dask_kinds_are_told_apart() -> None:
    """Tasks of the same function, name and limits are of one kind; an initializer has one number for all kinds."""
    kinds = Kinds(DASK)
    one, other = spec(), spec()
    assert kinds.of(one) is kinds.of(other)
    assert kinds.of(spec(timeout_s=1.0)) is not kinds.of(one)
    first, second = kinds.of(spec(initializer=os.getpid)), kinds.of(spec(initializer=os.getpid, timeout_s=2.0))
    assert first.initializer == second.initializer > 0


def test_dask_spool(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker wrote down tells which attempts had ended, and a batch that had not begun from one that had."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = secrets.token_hex(8)
    mine = spool.Spool(run, "home")
    assert mine.open()
    assert (tmp_path / f"longshore-{run}").stat().st_mode & 0o777 == 0o700
    fd = mine.begin(3)
    assert fd is not None
    records = [Record(DONE, 0.1 * index, 0.1, None, dump(index)) for index in range(3)]
    assert all(spool.write(fd, record) for record in records)
    os.write(fd, b"\x99" * 5)  # it died in the middle of one
    os.close(fd)
    assert spool.read(run, "home", [3, 4]) == {3: records, 4: None}
    assert spool.read(run, "somebody", [3]) is None
    assert not spool.write(-1, records[0])
    assert not spool.write(-1, records[0]._replace(data=bytes(spool.LARGE + 1)))
    mine.forget([3])
    assert spool.read(run, "home", [3]) == {3: None}
    mine.renounce()
    assert spool.read(run, "home", [3]) is None
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_dask_what_a_death_costs() -> None:
    """Those that had ended keep what they gave, the next one is to blame, the others have not begun."""
    five = attempts(5)
    records = [Record(DONE, 0.0, 0.1, None, dump(7))] * 2
    done, ran, rest = split_at_death(five, records)
    assert [attempt for attempt, _ in done] == five[:2]
    assert [record for _, record in done] == records
    assert (ran, rest) == (five[2], five[3:])
    assert split_at_death(five[:2], records)[1:] == (None, [])
    outcome = outcome_of(five[0], records[0], 10.0, "dask-0", DASK)
    assert (outcome.value, outcome.worker) == (7, "dask-0")
    assert outcome.ran_s == pytest.approx(0.1)


def test_dask_who_may_take_what() -> None:
    """The worker with the least to do gets the next batch, two for a thread of short tasks; resources are required."""
    crew, kind = DaskCrew(), Kind(1, spec(), 0, DASK)
    kind.learn(0.001)
    plain = Station("tcp://a", Hello("a", "here", 1, 1, None, {}), DASK)
    gpu = Station("tcp://b", Hello("b", "here", 1, 2, None, {"GPU": 1.0, "licence": 2.0}), DASK)
    crew.stations = {station.address: station for station in (plain, gpu)}
    assert crew.slots() == 2
    wants = crew.wants(spec(resources=Resources(gpu=1, cpu=2, custom={"licence": 2, "ours": 1})))
    assert wants == Wants({"GPU": 1, "licence": 2}), "cores of this machine are the pool's to count"
    assert crew.freest(kind, wants) is gpu
    assert crew.lacks(wants) is None
    assert "GPU=4" in str(crew.lacks(Wants({"GPU": 4.0})))
    for number in range(2):
        gpu.batches[number] = Held(number, gpu, kind, attempts(1), 0.0)
    assert crew.freest(kind, wants) is None
    assert crew.freest(kind, NOTHING) is plain
    assert gpu.stats().current_task == "t-0"
    crew.limit = 2
    assert crew.freest(kind, NOTHING) is plain, "as many as there are threads are no limit"
    crew.limit = 1
    assert crew.freest(kind, NOTHING) is None
    crew.limit = None
    long = Kind(2, spec(), 0, DASK)
    plain.batches[9] = Held(9, plain, long, attempts(1), 0.0)
    assert crew.freest(kind, NOTHING) is None, "nothing short waits behind what may be long"


def test_dask_what_a_worker_of_a_cluster_has() -> None:
    """What a task reserves of cores and memory is on one worker, beside what others have; who is paused gets none."""
    crew, kind = DaskCrew(is_local=False), Kind(1, spec(), 0, DASK)
    kind.learn(0.001)
    large = Station("tcp://a", Hello("a", "here", 4, 1, None, {}, 8000.0), DASK)
    small = Station("tcp://b", Hello("b", "there", 2, 2, None, {}, 2000.0), DASK)
    boundless = Station("tcp://c", Hello("c", "there", 1, 3, None, {}, None), DASK)
    crew.stations = {station.address: station for station in (large, small)}
    wants = crew.wants(spec(resources=Resources(cpu=2, memory_mb=5000)))
    assert wants == Wants({}, 2.0, 5000.0)
    assert crew.freest(kind, wants) is large
    large.batches[1] = Held(1, large, kind, attempts(1), 0.0, wants)
    assert crew.freest(kind, wants) is None, "it waits for that one"
    assert crew.lacks(wants) is None
    assert crew.freest(kind, Wants({}, 2.0, 1500.0)) is small
    small.paused = True
    assert crew.freest(kind, Wants({}, 2.0, 1500.0)) is large
    assert crew.freest(kind, NOTHING) is large
    assert "has 4 threads and 9000 MB of memory" in str(crew.lacks(Wants({}, 4.0, 9000.0)))
    crew.stations["tcp://c"] = boundless
    assert crew.lacks(Wants({}, 1.0, 9000.0)) is None
    either = Resources(memory_mb=9000) | Resources(cpu=9)
    assert not crew.wants(spec(resources=either)), "the pool knows which it was lent"


def worker(name: str, threads: int, memory: int, limit: int | None, cpu: float) -> dict[str, Any]:
    """What Dask's scheduler says of a worker, as far as it is read."""
    return {"name": name, "nthreads": threads, "memory_limit": limit, "metrics": {"memory": memory, "cpu": cpu}}


def test_dask_reads_what_a_cluster_has() -> None:
    """Cores and memory are added up over workers; without a limit for each, memory has none; less often when large."""
    told = {"tcp://a": worker("a", 4, 10**9, 8 * 10**9, 150.0), "tcp://b": worker("b", 2, 10**8, 2 * 10**9, 0.0)}
    probe = ClusterProbe(lambda: told, use_of)
    assert probe.period_s == 1.0
    usage = probe.read(ReadRequest()).usage
    assert (usage["cpu"].used, usage["cpu"].capacity) == (1.5, 6.0)
    assert (usage["memory"].used, usage["memory"].capacity) == (1100.0, 10_000.0)
    assert [(part.name, part.capacity) for part in usage["memory"].parts] == [("a", 8000.0), ("b", 2000.0)]
    told["tcp://c"] = worker("c", 1, 10**8, None, 0.0)
    assert probe.read(ReadRequest()).usage.keys() == {"cpu"}
    told.update({f"tcp://{number}": worker(str(number), 1, 0, 10**9, 0.0) for number in range(97)})
    probe.read(ReadRequest())
    assert probe.period_s == pytest.approx(2.0)
    told.clear()
    assert probe.read(ReadRequest()).usage == {}
    assert DaskExecutor().cluster() is None, "its workers are on this machine"
    assert DaskExecutor(DaskExecutor.Settings(address="tcp://far.example:8786")).cluster() is not None


def test_dask_carries() -> None:
    """Local functions and classes travel by value; what can't is named; exceptions come back with their traceback."""

    class Own(Exception):
        pass

    function, _ = load(dump_code(lambda number: number + 1, None, DASK))
    assert function(1) == 2
    assert function.__code__.co_filename == __file__
    lock = threading.Lock()
    with pytest.raises(PayloadError, match="cannot be carried to a Dask worker"):
        dump_code(lambda: lock, None, DASK)
    back = load_exception(dump_exception(Own("gone")), "Traceback: there")
    assert type(back).__name__ == "Own"
    assert str(back) == "gone"
    assert back is not None
    assert "Traceback: there" in str(back.__cause__)
    assert load_exception(b"nonsense", "") is None


def test_dask_settings() -> None:
    """An address is one; what is none is refused where it is said, in words, with an address as one is."""
    for address in ("tls://dask.example:8786", "tcp://10.0.0.1:8786", "dask.example:8786"):
        assert DaskExecutor.Settings(address=address).address == address
    for address in ("dask.example", "", "tls:dask.example:8786"):
        with pytest.raises(ValueError, match=r"is HOST:PORT or SCHEME://HOST:PORT, such as 'dask.example:8786'"):
            DaskExecutor.Settings(address=address)
    executor = DaskExecutor()
    assert (executor.workers(), executor.pids(), executor.complaints()) == ((), (), ())
    with pytest.raises(RuntimeError, match="not running"):
        executor.submit([])
