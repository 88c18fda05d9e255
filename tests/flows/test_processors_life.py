"""The life of processors in workers: made ready, given documents, replaced, cleaned up."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from longshore import (
    PluginError,
    Priority,
    ProcessorContext,
    RetryPolicy,
    Settings,
    TaskState,
    WorkerPool,
    current_task,
)
from longshore.hookspecs import hookimpl
from longshore.testing import RecordingSink

pytestmark = pytest.mark.anyio


# ---- life


class Counted:
    """Writes a line for each step of its life."""

    log = ""

    def note(self, what: str) -> None:
        with open(self.log, "a") as file:
            file.write(f"{what}\n")

    @hookimpl
    def initialize(self) -> None:
        self.note("initialize")

    def work(self, context: ProcessorContext) -> dict[str, Any]:
        self.note("process")
        return {"worker": current_task().worker_id}

    @hookimpl
    def cleanup(self) -> None:
        self.note("cleanup")


LANES = [
    (False, "inline"),
    (False, "threads"),
    (False, "processes"),
    (True, "asyncio"),
    (True, "threads"),
    (True, "processes"),
]
"""Whether `process` is a coroutine function, and where it runs."""


@pytest.mark.parametrize(("coroutine", "executor"), LANES)
@pytest.mark.requirement("req:K05", "req:K06")
async def test_each_worker_has_one_and_cleans_it_up(
    processing: Any, coroutine: bool, executor: str, tmp_path: Path
) -> None:
    """Plain or a coroutine, it is initialised once in each worker that has a document, and cleaned up at the stop."""
    log = tmp_path / "log"
    processor = processing.kind(Counted, coroutine=coroutine, facts={"log": str(log)}, executor=executor)
    async with processing.pool_of(p=processor) as pool:
        handles = [await pool.process("p", ProcessorContext(document_id=str(number))) for number in range(12)]
        workers = {(await handle).data["worker"] for handle in handles}
    lines = log.read_text().split()
    assert lines.count("process") == 12
    assert lines.count("initialize") == lines.count("cleanup") == len(workers)
    assert lines[-1] == "cleanup"


@pytest.mark.parametrize(("coroutine", "executor"), [LANES[1], LANES[2], LANES[3]])
@pytest.mark.requirement("req:K05")
async def test_a_worker_that_is_let_go_cleans_up(
    processing: Any, coroutine: bool, executor: str, tmp_path: Path
) -> None:
    """Where workers are taken away, what was initialised in them is cleaned up then, not at the end of the pool."""
    log = tmp_path / "log"
    processor = processing.kind(Counted, coroutine=coroutine, facts={"log": str(log)}, executor=executor)
    async with processing.pool_of(p=processor) as pool:
        workers = set[str]()
        while len(workers) < 2:
            handles = [await pool.process("p", ProcessorContext(document_id=str(number))) for number in range(64)]
            workers |= {(await handle).data["worker"] for handle in handles}
        pool.resize(executor, 1)
        while "cleanup" not in log.read_text():
            await asyncio.sleep(0.005)
        assert log.read_text().split().count("cleanup") == 1
    assert log.read_text().split().count("cleanup") == 2


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.requirement("req:K05")
async def test_an_initialize_that_raises_fails_its_task_only(processing: Any, executor: str, tmp_path: Path) -> None:
    """What `initialize` raises is the failure of the task that needed it, unchanged; the next task tries again."""

    class Late(processing.Base):
        said: ClassVar = {"executor": executor}
        mark = str(tmp_path / "tried")

        @hookimpl
        def initialize(self) -> None:
            if not os.path.exists(self.mark):
                open(self.mark, "w").close()
                raise ConnectionError("not yet")

    async with processing.pool_of(p=Late, workers=1) as pool:
        first, second = await processing.end_of(pool), await processing.end_of(pool)
    assert first.error is not None
    assert (first.error.type, first.error.message) == ("ConnectionError", "not yet")
    assert "processor p could not be made ready" in first.error.traceback
    assert second.ok


@pytest.mark.slow
async def test_an_initialize_that_hangs_has_a_limit_in_a_process(processing: Any) -> None:
    """fault:K9 In a process getting ready has a limit of its own: documents end with it, whatever theirs is."""

    class Stuck(processing.Base):
        said: ClassVar = {"executor": "processes", "timeout_seconds": 300}

        @hookimpl
        def initialize(self) -> None:
            time.sleep(1000)

    settings = Settings(probes=(), executors={"processes": {"initializer_timeout_s": 0.3}})
    async with asyncio.timeout(20), WorkerPool(settings=settings) as pool:
        pool.replace_processor("p", Stuck)
        outcomes = await asyncio.gather(*(processing.end_of(pool, document_id=str(number)) for number in range(8)))
    assert {outcome.state for outcome in outcomes} == {TaskState.TIMED_OUT}
    assert {outcome.error.reason for outcome in outcomes} == {"initializer"}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.requirement("req:C09")
async def test_a_cleanup_that_hangs_does_not_outlast_the_stop(processing: Any, executor: str, tmp_path: Path) -> None:
    """`stop` returns within its time and a second, whatever a processor does at its end."""
    go_on = tmp_path / "go on"

    class Stuck(processing.Base):
        said: ClassVar = {"executor": executor}
        mark = str(go_on)

        @hookimpl
        def cleanup(self) -> None:
            give_up = time.monotonic() + 20
            while not os.path.exists(self.mark) and time.monotonic() < give_up:
                time.sleep(0.01)

    async with processing.pool_of(p=Stuck, workers=1) as pool:
        assert (await processing.end_of(pool)).ok
        began = time.monotonic()
        await pool.stop(0.1)
        took_s = time.monotonic() - began
        go_on.touch()
    assert took_s < 1.1


@pytest.mark.slow
async def test_getting_ready_is_not_a_documents_own_time(processing: Any, tmp_path: Path) -> None:
    """In a worker process `initialize` may take longer than a document may: the time limit begins after it."""
    mark = tmp_path / "initialized"

    class Heavy(processing.Base):
        said: ClassVar = {"timeout_seconds": 0.3, "executor": "processes"}

        @hookimpl
        def initialize(self) -> None:
            current_task().progress(0.0, "loading")
            time.sleep(0.5)
            mark.touch()

        def work(self, context: ProcessorContext) -> dict[str, Any]:
            return {"left": current_task().time_remaining()}

    async with processing.pool_of(p=Heavy, workers=1) as pool:
        result = (await processing.end_of(pool)).unwrap()
    assert mark.exists()
    assert 0 < result.data["left"] <= 0.3


async def test_a_cleanup_that_raises_costs_nothing(processing: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What `cleanup` raises is logged with the processor's name; the pool ends as it should."""

    class Untidy(processing.Base):
        @hookimpl
        def cleanup(self) -> None:
            raise OSError("stuck")

    async with processing.pool_of(p=Untidy) as pool:
        assert (await processing.end_of(pool)).ok
    assert pool.summary is not None
    assert pool.summary.state == "completed"
    assert "processor p could not clean up: OSError('stuck')" in caplog.text


