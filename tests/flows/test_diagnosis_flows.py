"""A diagnosis of a pool: what is in it, that it is bounded, that two may be asked for at once, what is never in it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from longshore import (
    Diagnosis,
    PoolNotRunning,
    Priority,
    ResourceMonitor,
    Resources,
    Settings,
    WorkerPool,
    diagnosis_text,
    install_diagnostics,
)

pytestmark = pytest.mark.anyio

HOSTILE = "x\x1b[2J\n\u202e\udcff"


def small(**more: object) -> WorkerPool:
    """Return a pool that measures nothing, with one thread."""
    return WorkerPool({"thread_workers": 1, "max_queue_size": 2000}, settings=Settings(probes=(), **more))  # type: ignore[arg-type]


@pytest.mark.requirement("req:L05")
async def test_a_thousand_waiting_tasks_are_told_of_by_their_number() -> None:
    """Queues by executor and priority, the task that waits longest with the reason, and what is reserved by whom."""
    go = threading.Event()
    limits = {"custom": {"licence": 2.0}}
    async with WorkerPool(
        {"thread_workers": 1, "max_queue_size": 2000},
        settings=Settings(probes=()),
        resource_monitor=ResourceMonitor(limits, probes=()),
    ) as pool:
        first = pool.options(executor="threads", name="first", resources=Resources(custom={"licence": 2.0}))
        running = first.submit_nowait(go.wait, 30)
        ones = [pool.options(executor="threads").submit_nowait(go.wait, 30) for _ in range(1000)]
        more = [pool.options(executor="threads", priority=Priority.LOW).submit_nowait(go.wait, 30) for _ in range(5)]
        while pool.snapshot().running < 1:
            await asyncio.sleep(0)
        found = await asyncio.to_thread(pool.diagnose)
        go.set()
    assert {(queue.executor, queue.priority): queue.tasks for queue in found.queues} == {
        ("threads", "NORMAL"): len(ones),
        ("threads", "LOW"): len(more),
    }
    assert found.waiting is not None
    assert found.waiting.task_id == ones[0].task_id
    assert "1 of 1 workers of threads are busy" in found.waiting.why
    assert [(task.task_id, task.name) for task in found.running] == [(running.task_id, "first")]
    assert found.reserved == {running.task_id: {"licence": 2.0}}
    [licence] = [one for one in found.reservations if one.resource == "licence"]
    assert (licence.lent, licence.taken, licence.limit) == (2.0, 2.0, 2.0)
    assert (found.counts.queued, found.counts.running) == (1005, 1)
    assert len(msgspec.json.encode(found)) < 100_000
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found
    assert len(diagnosis_text(found)) < 50_000


@pytest.mark.requirement("req:L05")
async def test_two_diagnoses_at_once_are_both_whole() -> None:
    """Each has the stacks of threads, of the coroutines that wait, and the pool's facts; on the loop it works too."""

    async def waits() -> None:
        await asyncio.Event().wait()

    async with small() as pool:
        handle = pool.submit_nowait(waits)
        await asyncio.sleep(0.01)
        with ThreadPoolExecutor(2) as threads:
            loop = asyncio.get_running_loop()
            both = await asyncio.gather(*(loop.run_in_executor(threads, pool.diagnose) for _ in range(2)))
        here = pool.diagnose()
        handle.cancel()
    for found in (*both, here):
        assert found.loop == "answers"
        assert any(frame.endswith("<locals>.waits") for stack in found.stacks for frame in stack.frames)
        assert [task.task_id for task in found.running] == [handle.task_id]
        assert {worker.worker_type for worker in found.workers} == {"async", "thread"}
        assert found.versions["longshore-core"]


@pytest.mark.requirement("req:L05")
async def test_names_are_escaped_and_secrets_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is printable whatever a task is called; no environment, argument, token, or message of a task is in it."""
    monkeypatch.setenv("SOME_TOKEN", "hidden-in-environment")
    go = threading.Event()

    def holds(secret: str) -> None:
        go.wait(30)

    sinks: dict[str, dict[str, object]] = {
        "web": {"enabled": False, "token": "hidden-in-settings", "port": 8080, "hosts": ["a", HOSTILE]}
    }
    sinks["web"] |= {"to": "https://me:hidden@host/x", "users": [{"password": "hidden"}]}
    async with small(sinks=sinks) as pool:
        pool.options(executor="threads", name=HOSTILE * 200, key="k").submit_nowait(holds, "hidden-in-arguments")
        pool.options(executor="threads", name=HOSTILE).submit_nowait(holds, "hidden-in-arguments")
        while pool.snapshot().running < 1:
            await asyncio.sleep(0)
        found = await asyncio.to_thread(pool.diagnose)
        go.set()
    text = diagnosis_text(found)
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(len, text.split("\n"))) < 310
    assert "hidden" not in text
    assert b"hidden" not in msgspec.json.encode(found)
    assert found.settings["sinks"]["web"] == {
        "enabled": False,
        "token": "(not shown)",
        "port": 8080,
        "to": "https://(not shown)@host/x",
        "users": [{"password": "(not shown)"}],
        "hosts": ["a", HOSTILE.replace("\udcff", "\\udcff")],
    }


async def test_a_pool_that_was_not_started_has_nothing_to_tell() -> None:
    """PoolNotRunning before the first start; after the end it tells of the run that was."""
    pool = small()
    with pytest.raises(PoolNotRunning):
        pool.diagnose()
    async with pool:
        pass
    assert any("stopp" in note for note in pool.diagnose().notes)


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_a_handler_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    """ValueError where the signal has a handler; closed, it ignores the signal, and its files are gone."""
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        async with small() as pool:
            with pytest.raises(ValueError, match="has a handler already"):
                install_diagnostics(pool, signal=signal.SIGUSR2)
            signal.signal(signal.SIGUSR2, signal.SIG_DFL)
            with install_diagnostics(pool, signal=signal.SIGUSR2, folder=tmp_path, quiet=True) as installed:
                with pytest.raises(ValueError, match="has a handler already"):
                    install_diagnostics(pool, signal=signal.SIGUSR2)
                assert sorted(path.name for path in tmp_path.iterdir()) == ["diagnosis.listens", "diagnosis.pipe"]
            installed.close()
            os.kill(os.getpid(), signal.SIGUSR2)
            assert list(tmp_path.iterdir()) == []
    finally:
        signal.signal(signal.SIGUSR2, before)


async def test_tasks_at_one_place_are_told_of_as_one() -> None:
    """Thirty that wait at the same line are one stack with their number, not thirty."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with asyncio.timeout(30), WorkerPool(settings=Settings(probes=())) as pool:
        waiting = [asyncio.create_task(wait()) for _ in range(30)]
        await asyncio.sleep(0)
        found = [stack for stack in pool.diagnose().stacks if any("<locals>.wait" in one for one in stack.frames)]
        gate.set()
        await asyncio.gather(*waiting)
    [one] = found
    assert one.of.endswith("and 29 more")
