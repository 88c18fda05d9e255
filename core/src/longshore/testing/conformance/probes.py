"""What every probe keeps: inherit from `ProbeConformance`, say how one is made, and run pytest."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore._cpus import usable_cpus
from longshore.hookspecs import Probe
from longshore.records import Reading, ReadRequest, Usage, WorkerUsage
from longshore.testing.conformance._aside import Aside
from longshore.testing.conformance._common import Common, CommonConformance
from longshore.testing.conformance._held import Held
from longshore.testing.conformance._plugin import MakePlugin

MakeProbe = Callable[[], Probe]
PARTS = {
    "cpu": ("",),
    "memory": ("",),
    "disk_io": ("read", "write"),
    "network_io": ("sent", "received"),
    "gpu": ("N",),
    "gpu_memory": ("N",),
    "gpu_temperature": ("N",),
    "gpu_power": ("N",),
}
"""What follows in a reading's keys on each resource that the pool knows: nothing, a word, or the number of a device."""
_HOST = "host"
"""The name of the bound that is the machine itself."""
PERCENT = ("gpu", "pressure")
"""What is measured in percent."""


class ProbeConformance(CommonConformance):
    """The contract of `longshore.hookspecs.Probe`, as tests; a subclass has the fixture `make_probe`."""

    kind = "probes"
    readings: int = 50
    """How often it is read to see what that leaves behind."""
    measures_here: bool = True
    """Whether the figures are of the machine that the tests run on; of another one their size can't be judged."""

    @pytest.fixture
    def make_probe(self) -> MakeProbe:
        """Return what makes a fresh probe each time it is called; to be had from the subclass."""
        raise NotImplementedError("the class that inherits ProbeConformance needs a fixture make_probe")

    @pytest.fixture
    def make_plugin(self, make_probe: MakeProbe) -> MakePlugin:
        """Return the same, for what every plugin keeps."""
        return make_probe

    # ---- what it says of itself

    def test_it_names_what_it_reads(self, make_probe: MakeProbe) -> None:
        """`resources` names at least one, each once, in words that can begin a key of a reading."""
        named = list(make_probe().resources)
        assert named, "Probe.resources is empty: a probe names what it reads, such as ('cpu', 'memory')"
        assert len(set(named)) == len(named), f"Probe.resources names something twice: {named}"
        wrong = [name for name in named if not name or "." in name or any(map(str.isspace, name))]
        assert not wrong, f"Probe.resources holds {wrong}: a resource is a word such as 'disk_io', without its parts"

    def test_its_period_is_a_time(self, make_probe: MakeProbe) -> None:
        """`period_s` is a finite number of seconds above 0: it is how long a pool waits between two readings."""
        period_s: Any = make_probe().period_s  # Any: a plugin may give anything
        sound = isinstance(period_s, int | float) and not isinstance(period_s, bool) and 0 < period_s < math.inf
        assert sound, f"Probe.period_s is {period_s!r}, not a finite number of seconds above 0"

    def test_what_it_says_of_itself_stays(self, make_probe: MakeProbe) -> None:
        """`resources` and `period_s` are the same before and after a reading."""
        probe = make_probe()
        before = list(probe.resources), probe.period_s
        with self.reading(probe) as read:
            read()
        after = list(probe.resources), probe.period_s
        assert after == before, f"Probe.resources and period_s were {before} and are {after} after a reading"

    # ---- a reading

    def test_it_gives_a_reading(self, make_probe: MakeProbe) -> None:
        """`read` gives a Reading of Usage by key, and of WorkerUsage by process id."""
        with self.reading(make_probe()) as read:
            reading = read()
        assert isinstance(reading, Reading), f"Probe.read gave {reading!r}, not a Reading"
        usage: Any = reading.usage  # Any: a plugin may give anything
        workers: Any = reading.workers  # Any: as above
        strange = [key for key, one in usage.items() if not (isinstance(key, str) and isinstance(one, Usage))]
        assert not strange, f"Reading.usage is to hold a Usage for each key, which is a str; not so: {strange}"
        strange = [pid for pid, one in workers.items() if not (isinstance(pid, int) and isinstance(one, WorkerUsage))]
        assert not strange, f"Reading.workers is to hold a WorkerUsage for each process id; not so: {strange}"

    def test_its_keys_are_those_of_its_resources(self, make_probe: MakeProbe) -> None:
        """A key is a resource that the probe names, or begins with one and a dot; so it is known who measures what."""
        probe = make_probe()
        with self.reading(probe) as read:
            keys = list(read().usage)
        named = {*probe.resources, "pressure"}
        strange = [key for key in keys if key.partition(".")[0] not in named]
        assert not strange, f"Reading.usage has {strange}, and Probe.resources names {sorted(probe.resources)} only"

    def test_its_keys_are_spelt_as_the_pool_reads_them(self, make_probe: MakeProbe) -> None:
        """Of what the pool knows a key is spelt as the contract says: what is spelt otherwise, no limit ever meets."""
        with self.reading(make_probe()) as read:
            keys = list(read().usage)
        for key in keys:
            resource, _, part = key.partition(".")
            wanted = PARTS.get(resource, (part,))
            fits = part.isdecimal() if wanted == ("N",) else part in wanted
            spelt = " or ".join(f"{resource}.{one}".rstrip(".") for one in wanted)
            assert fits, f"Reading.usage has the key {key!r}, where the contract has {spelt}"

    def test_its_figures_are_amounts(self, make_probe: MakeProbe) -> None:
        """What is used, what there is and our own part are plain numbers: finite, and 0 or above."""
        with self.reading(make_probe()) as read:
            read()
            usage = read().usage
        for key, one in usage.items():
            bounds = [figure for bound in one.bounds for figure in (bound.used, bound.capacity)]
            for figure in (one.used, one.capacity or 0, one.own or 0, *bounds):
                assert _is_amount(figure), (
                    f"Reading.usage[{key!r}] holds {figure!r}: a finite int or float of at least 0 is due"
                )

    def test_percentages_end_at_100(self, make_probe: MakeProbe) -> None:
        """What is measured in percent (gpu.N, pressure.*) is at most 100, and of 100 where it has a capacity."""
        with self.reading(make_probe()) as read:
            usage = read().usage
        for key, one in usage.items():
            if key.partition(".")[0] in PERCENT:
                assert one.used <= 100, f"Reading.usage[{key!r}].used is {one.used}: it is in percent, 0 to 100"
                assert one.capacity in (None, 100), (
                    f"Reading.usage[{key!r}].capacity is {one.capacity}, and percent are of 100"
                )

    def test_its_figures_have_the_units_of_the_contract(self, make_probe: MakeProbe) -> None:
        """CPU is told in cores and memory in MB of 10**6 bytes: there is no more of either than this machine has."""
        if not self.measures_here:
            pytest.skip("measures_here is False: it measures another machine")
        with self.reading(make_probe()) as read:
            usage = read().usage
        for key, unit, most in (("cpu", "cores", os.cpu_count() or usable_cpus()), ("memory", "MB", _memory_mb())):
            capacity = usage[key].capacity if key in usage else None
            fits = capacity is None or 0 < capacity <= most * 1.05
            assert fits, (
                f"Reading.usage[{key!r}].capacity is {capacity}: it is in {unit}, and this machine has {most:.0f}"
            )

    def test_no_more_memory_is_used_than_there_is(self, make_probe: MakeProbe) -> None:
        """Of a machine's memory and a GPU's at most all is used; a limit may be exceeded, of a group or of CPU."""
        with self.reading(make_probe()) as read:
            usage = read().usage
        for key, one in usage.items():
            if key.partition(".")[0] in ("memory", "gpu_memory"):
                levels = [(bound.used, bound.capacity) for bound in one.bounds if bound.name == _HOST]
                levels += [(one.used, one.capacity)] if one.capacity and not (one.bounds or one.parts) else []
                over = [f"{used} of {capacity}" for used, capacity in levels if used > capacity]
                assert not over, f"Reading.usage[{key!r}] has {over} used: there can't be more than there is"

    def test_our_own_part_is_a_part(self, make_probe: MakeProbe) -> None:
        """Of memory, what we use ourselves is no more than there is: else all that others do would count as nothing."""
        with self.reading(make_probe()) as read:
            usage = read().usage
        for key, one in usage.items():
            if key.partition(".")[0] in ("memory", "gpu_memory") and one.own is not None:
                there = one.used if one.capacity is None else one.capacity
                assert one.own <= there, (
                    f"Reading.usage[{key!r}].own is {one.own}, more than the {there} that there are"
                )

    def test_it_says_when_it_read(self, make_probe: MakeProbe) -> None:
        """`at` is the moment of the reading, with a time zone."""
        with self.reading(make_probe()) as read:
            at, now = read().at, datetime.now(UTC)
        assert at.tzinfo is not None, f"Reading.at is {at!r} without a time zone: datetime.now(UTC) has one"
        off_s = abs((now - at).total_seconds())
        assert off_s <= 60 + self.patience_s, (
            f"Reading.at is {at!r}, {off_s:.0f} s off: it is the moment of the reading"
        )

    def test_time_never_goes_back(self, make_probe: MakeProbe) -> None:
        """A later reading is not stamped earlier."""
        with self.reading(make_probe()) as read:
            stamps = [read().at for _ in range(5)]
        assert stamps == sorted(stamps), f"Reading.at went back from one reading to the next: {stamps}"

    # ---- workers

    def test_workers_are_those_that_were_asked_for(self, make_probe: MakeProbe) -> None:
        """Of processes that the request does not name nothing is told in `workers`; without any, nothing at all."""
        with _child() as pid, self.reading(make_probe()) as read:
            reading, alone = read(pid), read()
        strangers = set(reading.workers) - {pid}
        assert not strangers, f"Reading.workers tells of {strangers}, which ReadRequest.worker_pids does not name"
        assert not alone.workers, f"Reading.workers is {alone.workers} where ReadRequest.worker_pids is empty"

    def test_a_living_worker_has_plausible_figures(self, make_probe: MakeProbe) -> None:
        """Of a worker that lives, where it is told of: CPU seconds that never fall, and a memory in MB that can be."""
        with _child() as pid, self.reading(make_probe()) as read:
            first, second = read(pid).workers.get(pid), read(pid).workers.get(pid)
        if first is None or second is None:
            pytest.skip("it does not account for workers")
        assert _is_amount(first.cpu_s), f"WorkerUsage.cpu_s is {first.cpu_s!r}: CPU seconds since its start are due"
        assert second.cpu_s >= first.cpu_s, f"WorkerUsage.cpu_s fell from {first.cpu_s} to {second.cpu_s}"
        fits = 0 < first.memory_mb <= (_memory_mb() if self.measures_here else math.inf)
        assert fits, f"WorkerUsage.memory_mb is {first.memory_mb} for a process that lives: MB are due"

    def test_a_worker_that_is_gone_disturbs_nobody(self, make_probe: MakeProbe) -> None:
        """A process that has ended raises nothing, is left out, and costs the figures of all others nothing."""
        me = os.getpid()
        with self.reading(make_probe()) as read:
            with _child() as pid:
                before = read(pid, me)
            after = read(pid, me)
        assert pid not in after.workers, f"Reading.workers has {after.workers[pid]} for process {pid}, which has ended"
        lost = [*(set(before.usage) - set(after.usage)), *(set(before.workers) - set(after.workers) - {pid})]
        assert not lost, f"once a worker has ended, Reading lacks {lost}, of which it told before"

    def test_the_request_is_left_as_it_is(self, make_probe: MakeProbe) -> None:
        """What `read` is given belongs to the pool: its list of workers is not changed."""
        pids = [os.getpid()]
        with Aside(self.patience_s) as aside:
            aside.done("Probe.read", make_probe().read, ReadRequest(pids))
        assert pids == [os.getpid()], f"Probe.read changed ReadRequest.worker_pids to {pids}"

    # ---- a reading after the other

    def test_a_reading_comes_back(self, make_probe: MakeProbe) -> None:
        """`read` returns or raises, on a thread that is not the main one; it never hangs."""
        with self.reading(make_probe()) as read:
            read()
            read()

    def test_an_older_reading_stays_as_it_was(self, make_probe: MakeProbe) -> None:
        """A Reading is the pool's once it is given: a later one changes nothing in it."""
        with _child() as pid, self.reading(make_probe()) as read:
            first = read(pid)
            kept = copy.deepcopy((dict(first.usage), dict(first.workers)))
            read()
        assert (dict(first.usage), dict(first.workers)) == kept, "Probe.read changed the Reading that it gave before"

    def test_it_can_be_read_on_another_thread(self, make_probe: MakeProbe) -> None:
        """A monitor that is started again reads on another thread, one call at a time."""
        probe = make_probe()
        with Aside(self.patience_s) as aside, Aside(self.patience_s) as other:
            aside.done("Probe.read", probe.read, ReadRequest())
            other.done("Probe.read on another thread", probe.read, ReadRequest())
            other.done("Probe.close on another thread", getattr(probe, "close", _nothing))

    def test_two_probes_do_not_disturb_each_other(self, make_probe: MakeProbe) -> None:
        """Two pools have two probes: one that is closed takes nothing from the other."""
        one, other = make_probe(), make_probe()
        with self.reading(one) as read, self.reading(other) as read_other:
            before = set(read().usage)
            read_other()
            self.close(other)
            lost = before - set(read().usage)
        assert not lost, f"once another probe of this class was closed, this one no longer reads {lost}"

    # ---- closing

    def test_a_reading_after_its_end_opens_anew(self, make_probe: MakeProbe) -> None:
        """`close`, where there is one, is no end: a `read` that comes later has all that one before it had."""
        probe = make_probe()
        with self.reading(probe) as read:
            before = set(read().usage)
            self.close(probe)
            lost = before - set(read().usage)
        assert not lost, f"Probe.read no longer reads {lost} after close(): it is to open anew"

    def test_it_may_be_closed_twice_and_unread(self, make_probe: MakeProbe) -> None:
        """`close` of what was never read, or is closed already, does nothing."""
        probe = make_probe()
        self.close(probe)
        with self.reading(probe) as read:
            read()
        self.close(probe)
        self.close(probe)

    def test_readings_leave_no_thread(self, make_probe: MakeProbe) -> None:
        """Whatever a reading starts has ended when the probe is closed."""
        left = self._left(make_probe).new_threads(self.patience_s)
        assert not left, f"after {self.readings} readings and close() these threads still run: {left}"

    def test_readings_leave_no_open_file(self, make_probe: MakeProbe) -> None:
        """Whatever a reading opens is shut when the probe is closed: readings come for days."""
        before = self._left(make_probe)
        if before.files is None:
            pytest.skip("this system does not list the files that a process has open")
        left = before.new_files(self.patience_s)
        assert not left, f"after {self.readings} readings and close() these are still open: {left}"

    def test_readings_change_nothing_for_others(self, make_probe: MakeProbe) -> None:
        """Working folder, environment, streams, hooks and log handlers are the program's, and stay as they are."""
        before = Common.now()
        with self.reading(make_probe()) as read:
            read()
        changed = self._changed_since(before)
        assert not changed, f"Probe.read changed {changed}, which all in this process have in common"

    def test_it_prints_nothing(self, make_probe: MakeProbe, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output is for the data of whoever runs the pool; what is wrong goes to logging."""
        with self.reading(make_probe()) as read:
            read()
        said = capfd.readouterr().out
        assert said == "", f"Probe.read printed {said!r}; use logging"

    # ---- what the tests share

    @contextmanager
    def reading(self, probe: Probe) -> Iterator[Callable[..., Reading]]:
        """Give what reads a probe, for workers by their process ids, on its own thread; it is closed at the end."""
        with Aside(self.patience_s) as aside:
            yield lambda *pids: aside.done("Probe.read", probe.read, ReadRequest(pids))
            aside.done("Probe.close", getattr(probe, "close", _nothing))

    def close(self, probe: Probe) -> None:
        """Close a probe that can be closed, on a thread of its own."""
        with Aside(self.patience_s) as aside:
            aside.done("Probe.close", getattr(probe, "close", _nothing))

    def _left(self, make_probe: MakeProbe) -> Held:
        """Return what was held after a first probe had lived, once another has been read often and closed."""
        with self.reading(make_probe()) as read:
            read()
        before = Held.now()
        with self.reading(make_probe()) as read:
            for _ in range(self.readings):
                read()
        return before


def _nothing() -> None:
    """Stand for the `close` of a probe that has none."""


def _is_amount(figure: object) -> bool:
    return isinstance(figure, int | float) and not isinstance(figure, bool) and 0 <= figure < math.inf


def _memory_mb() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (AttributeError, ValueError, OSError):  # not on Windows
        return math.inf


@contextmanager
def _child() -> Iterator[int]:
    """Give the process id of a child that is up and does nothing, until the end."""
    command = [sys.executable, "-S", "-c", "print(flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if child.stdout is not None:
            child.stdout.readline()  # before that it may be so new that the system has no memory to tell of
        yield child.pid
    finally:
        child.kill()
        child.communicate()


__all__ = ["PARTS", "PERCENT", "MakeProbe", "ProbeConformance"]
