"""Laws of tasks that wait for tasks: whatever tree they make, it comes to its end, with as many at work as may be."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Lend, Reported, Start, Stimulus, Submit, Tangled, Waits
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

Tree = list["Tree"]
TREES: st.SearchStrategy[Tree] = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


def work() -> None:
    """Stand for a user's function."""


class Forest:
    """Tasks that each start their children, some at once, and wait for them; an executor for inner and outer ones."""

    def __init__(self, slots: int, cap: int, *, runs_ahead: bool) -> None:
        self.engine = Engine(EngineConfig(max_concurrent_tasks=cap, max_queue_size=10_000))
        self.slots, self.cap, self.runs_ahead = slots, cap, runs_ahead
        self.lent = {"quay": 0, "yard": 0}
        self.backlog: dict[str, list[str]] = {"quay": [], "yard": []}
        self.at_work: dict[str, str] = {}
        self.waiting: dict[str, str] = {}
        self.left: dict[str, Tree] = {}
        self.open: dict[str, int] = {}
        self.parents: dict[str, str] = {}
        self.ended = 0
        self.handle(*[ExecutorUp(name, slots, runs_ahead) for name in self.lent])

    def handle(self, *stimuli: Stimulus) -> None:
        more: list[Stimulus] = []
        for command in self.engine.handle(stimuli, 0.0):
            assert not isinstance(command, Tangled), command.message
            if isinstance(command, Start):
                self.backlog[command.executor] += [attempt.task_id for attempt in command.attempts]
            elif isinstance(command, Lend):
                self.lent[command.executor] = command.extra
                more.append(ExecutorUp(command.executor, self.slots + command.extra, self.runs_ahead))
        if more:
            self.handle(*more)
        for name, backlog in self.backlog.items():
            while backlog and self.taken(name) < self.slots + self.lent[name]:
                assert list(self.at_work.values()).count(name) < self.slots, "more are begun than there are workers"
                self.at_work[backlog.pop(0)] = name

    def taken(self, name: str) -> int:
        """Return how many workers have a task, at work or waiting."""
        return [*self.at_work.values(), *self.waiting.values()].count(name)

    def submit(self, trees: list[Tree], parent: str = "", executor: str = "quay") -> None:
        ids = [f"{parent}.{number}" for number in range(len(trees))]
        spec = TaskSpec(function=work, name="work", executor=executor)
        for task_id, tree in zip(ids, trees, strict=True):
            self.left[task_id], self.parents[task_id] = tree, parent
        self.open[parent] = len(ids)
        self.handle(Submit(spec, [Attempt(task_id, spec) for task_id in ids]))

    def step(self, draw: Random) -> None:
        """Let one task that is at work go on: it starts its children and waits, or ends."""
        task_id = draw.choice(sorted(self.at_work))
        children, self.left[task_id] = self.left[task_id], []
        if children:
            self.waiting[task_id] = self.at_work.pop(task_id)
            self.submit(children, task_id, draw.choice(["quay", "yard"]))
            self.handle(Waits(task_id, True))
            return
        executor, parent = self.at_work.pop(task_id), self.parents[task_id]
        self.ended += 1
        self.handle(Reported(executor, [Outcome(task_id, None, 0, "work", TaskState.COMPLETED)]))
        self.open[parent] -= 1
        if not self.open[parent] and parent:
            self.handle(Waits(parent, False))
            self.at_work[parent] = self.waiting.pop(parent)


@settings(deadline=None)
@given(
    trees=st.lists(TREES, min_size=1, max_size=4),
    slots=st.integers(1, 3),
    cap=st.integers(1, 8),
    ahead=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_tree_of_tasks_comes_to_its_end(trees: list[Tree], slots: int, cap: int, ahead: bool, seed: int) -> None:
    """No order of starting and ending locks the pool; nothing is begun while as many work as there are workers."""
    forest, draw = Forest(slots, cap, runs_ahead=ahead), Random(seed)
    forest.submit(trees)
    while forest.at_work:
        forest.step(draw)
    assert forest.engine.idle
    assert forest.ended == len(forest.left)
    assert forest.lent == {"quay": 0, "yard": 0}
