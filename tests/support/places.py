"""A worker of `longshore.batching` in this process, and what is read out of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from longshore.batching.codec import dump_code, load
from longshore.batching.running import run_batch
from longshore.batching.words import Batch, Record, Result
from support.clusters import HERE, Gate, HereYard, items


def values(result: Result) -> list[Any]:
    return [load(record.data) for record in result.records]


def hows(result: Result) -> list[str]:
    return [record.how for record in result.records]


def error_of(record: Record) -> Any:
    """Return what is known of the failure in a record."""
    return load(record.data)[1]


class Place:
    """A worker of this process, and what it is given."""

    def __init__(self, yard: HereYard) -> None:
        self.yard = yard
        self._threads = ThreadPoolExecutor(4)
        self._made = 0
        self._gates: list[Gate] = []

    def batch(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], ready: Any = None, **fields: Any
    ) -> Batch:
        """Return a batch of a kind of its own; any: the user's, and its further fields."""
        self._made += 1
        whole = Batch("run", self._made, self._made, "work", None, None, 0, None, None, None, items(calls), ())
        facts = {"code": dump_code(function, ready, HERE), "initializer": self._made if ready else 0, **fields}
        return whole._replace(**facts)

    def run(self, batch: Batch) -> Result:
        """Run it, and return what came of it."""
        return self.start(batch).result(10.0)

    def start(self, batch: Batch) -> Future[Result]:
        """Have it run on a thread of its own."""
        return self._threads.submit(self._result, batch)

    def _result(self, batch: Batch) -> Result:
        records, *facts = load(run_batch(self.yard, batch))
        return Result([Record(*record) for record in records], *facts)

    def gate(self, name: str) -> Gate:
        """Return a gate, which is open at the end of the test."""
        self._gates.append(Gate(name))
        return self._gates[-1]

    def close(self) -> None:
        """Let all go on that waits, and end it."""
        for gate in self._gates:
            gate.open.set()
        self._threads.shutdown()
        self.yard.close()


@contextmanager
def places() -> Iterator[Callable[..., Place]]:
    """Give a maker of workers, which are closed at the end."""
    made: list[Place] = []

    def place(system: Any = HERE) -> Place:  # Any: a System
        made.append(Place(HereYard(system, "run", f"w{len(made)}")))
        return made[-1]

    yield place
    for one in made:
        one.close()
