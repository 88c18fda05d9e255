"""A cluster of somebody else's, in processes of its own: connecting, what its workers lack, and losing it."""

from __future__ import annotations

import importlib.metadata
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from longshore.task import Resources, TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(autouse=True)
async def _settle() -> AsyncIterator[None]:
    """Let Dask's own connections end before the loop does."""
    yield
    await anyio.sleep(0)


def square(number: int) -> int:
    return number * number


def hold(path: Path) -> str:
    path.touch()
    give_up = time.monotonic() + 30.0
    while not path.with_suffix(".go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    return "late"


async def test_dask_workers_come_and_go(
    start: Any, theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that come are used, as many as they have threads; one that goes takes along what it ran, and no more."""
    rig = await start(0, address=theirs.address)
    assert rig.host.sizes == [0]
    assert any("has no workers" in said for said in rig.executor.complaints())
    waits = rig.many(square, range(50))
    worker = theirs.add_worker()
    assert [outcome.value for outcome in await rig.all_of(waits)] == [number * number for number in range(50)]
    assert rig.host.sizes[-1] == 2
    assert (await rig.run(square, 3, resources=Resources(gpu=1))).value == 9
    with pytest.raises(RuntimeError, match="by its own means"):
        rig.resize(5)
    assert rig.executor.pids() == ()
    running = rig.submit(hold, tmp_path / "held")
    await rig.host.until((tmp_path / "held").exists)
    theirs.add_worker()
    await rig.host.until(lambda: rig.host.sizes[-1] == 4)
    worker.send_signal(signal.SIGKILL)
    outcome = await rig.outcome(running)
    assert outcome.error is not None
    assert outcome.error.type.endswith("WorkerDied")
    assert (await rig.run(square, 5)).value == 25
    monkeypatch.setattr("longshore_dask.muster.EVIDENCE_S", 0.2)
    last = rig.submit(hold, tmp_path / "last")
    await rig.host.until((tmp_path / "last").exists)
    theirs.started[-1].send_signal(signal.SIGKILL)  # and nobody is left to look what it had written down
    assert "may have begun" in str((await rig.outcome(last)).exception)
    assert rig.executor.workers() == []


async def test_dask_scheduler_lost(start: Any, theirs: Any, tmp_path: Path) -> None:
    """A scheduler that is killed is told once, with its address; stopping is quick, and tells of what was held."""
    theirs.add_worker()
    rig = await start(0, address=theirs.address, connect_timeout_s=20.0)
    await rig.host.until(lambda: rig.host.sizes[-1] == 2)
    ids = [rig.submit(hold, tmp_path / "one"), rig.submit(hold, tmp_path / "two")]
    await rig.host.until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
    theirs.scheduler.send_signal(signal.SIGKILL)
    await rig.host.until(lambda: rig.host.failures)
    assert theirs.address in str(rig.host.failures[0])
    assert any("is lost" in said for said in rig.executor.complaints())
    began = time.monotonic()
    await rig.stop(within_s=8.0)
    assert time.monotonic() - began < 8.0 + 5.0
    assert len(rig.host.failures) == 1
    assert {outcome.state for outcome in await rig.all_of(ids)} == {TaskState.CANCELLED}


async def test_dask_says_that_nobody_works(
    start: Any, theirs: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster that stays without workers is told of once, with what to start."""
    monkeypatch.setattr("longshore_dask.muster.NOBODY_S", 0.05)
    rig = await start(0, address=theirs.address)
    await rig.host.until(lambda: "has no workers" in caplog.text)
    assert f"tasks wait until one comes (dask worker {theirs.address})" in caplog.text
    assert caplog.text.count("has no workers") == 1


async def test_dask_nothing_waits_after_a_stop(start: Any, theirs: Any) -> None:
    """What Dask sends by has ended with the pool: its wait would time out unheard, and Python print that at exit."""
    rig = await start(0, address=theirs.address)
    sender = rig.executor._cluster._client.scheduler_comm
    assert not sender.stopped.is_set()
    await rig.stop()
    assert sender.stopped.is_set()


FAKED = """
import importlib.metadata, os
found, name_of, faked = importlib.metadata.version, os.environ.get("FAKED"), os.environ.get("FAKED_AS")

def version(name):
    if name != name_of:
        return found(name)
    if not faked:
        raise importlib.metadata.PackageNotFoundError(name)
    return faked

version.__module__, version.__qualname__ = "importlib.metadata", "version"
importlib.metadata.version = version
"""


async def test_dask_says_what_workers_lack(start: Any, theirs: Any, tmp_path: Path) -> None:
    """A worker without what it takes gets no task, and the pool is told what to install on it; others are used."""
    (tmp_path / "sitecustomize.py").write_text(FAKED)
    lacking = theirs.add_worker(PYTHONPATH=str(tmp_path), FAKED="longshore-dask")
    older = theirs.add_worker(PYTHONPATH=str(tmp_path), FAKED="longshore-core", FAKED_AS="0.0.9")
    rig = await start(0, address=theirs.address)
    await rig.host.until(lambda: len(rig.executor.complaints()) == 3)
    told = " ".join(str(notice.data["error"]) for notice in rig.host.notices)
    assert "has no longshore-dask: run `pip install longshore-dask==" in told
    here = importlib.metadata.version("longshore-core")
    assert f"has longshore-core 0.0.9, and here is {here}: install the same version on both" in told
    assert "has no workers" in rig.executor.complaints()[0]
    assert rig.executor.workers() == []
    waits = rig.submit(square, 7)
    theirs.add_worker()
    assert (await rig.outcome(waits)).value == 49
    assert len(rig.executor.workers()) == 1
    await rig.stop()
    for one in (theirs.started[-1], older):
        one.kill()
    await rig.host.until(lambda: older.poll() is not None and theirs.started[-1].poll() is not None)
    assert lacking.poll() is None
    with pytest.raises(RuntimeError, match="has no longshore-dask"):
        await start(0, address=theirs.address)
    with pytest.raises(RuntimeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        await start(0, address="tcp://127.0.0.1:9", connect_timeout_s=0.5)
