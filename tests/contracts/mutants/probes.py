"""Probes that break one promise each. They read a machine of 2 cores and 1000 MB that nothing happens on."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import nan
from typing import Any, Final

from longshore.hookspecs import hookimpl
from longshore.records import Bound, Reading, ReadRequest, Usage, WorkerUsage
from longshore.testing import ProbeConformance, ScriptedProbe
from msgspec.structs import replace
from mutants._spreading import spreading

CPU: Final = Usage(0.5, 1.0, 0.25)
MEMORY: Final = Usage.within([Bound("host", 500.0, 1000.0)], 100.0)


class Suite(ProbeConformance):
    """With little patience, and few readings."""

    patience_s = 1.0
    readings = 10


SUITE: Final = Suite


class GoodProbe(ScriptedProbe):
    """Reads the same figures at each moment, and those of workers that live."""

    def __init__(self, **usage: Usage) -> None:
        super().__init__([Reading(datetime.now(UTC), {"cpu": CPU, "memory": MEMORY, **usage})])

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        workers = {pid: WorkerUsage(0.1, 10.0) for pid in request.worker_pids if lives(pid)}
        return replace(super().read(request), at=datetime.now(UTC), workers=workers)

    def close(self) -> None:
        """Let go of nothing."""


GOOD: Final = GoodProbe


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class WithoutRead(GoodProbe):
    """its `read` is not marked with @hookimpl"""

    def read(self, request: ReadRequest) -> Reading:
        return super().read(request)


class OfTheFuture(GoodProbe):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(GoodProbe):
    """opens a file when it is made"""

    def __init__(self) -> None:
        super().__init__()
        os.open(os.devnull, os.O_RDONLY)


class Nameless(GoodProbe):
    """names no resource"""

    resources: Sequence[str] = ()


class Timeless(GoodProbe):
    """is to be read at intervals of infinite length"""

    period_s = float("inf")


class Fickle(GoodProbe):
    """names its resources only once it has read"""

    @property
    def resources(self) -> Sequence[str]:
        return ("cpu", "memory") if self.requests else ("cpu",)


class Plain(GoodProbe):
    """gives a plain dict for a Reading"""

    @hookimpl
    def read(self, request: ReadRequest) -> Any:
        return dict(super().read(request).usage)


class Bare(GoodProbe):
    """gives bare numbers where Usage is due"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        return replace(super().read(request), usage={"cpu": 0.5})


def stray() -> GoodProbe:
    """reads disks, which it does not name as a resource"""
    return GoodProbe(**{"disk_io.read": Usage(1.0)})


class Misspelt(GoodProbe):
    """spells the parts of disk_io its own way"""

    resources = ("cpu", "memory", "disk_io")

    def __init__(self) -> None:
        super().__init__(**{"disk_io.reads": Usage(1.0)})


def missing_figure() -> GoodProbe:
    """gives NaN for what it could not read"""
    return GoodProbe(memory=Usage(nan, 1000.0))


class Over(GoodProbe):
    """tells how busy a GPU is in thousandths"""

    resources = ("cpu", "memory", "gpu")

    def __init__(self) -> None:
        super().__init__(**{"gpu.0": Usage(350.0)})


def in_bytes() -> GoodProbe:
    """tells memory in bytes"""
    return GoodProbe(memory=Usage(500e6, 1e15))


def overfull() -> GoodProbe:
    """has more memory used than the machine has"""
    return GoodProbe(memory=Usage.within([Bound("host", 2500.0, 1000.0)]))


class OfAnotherGpu(GoodProbe):
    """takes what is used of a GPU's memory from one, and what there is from another"""

    resources = ("cpu", "memory", "gpu_memory")

    def __init__(self) -> None:
        super().__init__(**{"gpu_memory.0": Usage(5.0, 2.0)})


def counts_twice() -> GoodProbe:
    """has the pool use more memory than there is"""
    return GoodProbe(memory=Usage(500.0, 1000.0, 1500.0))


class Naive(GoodProbe):
    """stamps its readings without a time zone"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        return replace(super().read(request), at=datetime.now())


class Backwards(GoodProbe):
    """stamps each reading a second before the last one"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        reading = super().read(request)
        return replace(reading, at=reading.at - timedelta(seconds=len(self.requests)))


