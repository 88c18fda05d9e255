"""What type checkers see of writing plugins: one of each kind fits its protocol, and one that is wrong does not.

Read by `mypy --strict` and pyrefly, run by nothing; see `api.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from longshore import (
    Outcome,
    PoolStats,
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    RunSnapshot,
    RunSummary,
    Task,
    WorkerPool,
    WorkerStats,
)
from longshore.events import AnyEvent
from longshore.hookspecs import (
    Archive,
    CancelRequest,
    Capabilities,
    Executor,
    ExecutorHost,
    Hooks,
    InputValidator,
    Journal,
    PipelineSource,
    Probe,
    Processor,
    ResizeRequest,
    Sink,
    hookimpl,
)
from longshore.records import (
    CommitBatch,
    JournalQuery,
    PoolInfo,
    Reading,
    ReadRequest,
    Recalled,
    RunInfo,
    RunOpening,
    RunRecord,
    TaskEntry,
    TaskTrace,
    Usage,
)
from longshore.task import Attempt
from longshore.testing import ManualExecutor, MemoryJournal, RecordingSink, ScriptedProbe


class OneSink:
    @hookimpl
    def open(self, run: RunInfo) -> None:
        self.run = run

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        self.types = [event.type for event in batch]

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        self.summary = summary


class SinkOfSingleEvents(OneSink):
    def on_events(self, batch: AnyEvent) -> None:  # type: ignore[override]
        self.types = [batch.type]


class OneProbe:
    resources = ("cpu",)
    period_s = 1.0

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        return Reading(at=datetime.now(UTC), usage={"cpu": Usage(used=0.5, capacity=2.0)})


class ProbeOfFigures:
    resources = ("cpu",)
    period_s = 1.0

    def read(self, request: ReadRequest) -> dict[str, float]:
        return {"cpu": 0.5}


class OneExecutor:
    capabilities = Capabilities(worker_type="one", runs=frozenset({"function"}), timeout="none")

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        self.loop: asyncio.AbstractEventLoop = host.loop
        self.host = host

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        self.host.report([])

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        self.cancelled = request.task_ids

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        self.host.resized(request.workers)

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        return ()

    @hookimpl
    def pids(self) -> Sequence[int]:
        return ()

    @hookimpl
    async def stop(self, deadline: float) -> None:
        self.deadline = deadline


class ExecutorThatStartsAtOnce(OneExecutor):
    def start(self, host: ExecutorHost) -> None:  # type: ignore[override]
        self.host = host


class OneArchive:
    def runs(self, newest: int | None = None) -> Sequence[RunRecord]:
        return ()

    def run(self, run_id: str) -> RunRecord:
        raise LookupError(run_id)

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        return iter(())

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        return iter(())

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        return iter(())

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
        return {}

    def remove(self, run_id: str) -> None:
        raise LookupError(run_id)

    def close(self) -> None:
        self.closed = True


class OneJournal:
    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        return Recalled()

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        self.batch = batch

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        return ()

    @hookimpl
    def archive(self) -> Archive:
        return OneArchive()

    @hookimpl
    def close(self) -> None:
        self.closed = True


class JournalOfStrings(OneJournal):
    def commit(self, batch: str) -> None:  # type: ignore[override]
        self.text = batch


class Life:
    metadata = ProcessorMetadata(name="words", version="1")

    @hookimpl
    def initialize(self) -> None:
        self.ready = True

    @hookimpl
    def cleanup(self) -> None:
        self.ready = False

    @hookimpl
    def health_check(self) -> bool:
        return self.ready


class OneProcessor(Life):
    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(status="completed", data={"id": context.document_id})

    def validate_input(self, context: ProcessorContext) -> str | None:
        return None if context.file_path else "no file"


class ProcessorThatAwaits(Life):
    @hookimpl
    async def process(self, context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(status="completed")


class ProcessorOfText(Life):
    def process(self, context: ProcessorContext) -> str:
        return context.document_id


class OnePipeline:
    @hookimpl
    def toml(self) -> str:
        return "stages = []"


class OneHook:
    @hookimpl
    def admit(self, task: Task, snapshot: RunSnapshot) -> str | None:
        return "not at night" if snapshot.queued else None

    @hookimpl
    def route(self, task: Task) -> str | None:
        return "threads" if task.spec.name == "fetch" else None

    @hookimpl
    def task_settled(self, task: Task, outcome: Outcome) -> None:
        self.last = outcome.state

    @hookimpl
    def pool_started(self, pool_info: PoolInfo) -> None:
        self.pool = pool_info

    @hookimpl
    def pool_stopped(self, summary: RunSummary) -> None:
        self.summary = summary


SINK: Sink = OneSink()
PROBE: Probe = OneProbe()
EXECUTOR: Executor = OneExecutor()
JOURNAL: Journal = OneJournal()
PROCESSOR: Processor = OneProcessor()
AWAITING: Processor = ProcessorThatAwaits()
VALIDATOR: InputValidator = OneProcessor()
PIPELINE: PipelineSource = OnePipeline()
HOOKS: Hooks = OneHook()
FAKES: tuple[Sink, Probe, Executor, Journal] = (
    RecordingSink(),
    ScriptedProbe([]),
    ManualExecutor(),
    MemoryJournal(),
)

NO_SINK: Sink = OneProbe()  # type: ignore[assignment]
NO_PROBE: Probe = ProbeOfFigures()  # type: ignore[assignment]
NO_EXECUTOR: Executor = OneSink()  # type: ignore[assignment]
NO_JOURNAL: Journal = OneArchive()  # type: ignore[assignment]
NO_PROCESSOR: Processor = ProcessorOfText()  # type: ignore[assignment]
NO_VALIDATOR: InputValidator = OneSink()  # type: ignore[assignment]
NO_PIPELINE: PipelineSource = OneSink()  # type: ignore[assignment]
NO_HOOKS: Hooks = OneSink()  # type: ignore[assignment]


def given_to_a_pool() -> PoolStats:
    pool = WorkerPool(sinks=[OneSink(), "jsonl"], journal=OneJournal())
    pool.replace_processor("words", ProcessorThatAwaits)
    WorkerPool(sinks=[OneProbe()])  # type: ignore[list-item]
    WorkerPool(journal=OneSink())  # type: ignore[arg-type]
    return pool.get_stats()
