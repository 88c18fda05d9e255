"""One document under way: its clock, its events, its result; time is a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from longshore._engine.flow import Bounds, Flow, Flows, Graph, Node
from longshore._flow_documents import Document, Expiring, FlowEvents, as_context
from longshore.events import EventBatch, Happened
from longshore.pipeline import Step
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.task import Outcome, TaskState


@pytest.mark.anyio
@pytest.mark.requirement("req:J02")
async def test_pauses_take_nothing_of_a_documents_time() -> None:
    """The clock of the pipeline's timeout stands still while the run is paused."""
    now, ended = [0.0], []
    expiring = Expiring(60.0, ended.append, lambda: now[0])
    graph = Graph([Node(name="a")])
    first, second = (Document(ProcessorContext(document_id=name), Flow(0, graph), name) for name in "xy")
    expiring.add(first)
    expiring.pause()
    now[0] = 1000.0
    expiring.add(second)
    expiring.unpause()
    assert ended == []
    now[0] = 1059.9
    expiring.unpause()
    assert ended == []
    now[0] = 1060.1
    expiring.pause()
    assert ended == []
    expiring.unpause()
    assert ended == [first, second]
    expiring.close()


@pytest.mark.anyio
@pytest.mark.requirement("req:J04")
async def test_progress_is_told_at_most_ten_times_a_second() -> None:
    """The first and the last are told at once; of those between one for each tenth of a second, the latest included."""
    now, told = [0.0], []

    def publish(batch: EventBatch) -> None:
        assert isinstance(batch, Happened)
        told.append((now[0], batch.data["progress"]))

    events = FlowEvents("p", publish, lambda: now[0])
    flows = Flows(Graph([Node(name="a")]), Bounds(memory_mb=1, cpu=1, stages=1))
    flow = flows.add(0)
    document = Document(ProcessorContext(document_id="d"), flow, "id")
    events.progress(document)
    flows.next()
    for step in range(1, 13):
        now[0] = step / 32
        flow.advance("a", step / 32)
        events.progress(document)
    assert told == [(0.0, 0.0), (0.125, 0.125), (0.25, 0.25), (0.375, 0.375)]
    now[0] = 0.4
    flow.advance("a", 0.4)
    events.progress(document)
    now[0] = 0.5
    events._catch_up()
    assert told[-1] == (0.5, 0.4)
    flows.end(flow, "a", TaskState.COMPLETED)
    events.progress(document)
    assert told[-1] == (0.5, 1.0)
    events.close()
    events._catch_up()
    assert len(told) == 6


def test_a_path_stands_for_its_file() -> None:
    """A document is its context, or the path of a file, which is its id then."""
    context = ProcessorContext(document_id="d")
    assert as_context(context) is context
    assert as_context("a/b.txt") == as_context(Path("a/b.txt"))
    assert as_context("a/b.txt") == ProcessorContext(document_id="a/b.txt", file_path="a/b.txt")
    with pytest.raises(TypeError):
        as_context(3)  # type: ignore[arg-type]  # the point


def outcome(name: str, value: Any) -> Outcome:
    return Outcome("t", "d", 0, name, TaskState.COMPLETED, value)


def test_the_value_is_that_of_the_last_stages() -> None:
    """Of one last stage its result, the data of a ProcessorResult; of several those that completed, by name."""
    flows = Flows(Graph([Node(name=name, critical=False) for name in "abc"]), Bounds(memory_mb=1, cpu=1, stages=9))
    flow = flows.add(0)
    document = Document(ProcessorContext(document_id="d"), flow, "id")
    steps = {name: Step(name=name, function=len) for name in "abc"}
    ends = {"a": outcome("a", ProcessorResult(data={"n": 1})), "b": outcome("b", 2)}
    ends["c"] = document.unrun(steps["c"], TaskState.FAILED)
    for name, end in ends.items():
        flows.next()
        document.add(steps[name], end)
        flows.end(flow, name, end.state)
    result = document.result(list(steps.values()))
    assert (result.ok, result.value, result.failure) == (True, {"a": {"n": 1}, "b": 2}, None)
    only_last = [Step(name="a", function=len, final=False), Step(name="b", function=len, final=False), steps["c"]]
    assert document.result(only_last).value is None