class Nosy(GoodProbe):
    """tells of this process, for which nobody has asked"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        return replace(super().read(request), workers={os.getpid(): WorkerUsage(1.0, 10.0)})


class Falling(GoodProbe):
    """tells the CPU seconds of a worker since the reading before"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        reading = super().read(request)
        return replace(reading, workers={pid: WorkerUsage(1.0 / len(self.requests), 10.0) for pid in reading.workers})


class Mourning(GoodProbe):
    """raises where a worker has ended"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        for pid in request.worker_pids:
            os.kill(pid, 0)
        return super().read(request)


class Taking(GoodProbe):
    """takes the workers out of the request one by one"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        reading = super().read(request)
        pids: Any = request.worker_pids
        while isinstance(pids, list) and pids:
            pids.pop()
        return reading


class Hanging(GoodProbe):
    """waits for what never comes"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        threading.Event().wait()
        return super().read(request)


class Reusing(GoodProbe):
    """fills the same mapping anew with each reading"""

    def __init__(self) -> None:
        super().__init__()
        self.usage: dict[str, Usage] = {}

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        self.usage |= {"cpu": Usage(float(len(self.requests)), 1.0)}
        return replace(super().read(request), usage=self.usage)


class Faithful(GoodProbe):
    """can be read on the thread that read it first, and on no other"""

    thread: int | None = None

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        self.thread = self.thread or threading.get_ident()
        if self.thread != threading.get_ident():
            raise RuntimeError("objects made in a thread can only be used in that same thread")
        return super().read(request)


class Shared(GoodProbe):
    """closes what all of its class read from"""

    source = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        self.source.set()

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        if not self.source.is_set():
            raise ValueError("read of a closed file")
        return super().read(request)

    def close(self) -> None:
        self.source.clear()


class Ended(GoodProbe):
    """cannot be read once it was closed"""

    closed = False

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        if self.closed:
            raise ValueError("read of a closed file")
        return super().read(request)

    def close(self) -> None:
        self.closed = True


class Once(GoodProbe):
    """raises when it is closed and was not read"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        self.source = [request]
        return super().read(request)

    def close(self) -> None:
        self.source.clear()


class Threaded(GoodProbe):
    """starts a thread with each reading, and ends none"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        threading.Thread(target=threading.Event().wait, args=(5.0,), name="reader", daemon=True).start()
        return super().read(request)


class Leaky(GoodProbe):
    """opens a file for each reading, and shuts none"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        os.open(os.devnull, os.O_RDONLY)
        return super().read(request)


class Logging(GoodProbe):
    """sets up the program's log with each reading"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        logging.getLogger().addHandler(logging.NullHandler())
        return super().read(request)


class Chatty(GoodProbe):
    """prints what it reads"""

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        reading = super().read(request)
        print(reading)
        return reading


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": WithoutRead,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_it_names_what_it_reads": Nameless,
    "test_its_period_is_a_time": Timeless,
    "test_what_it_says_of_itself_stays": Fickle,
    "test_it_gives_a_reading": Bare,
    "test_its_keys_are_those_of_its_resources": stray,
    "test_its_keys_are_spelt_as_the_pool_reads_them": Misspelt,
    "test_its_figures_are_amounts": missing_figure,
    "test_percentages_end_at_100": Over,
    "test_its_figures_have_the_units_of_the_contract": in_bytes,
    "test_no_more_memory_is_used_than_there_is": [overfull, OfAnotherGpu],
    "test_our_own_part_is_a_part": counts_twice,
    "test_it_says_when_it_read": Naive,
    "test_time_never_goes_back": Backwards,
    "test_workers_are_those_that_were_asked_for": Nosy,
    "test_a_living_worker_has_plausible_figures": Falling,
    "test_a_worker_that_is_gone_disturbs_nobody": Mourning,
    "test_the_request_is_left_as_it_is": Taking,
    "test_a_reading_comes_back": Hanging,
    "test_an_older_reading_stays_as_it_was": Reusing,
    "test_it_can_be_read_on_another_thread": Faithful,
    "test_two_probes_do_not_disturb_each_other": Shared,
    "test_a_reading_after_its_end_opens_anew": Ended,
    "test_it_may_be_closed_twice_and_unread": Once,
    "test_readings_leave_no_thread": Threaded,
    "test_readings_leave_no_open_file": Leaky,
    "test_readings_change_nothing_for_others": [Logging, *spreading(GoodProbe, "read")],
    "test_it_prints_nothing": Chatty,
}
