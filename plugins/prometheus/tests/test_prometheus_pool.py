"""The sink beside real pools: what it counts is what happened, and whatever becomes of it costs the run nothing."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore import Outcome, Priority, RetryPolicy, Settings, TaskState, WorkerPool, current_task
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore_prometheus import PrometheusSink, _exposition, _figures

pytestmark = pytest.mark.anyio
Scrape = Callable[..., Any]
DEADLINE_S = 20.0
RESULTS = {
    TaskState.COMPLETED: "success",
    TaskState.FAILED: "failure",
    TaskState.TIMED_OUT: "timeout",
    TaskState.CANCELLED: "cancellation",
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each scrape ask anew."""
    for module in (_figures, _exposition):
        monkeypatch.setattr(module, "FRESH_S", 0.0)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What held tasks wait for; let go at the end, whatever happens."""
    made = threading.Event()
    yield made
    made.set()


def sink_on_a_free_port(**settings: Any) -> PrometheusSink:
    return PrometheusSink(PrometheusSink.Settings(**{"port": 0, "token": False, "linger_s": 60.0, **settings}))


def wobble(number: int) -> int:
    """Fail for good each fifth time, and at first each third."""
    if number % 5 == 0:
        raise ValueError(number)
    if number % 3 == 0 and current_task().attempt == 1:
        raise OSError(number)
    return number


async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def until(asked: Callable[[], bool], what: str) -> None:
    for _ in range(int(DEADLINE_S / 0.01)):
        if asked():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"waited {DEADLINE_S:g} s for {what}")


@pytest.mark.requirement("req:L02", "req:L07")
async def test_a_run_is_counted(scrape: Scrape, gate: threading.Event) -> None:
    """Under way and at the end, what is served is what the pool says and what callers got."""
    sink = sink_on_a_free_port()
    policy = RetryPolicy(attempts=2, backoff=0.0, jitter=0.0)
    outcomes: list[Outcome] = []
    async with WorkerPool({"async_workers": 2, "thread_workers": 1}, settings=Settings(), sinks=[sink]) as pool:
        held = [await pool.options(executor="threads", name="held").submit(gate.wait, DEADLINE_S)]
        await until(lambda: pool.get_stats().running_tasks == 1, "the first to run")
        for priority in (Priority.HIGH, Priority.LOW, Priority.LOW):
            held.append(await pool.options(executor="threads", priority=priority, name="late").submit(abs, -1))
        await until(lambda: pool.get_stats().queue == {"threads": {"HIGH": 1, "LOW": 2}}, "three to wait")
        await until(lambda: bool(sink.url), "the sink to be open")
        during = await asyncio.to_thread(scrape, sink)
        held[-1].cancel()
        gate.set()
        outcomes += [await handle.outcome() for handle in held]
        outcomes += [one async for one in pool.options(retry=policy, name="wobble").outcomes(wobble, range(60))]
        outcomes += [one async for one in pool.options(timeout=0.05).outcomes(nap, [0.0, 0.001, 30.0])]
    depths = {labels: depth for labels, depth in during["longshore_queue_depth"].items() if depth}
    assert depths == {("threads", "high"): 1.0, ("threads", "low"): 2.0}
    assert during["longshore_tasks_queued"]["late",] == 3.0
    assert during["longshore_tasks_in_progress"]["held",] == 1.0
    assert during.get("longshore_workers", backend="threads", state="busy") == 1.0
    after = await asyncio.to_thread(scrape, sink)
    wanted = Counter((RESULTS[outcome.state], outcome.name) for outcome in outcomes)
    assert {key: count for key, count in after["longshore_tasks_total"].items() if count} == wanted
    assert sum(after["longshore_tasks_in_progress"].values()) == 0.0
    assert after["longshore_task_retries_total"] == {("ValueError", "wobble"): 12.0, ("OSError", "wobble"): 16.0}
    ran = {outcome.name: 0.0 for outcome in outcomes}
    for outcome in outcomes:
        ran[outcome.name] += outcome.ran_s if outcome.state is not TaskState.CANCELLED else 0.0
    sums = {stage: total for (stage,), total in after["longshore_task_duration_seconds_sum"].items()}
    assert sums == pytest.approx({stage: ran[stage] for stage in sums})


class LateSink(PrometheusSink):
    """One that is held up with the first events it gets."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__(PrometheusSink.Settings(port=0, token=False, linger_s=60.0))
        self.gate = gate

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        self.gate.wait(DEADLINE_S)
        super().on_events(batch)


