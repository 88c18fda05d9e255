"""Documents on their way through the stages of a pipeline: which stage begins next, and how each document ends.

In: that a document came, that one of its stages ended, that it is to end early. Out: the stage to begin next, and what
followed from an end. Pure; called by the driver of one call (`longshore._flow`), by tests and by nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from msgspec import Struct

from longshore._engine.states import CANCELLED, COMPLETED, ENDS, FAILED, PENDING, QUEUED, TIMED_OUT
from longshore.task import TaskState

SKIPPED = TaskState.SKIPPED
_NEARLY = 0.999  # all that a stage says of itself is less than its end


class Node(Struct, frozen=True, kw_only=True):
    """A stage, as far as its place and its bounds go."""

    name: str
    after: Sequence[str] = ()
    critical: bool = True
    most: int | None = None
    """How many of its tasks may be under way at once, over all documents."""
    memory_mb: float = 0.0
    cpu: float = 0.0


class Bounds(Struct, frozen=True, kw_only=True):
    """What the stages of one document may hold together at any time."""

    memory_mb: float
    cpu: float
    stages: int


class Ended(Struct, frozen=True):
    """What followed from an end: stages that will not be run, each with its state, and running ones to be cancelled."""

    unrun: Mapping[str, TaskState] = {}
    cancel: Sequence[str] = ()


class Graph:
    """The stages of a pipeline, and what follows from their order."""

    __slots__ = ("below", "depth", "later_first", "nodes")

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Take stages that form no circle."""
        self.nodes: Mapping[str, Node] = {node.name: node for node in nodes}
        self.depth: dict[str, int] = {}
        """How many stages come before each, at most."""
        self.below: dict[str, set[str]] = {name: set() for name in self.nodes}
        """All stages that depend on each."""
        order = list(TopologicalSorter({node.name: node.after for node in nodes}).static_order())
        for name in order:
            self.depth[name] = max((self.depth[before] + 1 for before in self.nodes[name].after), default=0)
        for name in reversed(order):
            for before in self.nodes[name].after:
                self.below[before] |= {name, *self.below[name]}
        self.later_first = sorted(self.nodes, key=lambda name: -self.depth[name])


class Flow:
    """One document's way. It ends when all its stages have: completed, unless something ended it before.

    A stage begins when all it comes after have ended. A critical stage that does not complete ends the document: what
    depends on it is skipped, what has not begun is cancelled, what runs is to be cancelled. One that is not critical,
    and one that is skipped, lets it go on without a result.
    """

    __slots__ = ("_behind", "_graph", "_shares", "_shown", "ended_by", "number", "states", "under_way", "verdict")

    def __init__(self, number: int, graph: Graph) -> None:
        """Begin with nothing done; `number` is its place among the documents."""
        self.number = number
        self.states: dict[str, TaskState] = dict.fromkeys(graph.nodes, PENDING)
        self.under_way: dict[str, Node] = {}
        """The stages that have begun and not ended."""
        self.verdict: TaskState | None = None
        """How it will have ended, once that is sure."""
        self.ended_by: str | None = None
        """The critical stage that ended it, if one did."""
        self._graph = graph
        self._behind = 0
        self._shares: dict[str, float] = {}
        self._shown = 0.0

    @property
    def over(self) -> bool:
        """Whether all stages have ended."""
        return self.verdict is not None and not self.under_way

    @property
    def state(self) -> TaskState:
        """Where the document is: pending, processing, or its end."""
        if self.over and self.verdict is not None:
            return self.verdict
        begun = any(state is not PENDING for state in self.states.values())
        return TaskState.PROCESSING if begun else PENDING

    @property
    def progress(self) -> float:
        """From 0 to 1; never goes back, and is 1 at the end of a document that completed."""
        done = (self._behind + sum(self._shares.values())) / len(self.states)
        self._shown = 1.0 if self._behind == len(self.states) else max(self._shown, min(done, _NEARLY))
        return self._shown

    @property
    def behind(self) -> int:
        """How many stages it has passed: completed, skipped by condition, or done without."""
        return self._behind

    def share(self, name: str) -> float:
        """Return how far a stage under way says it is."""
        return self._shares.get(name, 0.0)

    def ready(self) -> list[str]:
        """Return the stages that have not begun, and could now for what they come after."""
        if self.verdict is not None:
            return []
        nodes, states = self._graph.nodes, self.states
        return [
            name
            for name, state in states.items()
            if state is PENDING and all(states[before] in ENDS for before in nodes[name].after)
        ]

    def begin(self, name: str) -> None:
        """Have a stage that is ready under way."""
        self.states[name] = QUEUED
        self.under_way[name] = self._graph.nodes[name]

    def advance(self, name: str, share: float) -> None:
        """Know how far a stage under way is."""
        if name in self.under_way:
            self._shares[name] = max(self._shares.get(name, 0.0), min(1.0, share))

    def end(self, name: str, state: TaskState) -> Ended:
        """Have a stage under way ended; return what follows."""
        node = self.under_way.pop(name)
        self.states[name] = state
        share = self._shares.pop(name, 0.0)
        if self.verdict is not None:
            self._shares[name] = 1.0 if state is COMPLETED else share  # it goes no further back for that
            return Ended()
        if node.critical and state in (FAILED, TIMED_OUT, CANCELLED):
            self._shares[name] = share
            self.ended_by = name
            return self.close(state, skip=self._graph.below[name])
        self._behind += 1
        if self._behind == len(self.states):
            self.verdict = COMPLETED
        return Ended()

    def close(self, verdict: TaskState, skip: frozenset[str] | set[str] = frozenset()) -> Ended:
        """Begin nothing more, and end so; stages of `skip` are skipped, others that have not begun cancelled."""
        if self.verdict is not None:
            return Ended()
        self.verdict = verdict
        unrun = {name: SKIPPED if name in skip else CANCELLED for name, s in self.states.items() if s is PENDING}
        self.states.update(unrun)
        return Ended(unrun, list(self.under_way))


