"""The rows of the benchmark: what is measured, against whom, and what is expected of it."""

from __future__ import annotations

from dataclasses import dataclass

TASKS, SMALL_TASKS = 100_000, 2_000


@dataclass(frozen=True)
class Peer:
    """Another way to do the same work, and how many times faster ours has to be: at least, and as a goal."""

    side: str
    title: str
    floor: float
    goal: float
    goal_eager: float | None = None
    """The goal where asyncio can start a task eagerly (Python 3.12 and later), if it is another one."""

    def goal_on(self, python: tuple[int, int]) -> float:
        """Return the goal on this version of Python."""
        return self.goal_eager if self.goal_eager is not None and python >= (3, 12) else self.goal


@dataclass(frozen=True)
class Limit:
    """A bound on a figure of ours alone: at the most, and as a goal."""

    unit: str
    floor: float
    goal: float


@dataclass(frozen=True)
class Row:
    """One kind of work: our sides, and either peers to compare with or a limit to stay under."""

    key: str
    work: str
    ours: tuple[str, ...]
    peers: tuple[Peer, ...] = ()
    limit: Limit | None = None
    n: int = TASKS
    small_n: int = SMALL_TASKS

    @property
    def sides(self) -> tuple[str, ...]:
        """All sides, in the order of a round."""
        return self.ours + tuple(peer.side for peer in self.peers)


_GATHER = "Semaphore + gather"

ROWS = (
    Row(
        "1",
        "async no-ops, a Task each",
        ("ours_async", "ours_async_sink"),
        (Peer("semaphore_gather", _GATHER, 1.8, 2.8, 3.5),),
    ),
    Row(
        "1b",
        "async no-ops, shared",
        ("ours_shared", "ours_shared_sink"),
        (Peer("semaphore_gather", _GATHER, 3.0, 5.0, 3.2),),
    ),
    Row(
        "2",
        "async no-ops, shared",
        ("ours_shared", "ours_shared_sink"),
        (Peer("queue_timeout", "queue workers + asyncio.timeout", 1.0, 1.5),),
    ),
    Row(
        "3",
        "async no-ops, a Task each",
        ("ours_async",),
        (
            Peer("aiometer_amap", "aiometer", 5.0, 10.0),
            Peer("taskiq_memory", "taskiq, in memory", 10.0, 20.0),
            Peer("anyio_limiter", "anyio CapacityLimiter", 15.0, 30.0),
        ),
    ),
    Row(
        "4",
        "thread no-ops, lazy",
        ("ours_threads", "ours_threads_sink"),
        (Peer("mp_threadpool", "multiprocessing ThreadPool imap_unordered", 2.0, 5.0),),
    ),
    Row(
        "6",
        "process no-ops, nothing tuned",
        ("ours_processes", "ours_processes_sink"),
        (
            Peer("mpire_auto", "mpire map_unordered", 2.0, 4.0),
            Peer("joblib_auto", "joblib, auto batch", 1.5, 3.5),
        ),
    ),
    Row(
        "13",
        "growth of the controller, lazy no-ops",
        ("ours_memory_shared", "ours_memory_threads"),
        limit=Limit("MB", 64.0, 16.0),
        n=1_000_000,
        small_n=20_000,
    ),
    Row(
        "15",
        "async no-ops beside a slow subscriber",
        ("ours_async_slow",),
        (Peer("ours_async", "the same without one", 0.95, 0.99),),
        n=10_000,
    ),
    Row(
        "16",
        "idle pool, all executors up",
        ("ours_idle",),
        limit=Limit("% of a core", 0.5, 0.1),
        n=10,
        small_n=1,
    ),
)
