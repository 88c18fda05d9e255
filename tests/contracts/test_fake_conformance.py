"""The fakes of `longshore.testing` keep what all plugins of their kind do, and so does a processor of coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from longshore.hookspecs import Probe, Processor, Sink, hookimpl
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult
from longshore.records import Bound, Reading, Usage
from longshore.testing import (
    ProbeConformance,
    ProcessorConformance,
    RecordingSink,
    ScriptedProbe,
    SinkConformance,
)


class TestRecordingSink(SinkConformance):
    @pytest.fixture
    def make_sink(self) -> Callable[[], Sink]:
        return RecordingSink


class TestScriptedProbe(ProbeConformance):
    @pytest.fixture
    def make_probe(self) -> Callable[[], Probe]:
        memory = Usage.within([Bound("host", 500.0, 1000.0), Bound("cgroup /a", 200.0, 300.0)], 100.0)
        return lambda: ScriptedProbe([Reading(datetime.now(UTC), {"cpu": Usage(0.5, 1.0, 0.25), "memory": memory})])


class Counting:
    """Counts characters, one document at a time, on the loop that it was first used on."""

    metadata = ProcessorMetadata(name="count", version="1", is_io_intensive=True)

    @hookimpl
    def initialize(self) -> None:
        self._turn = asyncio.Lock()

    @hookimpl
    async def process(self, context: ProcessorContext) -> ProcessorResult:
        async with self._turn:
            await asyncio.sleep(0)
            text = context.metadata.get("text")
            if text is None:
                return ProcessorResult(status="failed", errors=["it has no text"])
            return ProcessorResult(data={"characters": len(text)})

    @hookimpl
    def cleanup(self) -> None: ...

    @hookimpl
    def health_check(self) -> bool:
        return True


class TestCoroutines(ProcessorConformance):
    """A processor whose `process` is a coroutine function is tried like any other."""

    @pytest.fixture
    def make_processor(self) -> Callable[[], Processor]:
        return Counting

    @pytest.fixture
    def good_contexts(self) -> Sequence[ProcessorContext]:
        return [ProcessorContext(document_id=text, metadata={"text": text}) for text in ("one", "three")]

    @pytest.fixture
    def bad_contexts(self) -> Sequence[ProcessorContext]:
        return [ProcessorContext(document_id="none")]
