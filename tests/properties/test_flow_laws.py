"""The laws of documents on their way through a pipeline, whatever graph, whatever ends how, in whatever order.

A plain list of what is under way stands beside `Flows`; time plays no part.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.flow import Bounds, Ended, Flow, Flows, Graph, Node
from longshore.task import TaskState

FAILING = (TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED)
HOW = st.sampled_from([*[TaskState.COMPLETED] * 6, TaskState.SKIPPED, *FAILING])
BOUNDS = st.builds(
    Bounds, memory_mb=st.sampled_from([8.0, 100.0]), cpu=st.sampled_from([2.0, 100.0]), stages=st.integers(1, 4)
)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Return up to six stages; each comes after some of those before."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 6))):
        names = [node.name for node in nodes]
        after = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        node = Node(
            name=f"s{number}",
            after=tuple(after),
            critical=draw(st.booleans()),
            most=draw(st.sampled_from([None, None, 1, 2])),
            memory_mb=draw(st.sampled_from([0.0, 5.0, 8.0])),
            cpu=draw(st.sampled_from([0.0, 1.0, 2.0])),
        )
        nodes.append(node)
    return draw(st.permutations(nodes))


class Watched:
    """Flows, and what must hold of them."""

    def __init__(self, nodes: list[Node], bounds: Bounds) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.bounds = bounds
        self.flows = Flows(Graph(nodes), bounds)
        self.documents: list[Flow] = []
        self.under_way: list[tuple[Flow, str]] = []
        self.ended: dict[int, dict[str, TaskState]] = {}
        self.results: Counter[int] = Counter()
        self.shown: dict[int, float] = {}

    def add(self) -> None:
        flow = self.flows.add(len(self.documents))
        self.documents.append(flow)
        self.ended[flow.number] = {}
        self.shown[flow.number] = 0.0

    def begin(self) -> bool:
        chosen = self.flows.next()
        if chosen is None:
            return False
        flow, name = chosen
        assert not self.flows.paused, "nothing is begun while paused"
        assert flow.verdict is None, "nothing of a document is begun once its end is sure"
        assert chosen not in self.under_way
        assert name not in self.ended[flow.number], "a stage is begun once"
        assert set(self.nodes[name].after) <= self.ended[flow.number].keys(), "a stage comes after its inputs ended"
        self.under_way.append(chosen)
        self.check()
        return True

    def end(self, index: int, state: TaskState) -> None:
        flow, name = self.under_way.pop(index % len(self.under_way))
        self.note(flow, name, state)
        sure = flow.verdict
        ended = self.flows.end(flow, name, state)
        if sure is None and state in FAILING and self.nodes[name].critical:
            assert (flow.verdict, flow.ended_by) == (state, name), "a critical stage decides"
            for other, how in ended.unrun.items():
                depends = self.depends(other, name)
                assert how is (TaskState.SKIPPED if depends else TaskState.CANCELLED)
        elif sure is None:
            assert not ended.unrun, "what is not critical, or is skipped, ends nothing else"
        self.follow(flow, ended)

    def close(self, flow: Flow, verdict: TaskState) -> None:
        sure = flow.verdict
        self.follow(flow, self.flows.close(flow, verdict))
        assert flow.verdict is (sure or verdict), "an end that is sure is not changed"

    def follow(self, flow: Flow, ended: Ended) -> None:
        for name, state in ended.unrun.items():
            self.note(flow, name, state)
        left = [name for other, name in self.under_way if other is flow]
        assert set(ended.cancel) <= set(left), "only what runs is cancelled"
        if flow.over:
            self.results[flow.number] += flow.number not in self.results
            assert not left
            assert self.ended[flow.number].keys() == self.nodes.keys(), "each stage has an end"
            assert flow.states == self.ended[flow.number]
        self.check()

    def note(self, flow: Flow, name: str, state: TaskState) -> None:
        assert name not in self.ended[flow.number], "a stage ends once"
        self.ended[flow.number][name] = state

    def depends(self, name: str, on: str) -> bool:
        return any(before == on or self.depends(before, on) for before in self.nodes[name].after)

    def check(self) -> None:
        """What holds at any time."""
        running = Counter(name for _, name in self.under_way)
        for name, node in self.nodes.items():
            assert node.most is None or running[name] <= node.most, "the bound of a stage, over all documents"
        for flow in self.documents:
            mine = [self.nodes[name] for other, name in self.under_way if other is flow]
            assert len(mine) <= self.bounds.stages
            assert sum(node.memory_mb for node in mine) <= self.bounds.memory_mb
            assert sum(node.cpu for node in mine) <= self.bounds.cpu
            progress = flow.progress
            assert self.shown[flow.number] <= progress <= 1.0, "progress never goes back"
            assert (progress == 1.0) is (flow.state is TaskState.COMPLETED), "and is whole when the document completed"
            self.shown[flow.number] = progress


@settings(deadline=None, max_examples=120)
@given(data=st.data(), nodes=graphs(), bounds=BOUNDS)
@pytest.mark.requirement("req:J03", "req:J06")
def test_documents_keep_the_laws_whatever_happens(data: st.DataObject, nodes: list[Node], bounds: Bounds) -> None:
    """Each document ends once, each stage once and after its inputs, bounds hold, and progress never goes back."""
    watched = Watched(nodes, bounds)
    acts = st.sampled_from(["add", "begin", "begin", "begin", "end", "end", "end", "advance", "close", "pause"])
    for act in data.draw(st.lists(acts, max_size=40)):
        live = watched.flows.live()
        if act == "add":
            watched.add()
        elif act == "begin":
            watched.begin()
        elif act == "end" and watched.under_way:
            watched.end(data.draw(st.integers(0, 9)), data.draw(HOW))
        elif act == "advance" and watched.under_way:
            flow, name = watched.under_way[0]
            flow.advance(name, data.draw(st.floats(0, 1)))
            watched.check()
        elif act == "close" and live:
            verdict = data.draw(st.sampled_from([TaskState.CANCELLED, TaskState.TIMED_OUT]))
            watched.close(data.draw(st.sampled_from(live)), verdict)
        elif act == "pause":
            watched.flows.paused = not watched.flows.paused
    watched.flows.paused = False
    while watched.begin() or watched.under_way:
        while watched.begin():
            pass
        watched.end(data.draw(st.integers(0, 9)), data.draw(HOW))
    assert all(flow.over for flow in watched.documents), "nothing is left that can't begin"
    assert watched.results == Counter(range(len(watched.documents))), "each document ends exactly once"
    assert watched.flows.live() == []


def line(*names: str, **options: object) -> list[Node]:
    """Return stages one after another."""
    return [
        Node(name=name, after=names[index - 1 : index] if index else (), **options) for index, name in enumerate(names)
    ]


def test_a_document_that_is_nearly_done_goes_first() -> None:
    """Of all that could begin, the latest stage goes first, then the document that came first."""
    flows = Flows(Graph(line("a", "b", "c")), Bounds(memory_mb=1, cpu=1, stages=4))
    first, second, third = (flows.add(number) for number in range(3))
    assert flows.next() == (first, "a")
    assert flows.next() == (second, "a")
    flows.end(second, "a", TaskState.COMPLETED)
    assert flows.next() == (second, "b")
    flows.end(first, "a", TaskState.COMPLETED)
    flows.end(second, "b", TaskState.COMPLETED)
    assert [flows.next() for _ in range(4)] == [(second, "c"), (first, "b"), (third, "a"), None]


def test_what_its_document_has_no_room_for_waits_for_that_only() -> None:
    """A stage that its own document holds up begins when that has room, and holds up no other document."""
    nodes = [Node(name="a", memory_mb=6), Node(name="b", memory_mb=6)]
    flows = Flows(Graph(nodes), Bounds(memory_mb=10, cpu=1, stages=4))
    first, second = flows.add(0), flows.add(1)
    assert [flows.next() for _ in range(3)] == [(first, "a"), (second, "a"), None]
    flows.end(second, "a", TaskState.COMPLETED)
    assert [flows.next() for _ in range(2)] == [(second, "b"), None]
    flows.end(first, "a", TaskState.COMPLETED)
    assert flows.next() == (first, "b")


def test_progress_counts_what_running_stages_say() -> None:
    """Progress is what is behind and what running stages say, over all stages; a retry does not set it back."""
    flows = Flows(Graph(line("a", "b")), Bounds(memory_mb=1, cpu=1, stages=4))
    flow = flows.add(0)
    flows.next()
    flow.advance("a", 0.5)
    assert flow.progress == pytest.approx(0.25)
    flow.advance("a", 0.0)
    assert flow.progress == pytest.approx(0.25)
    flows.end(flow, "a", TaskState.COMPLETED)
    flows.next()
    flow.advance("b", 1.0)
    assert 0.9 < flow.progress < 1.0
    flows.end(flow, "b", TaskState.FAILED)
    assert flow.progress < 1.0
    assert flow.state is TaskState.FAILED
