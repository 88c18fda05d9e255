"""What travels between the controller and a worker far away: a batch of attempts, and what came of each of them.

All of it is pickled by us, so that to the system in between a batch and its result are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

PROGRESS: Final = "progress"
CUT: Final = "cut"
"""A batch is slow, and ends with the attempt that it is at: what stands behind it is to go elsewhere."""
FINISHED: Final = "finished"
"""What has ended of a batch that goes on: whoever waits for it need not wait for the rest."""

DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
TIMED_OUT: Final = "timed out"
UNREADY: Final = "unready"


class System(NamedTuple):
    """The system whose workers are used, as messages and decisions need it; constant for an executor."""

    executor: str
    """The executor's name, such as "dask"."""
    title: str
    """What people call the system."""
    given_up: str
    """What becomes of an attempt that is past its limit, or cancelled, in words."""
    sends_modules: str
    """By what means of its own the system takes a module to its workers, in words."""
    kills: bool = False
    """Whether a worker that gave up an attempt is ended, and its batch with it; else another thread goes on there."""

    def worker(self, name: str) -> str:
        """Return what a worker is called in messages."""
        return f"the {self.title} worker {name}"


class End(NamedTuple):
    """What is known of how a worker ended."""

    why: str = ""
    """In words; empty where nothing is said."""
    memory: bool = False
    """Whether it was ended for the memory that its machine is short of."""


class Item(NamedTuple):
    """One attempt of a batch."""

    task_id: str
    number: int
    left_s: float | None
    """How long it may take over all its attempts from here on."""
    data: bytes
    """A pickle of its arguments."""


class Batch(NamedTuple):
    """Attempts of one kind for one worker."""

    run: str
    number: int
    kind: int
    name: str
    timeout_s: float | None
    soft_timeout_s: float | None
    initializer: int
    """The number of the initializer, which many kinds may have; 0 for none."""
    initializer_timeout_s: float | None
    max_result_bytes: int | None
    code: bytes | None
    """A pickle of function and initializer; None where the worker has them."""
    items: Sequence[Item]
    settled: Sequence[int]
    """Batches of this worker whose results have arrived: what it wrote down of them may go."""
    ahead: bool = False
    """Whether others may be sent to wait behind it: it tells then when it turns out slow."""


class Record(NamedTuple):
    """What came of one attempt."""

    how: str
    started_s: float
    """Since its batch began."""
    ran_s: float
    cpu_s: float | None
    data: bytes
    """A pickle: of the value, or of the error's record and a pickle of the exception."""


class Result(NamedTuple):
    """What came of a batch: records of its first attempts, in order; the others were not begun."""

    records: Sequence[Record]
    took_s: float
    lacks_code: bool = False
    abandoned: int = 0
    """How many functions go on in threads of this worker that were given up."""
    spent: bool = False
    """Whether this worker has given an attempt up, and is to be ended."""


class Hello(NamedTuple):
    """What a worker says of itself."""

    name: str
    host: str
    """Its machine: workers of the same one can read what each other wrote down."""
    threads: int
    pid: int
    home: str | None
    """Its file in the folder where it writes down what it does; None where it can't."""
    resources: dict[str, float]
    memory_mb: float | None = None
    """What the system lets it have; None where that has no limit."""
    folder: str = ""
    """What relative paths count from there; empty where it does not know."""


__all__ = [
    "CANCELLED",
    "CUT",
    "DONE",
    "FAILED",
    "FINISHED",
    "PROGRESS",
    "TIMED_OUT",
    "UNREADY",
    "Batch",
    "End",
    "Hello",
    "Item",
    "Record",
    "Result",
    "System",
]