async def test_counts_are_exact_however_late_the_sink_is_told(scrape: Scrape, gate: threading.Event) -> None:
    """A sink that stands still while far more happens than waits for it otherwise still counts each end (fault:E1)."""
    sink, many = LateSink(gate), 12_000
    async with WorkerPool(settings=Settings(), sinks=[sink]) as pool:
        async for outcome in pool.options(executor="threads").outcomes(abs, range(many)):
            assert outcome.ok
        gate.set()
    exposed = await asyncio.to_thread(scrape, sink)
    assert exposed.get("longshore_tasks_total", stage="abs", result="success") == many
    assert exposed.get("longshore_task_duration_seconds_count", stage="abs") == many
    assert sum(exposed["longshore_sink_events_dropped_total"].values()) == 0.0


@pytest.mark.requirement("req:L03")
async def test_a_blocked_loop_is_scraped(scrape: Scrape, gate: threading.Event) -> None:
    """While a coroutine keeps the loop from turning, metrics are served, and say what runs."""
    sink = sink_on_a_free_port()
    found: list[Any] = []

    async def block() -> None:
        reading = threading.Thread(target=lambda: found.append(scrape(sink)))
        reading.start()
        reading.join(DEADLINE_S)

    async with WorkerPool(settings=Settings(), sinks=[sink]) as pool:
        await until(lambda: bool(sink.url), "the sink to be open")
        await (await pool.submit(block))
    assert sum(found[0]["longshore_tasks_in_progress"].values()) == 1.0


async def test_a_port_that_is_taken_costs_the_metrics_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on, a warning and the summary say which port is taken and what to try."""
    first = sink_on_a_free_port(linger_s=0.0)
    async with WorkerPool(settings=Settings(), sinks=[first]):
        await until(lambda: bool(first.url), "the first sink to be open")
        port = int(first.url.rpartition(":")[2].removesuffix("/metrics"))
        pool = WorkerPool(settings=Settings(), sinks=[sink_on_a_free_port(port=port)])
        async with pool:
            assert await (await pool.submit(abs, -1)) == 1
    assert pool.summary is not None
    [note] = pool.summary.notes
    assert f"port {port} of 127.0.0.1 can't be had" in note
    assert "sinks.prometheus.port" in note
    assert "quarantined" in caplog.text


@pytest.mark.slow
@pytest.mark.requirement("req:L02")
async def test_a_run_that_goes_on_counts_what_was_restored(scrape: Scrape, tmp_path: Path) -> None:
    """After a resume the totals are those of the journal, and no lower than they were before it (fault:E7)."""
    settings = Settings.model_validate({"journals": {"sqlite": {"path": str(tmp_path)}}})

    async def one(resume: str | None, count: int) -> tuple[str, float]:
        sink = sink_on_a_free_port()
        async with WorkerPool(settings=settings, journal="sqlite", resume=resume, sinks=[sink]) as pool:
            options = pool.options(version="1", name="wobble")
            states = [one.state async for one in options.outcomes(wobble, range(count))]
            run_id = pool.run_id
        exposed = await asyncio.to_thread(scrape, sink)
        counts = Counter({labels[0]: count for labels, count in exposed["longshore_tasks_total"].items() if count})
        assert counts == Counter(RESULTS[state] for state in states)
        return run_id, sum(exposed["longshore_tasks_total"].values())

    run_id, before = await one(None, 20)
    _, after = await one(run_id, 30)
    assert (before, after) == (20.0, 30.0)


async def test_it_is_found_by_name(scrape: Scrape, tmp_path: Path) -> None:
    """Named in settings it is made with its table; a wrong one is refused before the pool starts, its token unseen."""
    table = {"port": 0, "token_file": str(tmp_path / "token")}
    async with WorkerPool(settings=Settings.model_validate({"sinks": {"prometheus": table}})) as pool:
        await until((tmp_path / "token").exists, "the token")
        assert await (await pool.submit(abs, -1)) == 1
    wrong = {"sinks": {"prometheus": {"host": "0.0.0.0", "token": "a secret that nobody sees"}}}
    with pytest.raises(Exception, match=r"16 to 512") as refused:
        await WorkerPool(settings=Settings.model_validate(wrong)).start()
    assert "nobody sees" not in str(refused.value)