class Flows:
    """All documents of one call: later stages first, then the document that came first, within all bounds."""

    __slots__ = ("_blocked", "_bounds", "_graph", "_live", "_ready", "_running", "paused")

    def __init__(self, graph: Graph, bounds: Bounds) -> None:
        """Start without documents."""
        self.paused = False
        """Whether nothing is begun."""
        self._graph = graph
        self._bounds = bounds
        self._live: dict[int, Flow] = {}
        self._ready: dict[str, list[int]] = {name: [] for name in graph.later_first}  # heaps of documents' numbers
        self._blocked: dict[int, list[str]] = {}  # ready, but for the document's own bounds
        self._running = dict.fromkeys(graph.nodes, 0)

    def live(self) -> list[Flow]:
        """Return the documents that have not ended, in the order they came."""
        return list(self._live.values())

    def add(self, number: int) -> Flow:
        """Take a document; its number is higher than those before."""
        flow = self._live[number] = Flow(number, self._graph)
        self._offer(flow, flow.ready())
        return flow

    def next(self) -> tuple[Flow, str] | None:
        """Return the document and the stage of it that is under way from now; None when none can begin."""
        if self.paused:
            return None
        for name, waiting in self._ready.items():
            node = self._graph.nodes[name]
            while waiting and (node.most is None or self._running[name] < node.most):
                flow = self._live.get(heappop(waiting))
                if flow is None or flow.verdict is not None:
                    continue  # it ended while it waited
                if not self._fits(flow, node):
                    self._blocked.setdefault(flow.number, []).append(name)
                    continue
                flow.begin(name)
                self._running[name] += 1
                return flow, name
        return None

    def end(self, flow: Flow, name: str, state: TaskState) -> Ended:
        """Have a stage ended; return what follows."""
        before = set(flow.ready())
        self._running[name] -= 1
        ended = flow.end(name, state)
        self._offer(flow, [*self._blocked.pop(flow.number, ()), *(new for new in flow.ready() if new not in before)])
        self._forget(flow)
        return ended

    def close(self, flow: Flow, verdict: TaskState) -> Ended:
        """End a document early; return what follows."""
        ended = flow.close(verdict)
        self._forget(flow)
        return ended

    def _offer(self, flow: Flow, names: Sequence[str]) -> None:
        for name in names:
            heappush(self._ready[name], flow.number)

    def _fits(self, flow: Flow, node: Node) -> bool:
        running, bounds = flow.under_way.values(), self._bounds
        memory_mb = node.memory_mb + sum(other.memory_mb for other in running)
        cpu = node.cpu + sum(other.cpu for other in running)
        return len(running) < bounds.stages and memory_mb <= bounds.memory_mb and cpu <= bounds.cpu

    def _forget(self, flow: Flow) -> None:
        if flow.over:
            self._live.pop(flow.number, None)
            self._blocked.pop(flow.number, None)