async def test_a_task_may_have_something_called_at_its_workers_end(
    processing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """`at_worker_end` calls, the last first, when the worker ends in order; one that raises keeps none from it."""
    called: list[str] = []

    def work() -> None:
        task = current_task()
        task.at_worker_end(lambda: called.append("first"))
        task.at_worker_end(lambda: 1 / 0)
        task.at_worker_end(lambda: called.append("last"))

    async with processing.pool_of(workers=1) as pool:
        await (await pool.submit(work))
        assert called == []
    assert called == ["last", "first"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_coroutine_keeps_its_loop_in_a_thread(processing: Any) -> None:
    """An async processor in a worker without a loop has one of its own there, and the same for every document."""

    class Loops(processing.AsyncBase):
        said: ClassVar = {"executor": "threads"}

        def work(self, context: ProcessorContext) -> dict[str, Any]:
            return {"loop": id(asyncio.get_running_loop()), "worker": current_task().worker_id}

    async with processing.pool_of(p=Loops, workers=1) as pool:
        results = [(await processing.end_of(pool)).unwrap().data for _ in range(3)]
    assert results[0] == results[1] == results[2]


# ---- replacing


class Versioned:
    """Says which version it is, and writes down its end."""

    version, log = "1", ""

    def work(self, context: ProcessorContext) -> dict[str, Any]:
        return {"version": self.version}

    @hookimpl
    def cleanup(self) -> None:
        with open(self.log, "a") as file:
            file.write(f"{self.version}\n")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.requirement("req:K07")
async def test_a_processor_is_replaced_while_the_pool_runs(processing: Any, executor: str, tmp_path: Path) -> None:
    """Documents submitted before end with the old one, those after with the new; the old is cleaned up in between."""
    log = tmp_path / "log"
    log.touch()
    facts: dict[str, Any] = {"log": str(log), "said": {"executor": executor}}
    old, new = (processing.kind(Versioned, facts={**facts, "version": version}) for version in ("1", "2"))
    async with processing.pool_of(p=old, workers=1) as pool:
        assert (await processing.end_of(pool)).unwrap().data == {"version": "1"}
        pool.pause()
        before = [await pool.process("p", ProcessorContext(document_id="before")) for _ in range(3)]
        pool.replace_processor("p", new)
        after = [await pool.process("p", ProcessorContext(document_id="after")) for _ in range(3)]
        assert log.read_text() == ""
        pool.unpause()
        assert [(await handle).data["version"] for handle in [*before, *after]] == ["1"] * 3 + ["2"] * 3
        assert log.read_text().split() == ["1"]
    assert log.read_text().split() == ["1", "2"]


@pytest.mark.slow
@pytest.mark.requirement("req:K07")
async def test_an_older_task_that_comes_late_has_its_own(processing: Any, tmp_path: Path) -> None:
    """A document of before that gets its turn after one of the new still has the old processor."""
    facts: dict[str, Any] = {"log": str(tmp_path / "log")}
    old, new = (processing.kind(Versioned, facts={**facts, "version": version}) for version in ("1", "2"))
    async with processing.pool_of(p=old, workers=1) as pool:
        pool.pause()
        late = await pool.options(priority=Priority.BACKGROUND).process("p", ProcessorContext(document_id="late"))
        pool.replace_processor("p", new)
        soon = await pool.options(priority=Priority.HIGH).process("p", ProcessorContext(document_id="soon"))
        pool.unpause()
        assert [(await soon).data["version"], (await late).data["version"]] == ["2", "1"]
    assert sorted((tmp_path / "log").read_text().split()) == ["1", "2"]


@pytest.mark.slow
@pytest.mark.requirement("req:K07")
async def test_an_instance_is_copied_for_each_worker(processing: Any) -> None:
    """Of an instance each worker has a copy, as it was when it was given; the caller's is not touched."""

    class Configured(processing.Base):
        def __init__(self, words: list[str]) -> None:
            self.words = words

        def work(self, context: ProcessorContext) -> dict[str, Any]:
            self.words.append("used")
            return {"words": list(self.words)}

    given = Configured(["mine"])
    async with processing.pool_of(workers=1) as pool:
        pool.replace_processor("p", given)
        assert (await processing.end_of(pool)).unwrap().data == {"words": ["mine", "used"]}
        assert given.words == ["mine"]
        given.words.append("changed later")
        in_process = await pool.options(executor="processes").process("p", ProcessorContext(document_id="d"))
        assert (await in_process).data == {"words": ["mine", "used"]}


@pytest.mark.requirement("req:K07")
async def test_what_is_no_processor_replaces_none(processing: Any) -> None:
    """A class that breaks the contract, cannot be made or copied, or a name nobody brings, is refused: all stays."""

    class Unmarked:
        def initialize(self) -> None: ...

    class Unmade(processing.Base):
        def __init__(self) -> None:
            raise OSError("no")

    class Uncopied(processing.Base):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    async with processing.pool_of(p=processing.Base) as pool:
        for wrong, why in [
            (Unmarked, "does not keep its contract"),
            (Unmade, "could not be made: OSError: no"),
            (Uncopied(), "could not be copied"),
            ("nowhere", "nowhere"),
        ]:
            with pytest.raises(PluginError, match=why):
                pool.replace_processor("p", wrong)  # type: ignore[arg-type]  # that is the point
        assert (await processing.end_of(pool)).ok


# ---- the context


class Inspecting:
    """Tells what it was given, and what it can reach."""

    said: ClassVar = {"timeout_seconds": 60}

    def work(self, context: ProcessorContext) -> dict[str, Any]:
        task = current_task()
        if task.attempt == 1:
            raise ConnectionError("once more")
        task.progress(0.5, "half")
        left = task.time_remaining()
        return {"context": context, "attempt": task.attempt, "left": left}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("coroutine", "executor"),
    LANES,
)
@pytest.mark.requirement("req:E15", "req:K06")
async def test_the_context_reaches_the_processor_unchanged(processing: Any, coroutine: bool, executor: str) -> None:
    """In each lane: the context as it was given; the number of the attempt, the time left and progress at hand."""
    context = ProcessorContext(
        document_id="doc-1",
        file_path="/in/doc-1.pdf",
        mime_type="application/pdf",
        metadata={"pages": [1, 2], "deep": {"a": None}},
        previous_results={"extract": {"text": "…"}},
    )
    sink = RecordingSink()
    inspecting = processing.kind(Inspecting, coroutine=coroutine, executor=executor)
    async with processing.pool_of(sink, p=inspecting) as pool:
        again = pool.options(retry=RetryPolicy(attempts=2, backoff=0.0))
        result = await (await again.process("p", context))
    assert result.data["context"] == context
    assert result.data["attempt"] == 2
    if executor == "inline":
        assert result.data["left"] is None
    else:
        assert 0 < result.data["left"] <= 60
    progress = sink.of_type("task_progress")
    assert [(event.data["progress"], event.data["message"]) for event in progress] == [(0.5, "half")]
