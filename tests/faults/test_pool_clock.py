"""The wall clock steps while a pool runs: what people read follows it, what is measured does not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from longshore import Settings, WorkerConfig, WorkerPool
from longshore.testing import RecordingSink

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0


class Stepped(datetime):
    """A wall clock that can be set."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.ahead


@pytest.mark.requirement("req:B12")
async def test_clock_steps_change_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back and a day ahead: stamps follow, with a zone; durations stay what they are, and no worker is lost."""
    for module in ("_telling", "_runtime.roster", "worker"):
        monkeypatch.setattr(f"longshore.{module}.datetime", Stepped)
    monkeypatch.setattr("longshore_processes.handle.datetime", Stepped)
    monkeypatch.setattr("time.time", lambda: 0.0)
    sink = RecordingSink()
    config = WorkerConfig(process_workers=1, worker_heartbeat_interval=0.02)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(config, settings=Settings(probes=()), sinks=[sink]) as pool:
        for ahead in (timedelta(0), timedelta(hours=-1), timedelta(days=1)):
            Stepped.ahead = ahead
            for executor in ("threads", "processes"):
                outcome = await (await pool.options(executor=executor, timeout=10).submit(abs, -42)).outcome()
                assert outcome.ok
                assert 0.0 <= outcome.queued_s < DEADLINE_S
                assert 0.0 <= outcome.ran_s < DEADLINE_S
            await asyncio.sleep(0.05)
            assert {row.status for row in pool.get_worker_stats()} == {"idle"}
            stamp = sink.events[-1].at
            assert abs(stamp - datetime.now(UTC) - ahead) < timedelta(seconds=DEADLINE_S)
            assert stamp.tzinfo is not None
        stats = pool.get_stats()
        assert 0.0 < stats.uptime_s < DEADLINE_S
        assert 0.0 <= stats.average_wait_time < DEADLINE_S
        assert 0.0 <= pool.snapshot().elapsed_s < DEADLINE_S
    Stepped.ahead = timedelta(0)
