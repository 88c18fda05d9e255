"""One worker: an actor of Ray's, with a process to itself, that runs one batch at a time.

Runs in Ray's workers, save the names of its concurrency groups. While a batch runs, other threads of the actor answer:
`listen` gives the controller what running tasks say, and ends with the process, by which its death is seen.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray
from longshore.batching.codec import load
from longshore.batching.folders import working_folder
from longshore.batching.running import run_batch
from longshore.batching.spool import read, remove_of
from longshore.batching.words import Batch, Hello, Record
from longshore.batching.yard import Yard

from longshore_ray.survey import this_machine
from longshore_ray.words import RAY, versions

GROUPS: Final = {"listen": 1, "control": 1}
LISTEN_S: Final = 30.0
"""After so long without anything to tell, `listen` answers all the same."""

News = list[tuple[str, object]]


class RayYard(Yard):
    """One pool's place in one worker."""

    def __init__(self, run: str, name: str) -> None:
        """Have nothing to tell."""
        super().__init__(RAY, run, name)
        self.gpus = tuple(int(number) for number in ray.get_gpu_ids() if str(number).isdigit())
        self._changed = threading.Condition()
        self._news: News = []
        self._told = 0

    def tell(self, what: str, facts: object) -> None:
        """Have something for the controller to hear; from any thread."""
        with self._changed:
            self._news.append((what, facts))
            self._changed.notify_all()

    def heard(self, within_s: float) -> tuple[int, News]:
        """Return what is to be told, and how often some was by then; waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, within_s)
            news, self._news = self._news, []
            if news and within_s:
                self._told += 1
            return self._told, news


class Slot:
    """What a pool calls in a worker: each method takes and gives bytes or plain values."""

    def __init__(self, run: str, name: str, paths: Sequence[str] = ()) -> None:
        """Be ready; modules are also looked for in `paths`."""
        sys.path.extend(path for path in paths if path not in sys.path and os.path.exists(path))
        self._yard = RayYard(run, name)

    def hello(self) -> tuple[dict[str, str], str, list[Any]]:
        """Return versions of what counts, the node's id, and a `words.Hello` with no resources."""
        context = ray.get_runtime_context()
        node = context.get_node_id()
        hello = Hello(self._yard.name, node, 1, os.getpid(), self._yard.home, {}, folder=working_folder())
        return versions(), node, list(hello)

    def run(self, payload: bytes) -> bytes:
        """Run a batch; what comes back is a pickle of what `listen` had told, what it had not, and of the result."""
        result = run_batch(self._yard, Batch(*load(payload)))
        told, news = self._yard.heard(0.0)
        return pickle.dumps((told, news, result), 5)

    def listen(self) -> bytes:
        """Wait for something to tell, and return it."""
        return pickle.dumps(self._yard.heard(LISTEN_S), 5)

    def withdraw(self, messages: Mapping[str, str]) -> None:
        """End these attempts."""
        self._yard.withdraw(messages)

    def recall(self, numbers: Sequence[int]) -> list[int]:
        """Have these batches not begin here, and return which won't."""
        return self._yard.recall(numbers)

    def survey(self) -> tuple[float, ...]:
        """Return the fields of a `survey.Machine`: this one."""
        return tuple(this_machine())

    def goodbye(self) -> None:
        """Call what tasks want called at the worker's end."""
        self._yard.close()


def read_of_dead(run: str, home: str, numbers: Sequence[int]) -> dict[int, list[Record] | None] | None:
    """Return what a worker of this machine had written down, and remove it; None where nothing of it is here."""
    found = read(run, home, numbers)
    if found is not None:
        remove_of(run, home)
    return found
