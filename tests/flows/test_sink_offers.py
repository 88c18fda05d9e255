"""What a sink is offered of the run it is opened with: questions to all, orders to who says that it may give them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from longshore import Settings, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary

pytestmark = pytest.mark.anyio


class Watcher:
    """A sink that keeps what it is opened with."""

    api = 1

    def __init__(self) -> None:
        """Know no run yet."""
        self.opened = threading.Event()
        self.run: RunInfo | None = None

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Keep it."""
        self.run = run
        self.opened.set()

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take them."""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """End."""

    def known(self) -> RunInfo:
        """Return the run, once it has begun."""
        assert self.opened.wait(20)
        assert self.run is not None
        return self.run


class Steersman(Watcher):
    """A sink that says that it may steer."""

    controls = True


def settings(**more: object) -> Settings:
    return Settings.model_validate({"probes": (), "workers": WorkerConfig(thread_workers=1), **more})


async def test_only_a_sink_that_says_so_may_steer_the_run() -> None:
    """A sink gets no control unless it says that it may; what it gets pauses, resizes and cancels, and no more."""
    watcher, steersman = Watcher(), Steersman()
    async with WorkerPool(settings=settings(), sinks=[watcher, steersman]) as pool:
        assert watcher.known().control is None
        control = steersman.known().control
        assert control is not None
        control.pause()
        waiting = await pool.options(executor="threads").submit(abs, -1)
        control.cancel(waiting.task_id)
        assert (await waiting.outcome()).state.value == "cancelled"
        control.unpause()
        control.resize("threads", 2)
        with pytest.raises(ValueError, match="at least 1"):
            control.resize("threads", 0)
        assert await (await pool.options(executor="threads").submit(abs, -2)) == 2
        assert not hasattr(control, "submit")
        assert len([one for one in watcher.known().workers() if one.worker_type == "thread"]) == 2


async def test_what_a_run_is_done_with_hides_secrets() -> None:
    """A sink can show settings, plugins and versions; what looks like a secret by its name is hidden."""
    watcher = Watcher()
    chosen = settings(executor="threads", journals={"elsewhere": {"api_token": "hush", "path": "here"}})
    async with WorkerPool(settings=chosen, sinks=[watcher]):
        setup = watcher.known().setup()
    by_key = {entry.key: entry for entry in setup.settings}
    assert (by_key["executor"].value, by_key["executor"].origin) == ("threads", "set")
    assert by_key["journals.elsewhere.api_token"].value == "********"
    assert by_key["journals.elsewhere.path"].value == "here"
    assert by_key["workers.max_queue_size"].origin == "default"
    assert ("sinks", "jsonl") in {(plugin.kind, plugin.name) for plugin in setup.plugins}
    assert {"python", "longshore-core", "longshore-jsonl"} <= set(setup.versions)
    assert watcher.known().summary() is None
